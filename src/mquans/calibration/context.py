"""What all stages of a calibration work on: a network, the parts of its clips, and plans."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mquans.calibration.allocation import GRID_BITS
from mquans.calibration.criticality import criticality
from mquans.calibration.inputs import (
    DEFAULT_FRAMES,
    LEAST_FRAMES,
    Clip,
    Labelled,
    Shape,
    Spec,
    as_specs,
    factor_of,
    read_clip,
)
from mquans.calibration.measure import Bench, Segment
from mquans.calibration.observe import DenseRun, Observation, Observer, Run
from mquans.calibration.options import CalibrationOptions
from mquans.calibration.resolution import InputSetup, check_one_fed, resolve_inputs
from mquans.calibration.stress import stress_segments
from mquans.calibration.unrolling import time_steps, window
from mquans.errors import MquansError
from mquans.graph import Graph, in_floats
from mquans.metrics import OutputWeights
from mquans.onnx import (
    ModelFile,
    guess_feedback,
    import_model,
    read_model,
    whole_feedback,
)
from mquans.plan import AudioFormat, InputFormat, LayerPlan, Plan, Provenance, Rule
from mquans.sources import SourceWarning, open_source
from mquans.sources.frames import Feeds


class Meter(Protocol):
    """Looks at consecutive frames of a stream, through a function that gives tensors by name."""

    def add(self, clip: Iterable[Feeds], run: Run) -> None: ...


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def stop(self, stage: str) -> None:
        """Ends a stage; the next one begins."""
        now = perf_counter()
        self.seconds[stage] = round(now - self._last, 3)
        self._last = now


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive frames of every clip, and stress segments made of them."""

    clips: list[Segment]
    stress: list[Segment]

    @property
    def frames(self) -> int:
        """Of the clips alone."""
        return sum(len(clip.frames) for clip in self.clips)


class CalibrationContext:
    """A network, its clips in three parts, and what the user asked for.

    `read` is the first stage: it goes through every clip once, gives the training part to a meter,
    and keeps the rest, of which one half is for selection and one for validation.

    Attributes:
        setup: how the network is fed; its options have the shapes of all inputs of the graph, and
            its whole feedback.
        clips: empty before `read`.
        clock: seconds by stage.
    """

    def __init__(
        self,
        file: ModelFile,
        graph: Graph,
        setup: InputSetup,
        options: CalibrationOptions,
        specs: list[Spec],
    ) -> None:
        self.file, self.graph, self.setup = file, graph, setup
        self.options, self.specs = options, specs
        self.clips: list[Clip] = []
        self.clock = Clock()

    def read(
        self, meter: Meter, *, late: float, least: int, tensors: Sequence[str] | None = None
    ) -> None:
        """Reads every clip once.

        Args:
            meter: sees the training part.
            late: share of each clip, from its end, that is kept for selection and validation.
            least: fewest frames of a clip.
            tensors: that the meter asks for; by default those that layers value by value read.

        Raises:
            SourceError: a clip cannot be used.
        """
        options, specs, feedback = self.options, self.specs, self.feedback
        run = DenseRun(self.graph, feedback, threads=options.threads, tensors=tensors)
        labels = _labels_by_clip(options.labels, len(specs))
        shapes = {name: self.graph.shape(name) for name in self.setup.fed}
        count = options.frames or max(least, _default_frames(self.graph, shapes) // len(specs))
        for spec, own in zip(specs, labels, strict=True):
            with open_source(
                spec,
                self.setup.format,
                input_shapes=shapes,
                frames=count,
                skip=options.skip,
                stride=options.stride,
                on_error=options.on_error,
            ) as source:
                clip = Clip(source.name)
                run.reset()
                frames = read_clip(
                    clip,
                    source,
                    shapes,
                    declared=self.graph.declared,
                    late=late,
                    least=least,
                    run=window(self.graph, feedback),
                    fill=run.fill,
                    labels=own,
                    number=lambda index: options.skip + index * options.stride,
                    expected=count,
                    track=options.track,
                )
                meter.add(frames, run)
            self.clips.append(clip)
        if self.setup.unsaid:
            warnings.warn(UNSAID, SourceWarning, stacklevel=2)

    def compute_in_floats(self, names: Sequence[str]) -> None:
        """Convolutions over time have no codes from here on."""
        options = replace(self.setup.options, floats=tuple(names))
        self.setup = replace(self.setup, options=options)
        self.graph = in_floats(self.graph, names)

    @property
    def training(self) -> list[Labelled]:
        """Frames of all clips of those that the meter saw, see `Clip.sample`."""
        return [item for clip in self.clips for item in clip.sample]

    def criticality(self, method: str) -> dict[str, npt.NDArray[np.float64]]:
        """How much the loss grows with errors of each neuron, on the training part.

        Args:
            method: one of `criticality.METHODS`.
        """
        options, sample = self.options, self.training
        return criticality(
            self.graph,
            [feeds for feeds, _ in sample],
            method=method,
            feedback=self.feedback,
            loss=options.task_loss,
            error_weights=self.error_weights,
            labels=[label for _, label in sample],
            threads=options.threads,
            track=options.track,
        )

    @property
    def error_weights(self) -> OutputWeights | None:
        """What the metric makes of errors at the outputs; None too where outputs have no values
        that could be compared one by one."""
        return None if self.bench.inner_values else self.options.error_weights

    @cached_property
    def selection(self) -> Part:
        """What chooses among plans."""
        return self._part(0.0, 0.5)

    @cached_property
    def validation(self) -> Part:
        """What has chosen nothing."""
        return self._part(0.5, 1.0)

    @cached_property
    def held_out(self) -> list[Segment]:
        """Both together, for plans that nothing is chosen for."""
        return self._late(0.0, 1.0)

    @cached_property
    def bench(self) -> Bench:
        """Runs sessions and the network as it is, and compares them."""
        return Bench(
            self.file,
            self.graph,
            options=self.setup.options,
            metric=self.options.metric,
            threads=self.options.threads,
        )

    def plan(self, layers: tuple[LayerPlan, ...], rule: Rule) -> Plan:
        """A plan for this network."""
        try:
            made_by = version("mquans")
        except PackageNotFoundError:
            made_by = "not installed"
        format = self.setup.format
        return Plan(
            model=self.file.name,
            model_sha256=self.file.sha256,
            input_shapes={name: self.graph.shape(name) for name in self.graph.inputs},
            constants=dict(self.setup.options.constants),
            feedback=dict(self.feedback),
            carry_state=self.setup.options.carry_state,
            floats=tuple(self.setup.options.floats),
            input=format if isinstance(format, InputFormat) else None,
            audio=format if isinstance(format, AudioFormat) else None,
            rule=rule,
            grid_bits=GRID_BITS,
            layers=layers,
            provenance=Provenance(
                mquans=made_by,
                sources=tuple(clip.name for clip in self.clips),
                frames=sum(clip.frames for clip in self.clips),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            ),
        )

    @property
    def feedback(self) -> Mapping[str, str]:
        """State inputs by the output that feeds them."""
        return self.setup.options.feedback

    def _late(self, start: float, stop: float) -> list[Segment]:
        """Of every clip, shares of what the meter did not see."""
        segments = []
        for clip in self.clips:
            count = len(clip.late)
            segments.append(_segment(clip.late[round(start * count) : round(stop * count)]))
        return segments

    def _part(self, start: float, stop: float) -> Part:
        clips = self._late(start, stop)
        return Part(clips, self._stressed(clips) if self.options.stress else [])

    def _stressed(self, clips: Sequence[Segment]) -> list[Segment]:
        """Stress segments made from parts of the clips, one after the other."""
        found = []
        for clip, own in zip(self.clips, clips, strict=True):
            items = list(zip(own.frames, own.labels, strict=True))
            distant, format = self._distant(clip), self.setup.format
            made = stress_segments(items, distant, format, self.graph.declared)
            found += [_segment(frames) for frames in made if frames]
        return found

    def _distant(self, clip: Clip) -> list[list[Labelled]]:
        """Parts of a clip from far apart, each of consecutive frames, without their states."""
        length = window(self.graph, self.feedback)
        bare = [
            ({name: feeds[name] for name in self.setup.fed}, label) for feeds, label in clip.sample
        ]
        return [bare[start : start + length] for start in range(0, len(bare), length)]


def _segment(items: Sequence[Labelled]) -> Segment:
    return Segment([feeds for feeds, _ in items], [label for _, label in items])


UNSAID = (
    "pictures were fed as values from 0 to 255, since nothing says what the network was trained "
    "on. Give --preset (yolo, imagenet, unit, ...), or --scale, --mean and --std; --preset pixels "
    "if that is right."
)


def open_context(
    model: Any, source: Spec | Sequence[str | Path], options: CalibrationOptions | None = None
) -> CalibrationContext:
    """The network, imported as the first clip needs it; nothing of the clips is read yet.

    Raises:
        ModelError, SourceError: the model or a clip cannot be used.
    """
    file, specs, options = read_model(model), as_specs(source), options or CalibrationOptions()
    graph, setup = open_network(file, specs[0], options)
    return CalibrationContext(file, graph, setup, options, specs)


def observe(
    context: CalibrationContext, *, late: float, least: int = LEAST_FRAMES, rules: Sequence[Rule]
) -> Observation:
    """The stage before layers value by value get steps: their ranges, and how often values change.

    Args:
        late, least: as `CalibrationContext.read`.
        rules: whose change curves are taken.
    """
    observer = Observer(context.graph, rules=rules)
    context.read(observer, late=late, least=least)
    return observer.result()


def open_network(
    file: ModelFile, spec: Spec | None, options: CalibrationOptions
) -> tuple[Graph, InputSetup]:
    """The network as it is fed from a clip, imported, with all its states known.

    Raises:
        ModelError, SourceError: as `observe`.
    """
    setup = resolve_inputs(
        file,
        spec,
        input_shapes=options.input_shapes,
        constants=options.constants,
        feedback=options.feedback,
        carry_state=options.carry_state,
        input=options.input,
    )
    graph = import_model(file, setup.options)
    feedback = whole_feedback(file, setup.options)
    others = [name for name in graph.inputs if name not in (*setup.fed, *feedback)]
    if options.feedback is None and others:
        guessed = guess_feedback(graph)
        feedback |= {name: guessed[name] for name in others if name in guessed}
    resolved = replace(
        setup.options,
        input_shapes={name: graph.shape(name) for name in graph.inputs},
        feedback=feedback,
    )
    fed = tuple(name for name in graph.inputs if name not in feedback)
    if setup.format is not None:
        check_one_fed(fed)
    return graph, replace(setup, options=resolved, fed=fed)


def _default_frames(graph: Graph, shapes: Mapping[str, Shape]) -> int:
    """See `DEFAULT_FRAMES`."""
    total = factor_of(shapes) * DEFAULT_FRAMES
    return max(total // time_steps(graph), total // 10)


def _labels_by_clip(labels: Sequence[Any] | None, clips: int) -> list[Sequence[Any] | None]:
    if labels is None:
        return [None] * clips
    if clips == 1:
        return [labels]
    if len(labels) != clips:
        raise MquansError(
            f"there are labels for {len(labels)} clips, but {clips} clips.",
            hint="With several clips, give a list of labels for each.",
        )
    return list(labels)

"""What all stages work on: network, clips, what was observed, and plans made of layers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from mquans.calibration.allocation import GRID_BITS
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
from mquans.calibration.resolution import Format, InputSetup, check_one_fed, resolve_inputs
from mquans.calibration.unrolling import time_steps, window
from mquans.errors import MquansError
from mquans.evaluate import Track, silent
from mquans.graph import Graph
from mquans.metrics import AnyMetric
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


@dataclass(frozen=True, slots=True)
class Selected:
    """Which frames of every clip, how they are prepared and fed, and with which threads."""

    frames: int | None = None
    skip: int = 0
    stride: int = 1
    input_shapes: Mapping[str, Sequence[int]] | None = None
    input: Format | Mapping[str, Any] | None = None
    labels: Sequence[Any] | None = None
    threads: int = 1
    track: Track = silent
    constants: Mapping[str, float] | None = None
    feedback: Mapping[str, str] | None = None
    carry_state: bool = False


class Meter(Protocol):
    """Looks at consecutive frames of a stream, through a function that gives tensors by name."""

    def add(self, clip: Iterable[Feeds], run: Run) -> None: ...


@dataclass(frozen=True, slots=True)
class Workspace:
    """A network and its clips, observed. The setup's options have the shapes of all inputs of the
    graph, and its whole feedback."""

    file: ModelFile
    graph: Graph
    setup: InputSetup
    clips: list[Clip]
    seen: Observation

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

    def late(self, start: float = 0.0, stop: float = 1.0) -> list[Segment]:
        """Part of what ranges were not taken from, of every clip: shares of it, from its start."""
        segments = []
        for clip in self.clips:
            count = len(clip.late)
            segments.append(segment(clip.late[round(start * count) : round(stop * count)]))
        return segments

    def bench(self, metric: AnyMetric | None, *, threads: int) -> Bench:
        """Runs sessions and the network as it is, and compares them."""
        return Bench(
            self.file, self.graph, options=self.setup.options, metric=metric, threads=threads
        )

    @property
    def feedback(self) -> Mapping[str, str]:
        """State inputs by the output that feeds them."""
        return self.setup.options.feedback

    def distant(self, clip: Clip) -> list[list[Labelled]]:
        """Parts of a clip from far apart, each of consecutive frames, without their states."""
        length = window(self.graph, self.feedback)
        bare = [
            ({name: feeds[name] for name in self.setup.fed}, label) for feeds, label in clip.sample
        ]
        return [bare[start : start + length] for start in range(0, len(bare), length)]

    @property
    def sample(self) -> list[Labelled]:
        """Frames of all clips of those that ranges were taken from, see `Clip.sample`."""
        return [item for clip in self.clips for item in clip.sample]


def segment(items: Sequence[Labelled]) -> Segment:
    """Frames with labels as a segment to measure on."""
    return Segment([feeds for feeds, _ in items], [label for _, label in items])


UNSAID = (
    "pictures were fed as values from 0 to 255, since nothing says what the network was trained "
    "on. Give --preset (yolo, imagenet, unit, ...), or --scale, --mean and --std; --preset pixels "
    "if that is right."
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A network and the clips that it is to be fed from, before they are read."""

    file: ModelFile
    specs: list[Spec]
    graph: Graph
    setup: InputSetup
    selected: Selected


def open_clips(model: Any, source: Spec | Sequence[str | Path], selected: Selected) -> Opened:
    """The network, imported as the first clip needs it.

    Raises:
        ModelError, SourceError: the model or a clip cannot be used.
    """
    file = read_model(model)
    specs = as_specs(source)
    graph, setup = open_network(file, specs[0], selected)
    return Opened(file, specs, graph, setup, selected)


def observe(
    opened: Opened, *, late: float, least: int = LEAST_FRAMES, rules: Sequence[Rule]
) -> Workspace:
    """Reads every clip once.

    Args:
        late: share of each clip, from its end, that is kept for measuring.
        least: fewest frames of a clip.
        rules: whose change curves are taken.

    Raises:
        SourceError: a clip cannot be used.
    """
    observer = Observer(opened.graph, rules=rules)
    run = DenseRun(opened.graph, opened.setup.options.feedback, threads=opened.selected.threads)
    clips = read_clips(opened, run, observer, late=late, least=least)
    return Workspace(opened.file, opened.graph, opened.setup, clips, observer.result())


def read_clips(
    opened: Opened, run: DenseRun, meter: Meter, *, late: float, least: int = LEAST_FRAMES
) -> list[Clip]:
    """Reads every clip once; a meter sees what is not kept for measuring. Other arguments as
    `observe`."""
    graph, setup, selected = opened.graph, opened.setup, opened.selected
    labels = _labels_by_clip(selected.labels, len(opened.specs))
    shapes = {name: graph.shape(name) for name in setup.fed}
    count = selected.frames or max(least, _default_frames(graph, shapes) // len(opened.specs))
    clips = []
    for spec, own in zip(opened.specs, labels, strict=True):
        with open_source(
            spec,
            setup.format,
            input_shapes=shapes,
            frames=count,
            skip=selected.skip,
            stride=selected.stride,
        ) as source:
            clip = Clip(source.name)
            run.reset()
            frames = read_clip(
                clip,
                source,
                shapes,
                declared=graph.declared,
                late=late,
                least=least,
                run=window(graph, setup.options.feedback),
                fill=run.fill,
                labels=own,
                number=lambda index: selected.skip + index * selected.stride,
                expected=count,
                track=selected.track,
            )
            meter.add(frames, run)
        clips.append(clip)
    if setup.unsaid:
        warnings.warn(UNSAID, SourceWarning, stacklevel=2)
    return clips


def open_network(
    file: ModelFile, spec: Spec | None, selected: Selected
) -> tuple[Graph, InputSetup]:
    """The network as it is fed from a clip, imported, with all its states known.

    Raises:
        ModelError, SourceError: as `observe`.
    """
    setup = resolve_inputs(
        file,
        spec,
        input_shapes=selected.input_shapes,
        constants=selected.constants,
        feedback=selected.feedback,
        carry_state=selected.carry_state,
        input=selected.input,
    )
    graph = import_model(file, setup.options)
    feedback = whole_feedback(file, setup.options)
    others = [name for name in graph.inputs if name not in (*setup.fed, *feedback)]
    if selected.feedback is None and others:
        guessed = guess_feedback(graph)
        feedback |= {name: guessed[name] for name in others if name in guessed}
    options = replace(
        setup.options,
        input_shapes={name: graph.shape(name) for name in graph.inputs},
        feedback=feedback,
    )
    fed = tuple(name for name in graph.inputs if name not in feedback)
    if setup.format is not None:
        check_one_fed(fed)
    return graph, replace(setup, options=options, fed=fed)


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

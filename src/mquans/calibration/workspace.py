"""What all stages work on: network, clips, what was observed, and plans made of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mquans.calibration.allocation import GRID_BITS
from mquans.calibration.inputs import (
    DEFAULT_FRAMES,
    LEAST_FRAMES,
    Clip,
    InputSetup,
    Labelled,
    Spec,
    as_specs,
    read_clip,
    resolve_inputs,
)
from mquans.calibration.measure import Segment
from mquans.calibration.observe import Observation, Observer, dense_run
from mquans.errors import MquansError
from mquans.evaluate import Track, silent
from mquans.graph import Graph
from mquans.importers import ModelFile, import_model, read_model
from mquans.plan import InputFormat, LayerPlan, NetworkOptions, Plan, Provenance, Rule
from mquans.sources import open_source


@dataclass(frozen=True, slots=True)
class Selected:
    """Which frames of every clip, how they are prepared, and with which threads."""

    frames: int | None = None
    skip: int = 0
    stride: int = 1
    input_shapes: Mapping[str, Sequence[int]] | None = None
    input: InputFormat | Mapping[str, Any] | None = None
    labels: Sequence[Any] | None = None
    threads: int = 1
    track: Track = silent


@dataclass(frozen=True, slots=True)
class Workspace:
    """A network and its clips, observed."""

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
        return Plan(
            model=self.file.name,
            model_sha256=self.file.sha256,
            input_shapes={name: self.graph.shape(name) for name in self.graph.inputs},
            input=self.setup.format,
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

    @property
    def sample(self) -> list[Labelled]:
        """Frames of all clips, spread evenly, of those that ranges were taken from."""
        return [item for clip in self.clips for item in clip.sample]


def segment(items: Sequence[Labelled]) -> Segment:
    """Frames with labels as a segment to measure on."""
    return Segment([feeds for feeds, _ in items], [label for _, label in items])


def observe(
    model: Any,
    source: Spec | Sequence[str | Path],
    selected: Selected,
    *,
    late: float,
    least: int = LEAST_FRAMES,
    rules: Sequence[Rule],
) -> Workspace:
    """Reads every clip once.

    Args:
        late: share of each clip, from its end, that is kept for measuring.
        least: fewest frames of a clip.
        rules: whose change curves are taken.

    Raises:
        ModelError, SourceError: the model or a clip cannot be used.
    """
    file = read_model(model)
    specs = as_specs(source)
    setup = resolve_inputs(file, specs[0], input_shapes=selected.input_shapes, input=selected.input)
    graph = import_model(file, NetworkOptions(setup.shapes))
    labels = _labels_by_clip(selected.labels, len(specs))
    observer = Observer(graph, rules=rules)
    run = dense_run(graph, threads=selected.threads)
    shapes = {name: graph.shape(name) for name in graph.inputs}
    count = selected.frames or max(least, DEFAULT_FRAMES // len(specs))
    clips = []
    for spec, own in zip(specs, labels, strict=True):
        with open_source(
            spec,
            setup.format,
            input_shapes=shapes,
            frames=count,
            skip=selected.skip,
            stride=selected.stride,
        ) as opened:
            clip = Clip(opened.name)
            frames = read_clip(
                clip,
                opened,
                shapes,
                late=late,
                least=least,
                labels=own,
                number=lambda index: selected.skip + index * selected.stride,
                expected=count,
                track=selected.track,
            )
            observer.add(frames, run)
        clips.append(clip)
    return Workspace(file, graph, setup, clips, observer.result())


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

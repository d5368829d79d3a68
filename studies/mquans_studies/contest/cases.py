"""A trained network with the data of its stream, as the zoo writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mquans.baselines import open_reference
from mquans.calibration import Segment
from mquans.errors import MquansError
from mquans.graph import Graph
from mquans.metrics import load_labels
from mquans.onnx import ModelFile, import_model, read_model
from mquans.plan import NetworkOptions
from mquans.sources.frames import feeds_of
from mquans_studies.contest.scores import TASKS, Task
from mquans_studies.traces.layer_shape import LayerShape, layer_geometry


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive frames of a stream, with what the dense network makes of them.

    Attributes:
        blocks: per frame, what varies as a whole.
    """

    segment: Segment
    blocks: Sequence[str]


@dataclass(frozen=True, slots=True)
class Case:
    """A network and its stream.

    Attributes:
        planning: frames that plans are made from; choosing: that choose among them; judging: that
            have done neither.
        true_width: layers of the published width, where the trained network is narrower.
    """

    name: str
    model: ModelFile
    graph: Graph
    task: Task
    planning: Part
    choosing: Part
    judging: Part
    true_width: tuple[LayerShape, ...] | None


def load_case(folder: Path, frames: tuple[int, int, int], true_width: Path | None = None) -> Case:
    """A network of the zoo; the dense network runs over its frames.

    Args:
        frames: at most, of the three parts; those that choose begin with those that make plans.
        true_width: ONNX file of the network at its published width.

    Raises:
        MquansError: a file is missing or damaged, or the card names no known accuracy.
    """
    try:
        card = json.loads((folder / "card.json").read_text())
        model = read_model(folder / "model.onnx")
        graph = import_model(model)
        dense = open_reference(
            model, graph, NetworkOptions({name: graph.shape(name) for name in graph.inputs})
        )
        planning, choosing, judging = (
            _part(folder, graph.inputs[0], stream, count)
            for stream, count in zip(("calibration", "calibration", "test"), frames, strict=True)
        )
    except (OSError, ValueError) as error:
        raise MquansError(
            "is no trained network.",
            where=str(folder),
            hint="Train it: python -m mquans_studies.zoo train NAME --data FOLDER -o FOLDER/NAME.",
        ) from error
    for part in (choosing, judging):
        part.segment.dense.extend(
            dense.step(feeds_of(frame, graph.inputs)) for frame in part.segment.frames
        )
    task = next((TASKS[name] for name in card["accuracy"] if name in TASKS), None)
    if task is None:
        raise MquansError("the card names no accuracy that is known.", where=str(folder))
    wide = None if true_width is None else _layers(true_width)
    return Case(folder.name, model, graph, task, planning, choosing, judging, wide)


def _part(folder: Path, input_name: str, stream: str, count: int) -> Part:
    frames = np.load(folder / f"{stream}.npy", mmap_mode="r")[:count]
    labels, blocks = (
        load_labels(str(folder / f"{stream}_{what}.jsonl"))[: len(frames)]
        for what in ("labels", "blocks")
    )
    segment = Segment([{input_name: np.array(frame)} for frame in frames], list(labels))
    return Part(segment, [str(block) for block in blocks])


def _layers(path: Path) -> tuple[LayerShape, ...]:
    graph = import_model(read_model(path))
    return tuple(layer_geometry(graph, node).shape for node in graph.reuse_layers())

"""Training of one network, and what is written about it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import cos, pi
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mquans.errors import MquansError
from mquans.evaluate import Track, silent
from mquans.files import atomic_write
from mquans.onnx import import_model, read_model
from mquans_studies.zoo.export import export

Tensor = Any
Array = npt.NDArray[np.float32]

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises to its largest."""

GRADIENT_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Labelled:
    """Consecutive frames of a stream.

    Attributes:
        frames: [N, *shape of the network's input], ready tensors.
        labels: one per frame; None where a frame has none.
        blocks: of every frame, the name of what varies as a whole: a speaker, a clip, a stretch of
            road. Intervals of confidence draw blocks: neighbouring frames are no new evidence.
    """

    frames: Array
    labels: Sequence[Any]
    blocks: Sequence[str]


class Task(ABC):
    """A network with the data that it is trained and judged on.

    Attributes:
        network: in training.
        steps: of the optimizer.
        learning_rate: its largest.
        inputs: an example of every input by name, as exported.
        outputs: names.
        notes: what a reader of the numbers must know: splits, labels, departures.
    """

    network: Any
    steps: int
    learning_rate: float
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]
    notes: Mapping[str, Any]

    @abstractmethod
    def loss(self, progress: float) -> Tensor:
        """Of the next batch; `progress` of the training goes from 0 to 1."""

    @abstractmethod
    def accuracy(self) -> dict[str, float]:
        """On held-out data, by name and unit."""

    @abstractmethod
    def held_out(self) -> Labelled:
        """The stream to measure with, which was not trained on."""

    @abstractmethod
    def calibration(self) -> Labelled:
        """A stream to make plans from, of no recording or time of the held-out one."""


@dataclass(frozen=True, slots=True)
class Card:
    """What is known about a trained network; `card.json`.

    Attributes:
        accuracy: on data of other speakers or of another time.
        macs: multiplications of one evaluation, dense.
        weights: without biases.
        losses: mean of every tenth of the training.
    """

    name: str
    accuracy: dict[str, float]
    macs: int
    weights: int
    inputs: dict[str, list[int]]
    outputs: list[str]
    steps: int
    seconds: float
    seed: int
    torch: str
    losses: list[float]
    notes: dict[str, Any] = field(default_factory=dict)


def fit(task: Task, *, steps: int | None = None, track: Track = silent) -> list[float]:
    """Trains with AdamW along a warm-up and half a cosine; the loss of every step.

    Raises:
        MquansError: training diverged.
    """
    steps = steps or task.steps
    optimizer = torch.optim.AdamW(task.network.parameters(), lr=task.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / (WARM_UP * steps)) * (1 + cos(pi * step / steps)) / 2,
    )
    task.network.train()
    losses = []
    for step in track(range(steps), "training", steps):
        optimizer.zero_grad()
        loss = task.loss(step / steps)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.network.parameters(), GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            raise MquansError("training diverged: the loss is no longer finite.")
    task.network.eval()
    return losses


def train(
    name: str, task: Task, folder: Path, *, steps: int | None, seed: int, track: Track = silent
) -> Card:
    """Trains a network and writes `model.onnx`, `card.json`, and streams as `--source` and
    `--labels` of the command line take them: held out are `test.npy` and `test_labels.jsonl`, to
    make plans from `calibration.npy` and `calibration_labels.jsonl`; `test_blocks.jsonl` and
    `calibration_blocks.jsonl` say which frames belong together. The card is written last.

    Raises:
        MquansError: training diverged, or a file cannot be written.
    """
    started = perf_counter()
    losses = fit(task, steps=steps, track=track)
    seconds = perf_counter() - started
    with torch.no_grad():
        accuracy = task.accuracy()
    data = export(task.network, task.inputs, task.outputs)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "model.onnx", data)
    for stream, sample in (("test", task.held_out()), ("calibration", task.calibration())):
        np.save(folder / f"{stream}.npy", sample.frames)
        for what, values in (("labels", sample.labels), ("blocks", sample.blocks)):
            lines = "".join(json.dumps(value) + "\n" for value in values)
            atomic_write(folder / f"{stream}_{what}.jsonl", lines.encode())
    graph = import_model(read_model(data))
    card = Card(
        name=name,
        accuracy={key: round(value, 5) for key, value in accuracy.items()},
        macs=sum(graph.macs(node) for node in graph.nodes),
        weights=weights(task.network),
        inputs={key: list(value.shape) for key, value in task.inputs.items()},
        outputs=list(task.outputs),
        steps=len(losses),
        seconds=round(seconds, 1),
        seed=seed,
        torch=str(torch.__version__),
        losses=[round(float(part.mean()), 5) for part in np.array_split(losses, 10) if len(part)],
        notes=dict(task.notes),
    )
    atomic_write(folder / "card.json", json.dumps(asdict(card), indent=2).encode())
    return card


def weights(network: Any) -> int:
    """Number of weights, without biases."""
    return sum(p.numel() for p in network.parameters() if p.ndim > 1)

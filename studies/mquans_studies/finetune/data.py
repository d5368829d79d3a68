"""Frames, targets and sequences for training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mquans.errors import FrameError, MquansError
from mquans.graph import Graph
from mquans.metrics.agreement import FLOOR, channel_axis
from mquans.plan import AudioFormat, InputFormat
from mquans.sources import open_source
from mquans.sources.frames import feeds_of, finite
from mquans_studies.finetune.network import Network

Tensor = Any
Loss = Callable[[dict[str, Tensor], Any], Tensor]
"""(outputs by name, each [frames, ...]; labels [frames, ...] or, where there are none, the dense
network's outputs by name) -> scalar torch.Tensor."""


def read_frames(
    graph: Graph,
    source: str | Path | Iterable[Any],
    format: InputFormat | AudioFormat | None,
    frames: int | None,
) -> dict[str, Tensor]:
    """All frames of a source as one tensor per input, [frames, ...].

    Raises:
        SourceError: it cannot be read.
        FrameError: a frame does not fit the network, or holds NaN or infinite values.
    """
    shapes = {name: graph.shape(name) for name in graph.inputs}
    with open_source(source, format, input_shapes=shapes, frames=frames) as clip:
        feeds = [feeds_of(frame, graph.inputs) for frame in clip]
    for number, frame in enumerate(feeds):
        for name, wanted in shapes.items():
            found = frame[name].shape if name in frame else ()
            if found != wanted:
                raise FrameError(
                    f"{list(found)} is not {list(wanted)}.",
                    where=f"frame {number}, input {name!r}",
                )
        if not finite(frame):
            raise FrameError("it holds NaN or infinite values.", where=f"frame {number}")
    return {name: torch.from_numpy(np.stack([f[name] for f in feeds])) for name in shapes}


def targets_and_loss(
    network: Network,
    feeds: Mapping[str, Tensor],
    labels: npt.ArrayLike | None,
    loss: Loss | None,
    *,
    batch: int,
) -> tuple[dict[str, Tensor], Loss]:
    """What is learned, [frames, ...] by name (labels under the name ""), and how it is judged.

    Raises:
        MquansError: labels do not fit the frames or the network's outputs.
    """
    count = len(next(iter(feeds.values())))
    if labels is None:
        with torch.no_grad():
            parts = [
                network.run({n: x[i : i + batch] for n, x in feeds.items()}, quantized=False)
                for i in range(0, count, batch)
            ]
        names = network.graph.outputs
        targets = {name: torch.cat([part.outputs[name] for part in parts]) for name in names}
        return targets, loss or agreement_loss(targets)
    values = torch.as_tensor(np.asarray(labels))
    if values.ndim < 1 or len(values) != count:
        raise MquansError(
            f"there are {count} frames, but labels of shape {list(values.shape)}.",
            hint="Give one label per frame.",
        )
    if loss is not None:
        return {"": values}, loss
    size = [network.graph.types[name].size for name in network.graph.outputs]
    if len(size) != 1 or values.reshape(count, -1).shape[1] != size[0]:
        raise MquansError(
            "the labels are not values of the network's only output.",
            hint="Say what to minimise with loss=, a function of (outputs, labels).",
        )
    return {"": values.float()}, squared_error


def squared_error(outputs: dict[str, Tensor], labels: Tensor) -> Tensor:
    """Mean squared error of the only output."""
    (output,) = outputs.values()
    return (output.flatten(1) - labels.reshape(len(labels), -1)).square().mean()


def agreement_loss(targets: Mapping[str, Tensor]) -> Loss:
    """The calibration loss, averaged over frames: squared error of every output channel over its
    variance in `targets`."""
    scales = {}
    for name, target in targets.items():
        channels = channel_axis(target.shape[1:])
        kept = None if channels is None else channels + 1
        others = [axis for axis in range(target.ndim) if axis != kept]
        variance = target.var(others, correction=0, keepdim=True)
        scales[name] = variance.clamp(min=max(FLOOR * float(variance.mean()), 1e-30))

    def loss(outputs: dict[str, Tensor], dense: Mapping[str, Tensor]) -> Tensor:
        errors = []
        for name, scale in scales.items():
            squared = (outputs[name] - dense[name]).square() / scale
            # Every channel counts once, whatever the number of its positions.
            errors.append((squared.mean() * scale.numel(), scale.numel()))
        return sum(error for error, _ in errors) / sum(channels for _, channels in errors)

    return loss


def epoch_batches(count: int, *, sequence: int, batch: int, generator: Any) -> list[Tensor]:
    """Frame numbers of every training step of one epoch: up to `batch` sequences, one after the
    other. Sequences begin elsewhere in every epoch and come in random order."""
    start = int(torch.randint(0, count % sequence + 1, (1,), generator=generator))
    starts = torch.arange(start, count - sequence + 1, sequence)
    starts = starts[torch.randperm(len(starts), generator=generator)]
    runs = (starts[:, None] + torch.arange(sequence)).split(batch)
    return [run.flatten() for run in runs]

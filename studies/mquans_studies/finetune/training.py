"""Training of a network at the widths of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mquans.errors import MquansError
from mquans.evaluate import Track, silent
from mquans.files import PathLike, atomic_write
from mquans.onnx import ModelFile, import_model, read_model, to_onnx
from mquans.plan import Plan, check_model, check_plan, read_plan
from mquans_studies.finetune.data import Loss, epoch_batches, read_frames, targets_and_loss
from mquans_studies.finetune.network import Network

GRADIENT_NORM = 1.0
"""Gradients are clipped to this norm: a rare sequence with a scene cut must not undo the others."""

LEAST = 1e-4
"""Least size of a tensor's values that steps are relative to: biases may all be 0."""


@dataclass(frozen=True, slots=True)
class FineTuned:
    """A trained network.

    Attributes:
        model: ONNX, with new weights and everything that the importer folds (batch norm,
            preprocessing constants) folded; input shapes are those of the plan.
        losses: mean per epoch, without the work term.
        work: estimated share of MACs done per epoch, for trends only: calibrate and measure.
    """

    model: ModelFile
    losses: tuple[float, ...]
    work: tuple[float, ...]

    def save(self, path: PathLike) -> None:
        """Writes the ONNX file, whole or not at all.

        Raises:
            MquansError: it cannot be written.
        """
        atomic_write(path, self.model.data)


def finetune(
    model: Any,
    plan: Plan | PathLike,
    source: str | Path | Iterable[Any],
    *,
    frames: int | None = None,
    labels: npt.ArrayLike | None = None,
    loss: Loss | None = None,
    epochs: int = 10,
    sequence: int = 8,
    batch: int = 2,
    learning_rate: float = 2e-3,
    work: float = 0.0,
    quantized: bool = True,
    seed: int = 0,
    track: Track = silent,
) -> FineTuned:
    """Trains the weights of reuse layers with inputs quantized as the plan would run them.

    Afterwards calibrate the new model as any other: ranges have moved, and the plan of the old one
    is refused for it.

    Args:
        model: as `Session` takes it, without fallback subgraphs.
        plan: made for this model; fewer bits than the untrained network bears are the point.
        source: one clip, as `open_source` takes it; it is read into memory.
        frames: at most so many of it.
        labels: one entry per frame. By default the outputs of the untrained network are what
            is learned: no ground truth needed.
        loss: of a batch. By default squared error to the labels (networks of one output), or,
            without labels, squared error per output channel over the channel's variance.
        sequence: consecutive frames that held values live through, >= 2.
        batch: sequences per training step.
        learning_rate: of Adam relative to the size of a tensor's values: a step changes them by
            about this share. Falls to 0 along a half cosine.
        work: weight of the estimated share of MACs done in what is minimised, in units of the loss.
        quantized: False trains the float network on the same data: the control of an experiment.
        seed: of the order of sequences.

    Raises:
        MquansError: settings, frames or labels do not fit, the plan is not value by value, or
            training diverged.
        PlanError: the plan was made for another model.
        UnsupportedOperatorError: gradients cannot pass through a node; it is named.
    """
    file = read_model(model)
    plan = plan if isinstance(plan, Plan) else read_plan(plan)
    check_model(plan, file.sha256)
    graph = import_model(file, plan.options)
    check_plan(plan, graph, model_sha256=file.sha256)
    if plan.tensors:
        raise MquansError(
            "fine-tuning simulates layers value by value, but this plan has layers that are "
            "computed site by site.",
            hint="Give a plan that has no tensors, but a layer for each layer of the network.",
        )
    _check_settings(epochs=epochs, sequence=sequence, batch=batch, learning_rate=learning_rate)
    feeds = read_frames(graph, source, plan.preparation, frames)
    count = len(next(iter(feeds.values())))
    if count < sequence:
        raise MquansError(
            f"{count} frames are fewer than one sequence of {sequence}.",
            hint="Give more frames, or a smaller sequence.",
        )
    network = Network(graph, plan)
    targets, loss = targets_and_loss(network, feeds, labels, loss, batch=sequence * batch)
    optimizer = torch.optim.Adam(_groups(network.parameters, learning_rate))
    generator = torch.Generator().manual_seed(seed)
    batches = [
        indices
        for _ in range(epochs)
        for indices in epoch_batches(count, sequence=sequence, batch=batch, generator=generator)
    ]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=len(batches))
    history: list[tuple[float, float]] = []
    for indices in track(batches, "fine-tuning", len(batches)):
        optimizer.zero_grad()
        found = network.run(
            {name: array[indices] for name, array in feeds.items()},
            sequences=len(indices) // sequence,
            quantized=quantized,
            generator=generator,
        )
        taken = {name: array[indices] for name, array in targets.items()}
        value = loss(found.outputs, taken.get("", taken))
        (value + work * found.work).backward()
        torch.nn.utils.clip_grad_norm_(list(network.parameters.values()), GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        history.append((value.item(), found.work.item()))
    means = np.array(history).reshape(epochs, -1, 2).mean(axis=1)
    if not np.isfinite(means).all():
        raise MquansError(
            "training diverged: the loss is no longer finite.",
            hint=f"Use a learning rate below {learning_rate:g}.",
        )
    trained = to_onnx(network.trained()).SerializeToString()
    return FineTuned(read_model(trained), *(tuple(map(float, column)) for column in means.T))


def _groups(parameters: Mapping[str, Any], learning_rate: float) -> list[dict[str, Any]]:
    """One group per tensor, with steps relative to the root mean square of its values (Adafactor,
    arXiv 1804.04235, section 8): preprocessing folded into weights scales them by 1/255 and more.
    """
    return [
        {"params": [p], "lr": learning_rate * max(p.detach().square().mean().sqrt().item(), LEAST)}
        for p in parameters.values()
    ]


def _check_settings(*, epochs: int, sequence: int, batch: int, learning_rate: float) -> None:
    for name, value, least in (
        ("epochs", epochs, 1), ("sequence", sequence, 2), ("batch", batch, 1),
    ):  # fmt: skip
        if value < least:
            raise MquansError(f"{name} must be at least {least}, not {value}.")
    if not learning_rate > 0:
        raise MquansError(f"learning_rate must be greater than 0, not {learning_rate}.")

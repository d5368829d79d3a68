"""Criticality: how much the calibration loss grows with the error of every neuron.

The predicted loss of a plan is the sum over layers and neurons of `s[c] * mse[c]`, where `mse[c]`
is the mean squared error, over positions and frames, of what the layer holds of the neuron. That is
first order, for errors that are independent from neuron to neuron and position to position.

| method | looks at | passes through the network | unit |
|---|---|---|---|
| `fisher` | gradients at random directions of the outputs | 24 frames x 4 | loss |
| `taylor` | those gradients times activations | 24 frames x 4 | loss, never above `fisher` |
| `closed_form` | weights; frames for the scale of outputs | 1 | loss, up to one factor |
| `perturb` | measured loss with noise on groups of neurons | 4 frames x 4 a layer | loss |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mquans.calibration.criticality.closed_form import closed_form
from mquans.calibration.criticality.loss import REST, Floats, OutputLoss, WeightedError
from mquans.calibration.criticality.perturb import perturb
from mquans.calibration.criticality.sensitivity import (
    SAMPLES,
    Sensitivity,
    TaskLoss,
    fisher,
    taylor,
)
from mquans.errors import MquansError
from mquans.evaluate import Track, silent
from mquans.graph import Graph
from mquans.metrics import OutputWeights
from mquans.sources.frames import Feeds

__all__ = [
    "METHODS",
    "REST",
    "WITH_ERROR_WEIGHTS",
    "OutputLoss",
    "Sensitivity",
    "TaskLoss",
    "WeightedError",
    "closed_form",
    "criticality",
    "fisher",
    "output_criticality",
    "perturb",
    "taylor",
]

METHODS = ("fisher", "taylor", "closed_form", "perturb")

WITH_ERROR_WEIGHTS = ("fisher", "taylor")
"""Those that take a loss of the user's own, or weights of outputs."""


def criticality(
    graph: Graph,
    frames: Sequence[Feeds],
    *,
    method: str = "fisher",
    feedback: Mapping[str, str] | None = None,
    loss: TaskLoss | None = None,
    labels: Sequence[Any] | None = None,
    error_weights: OutputWeights | None = None,
    samples: int | None = None,
    seed: int = 0,
    threads: int = 1,
    track: Track = silent,
) -> dict[str, Floats]:
    """Growth of the loss per unit of mean squared error of a neuron's input.

    Args:
        graph: an imported network.
        frames: feeds of calibration frames; each method picks as many as it needs, evenly spread.
            Of a network with states runs of `unrolling.window` consecutive frames, one run after
            the other, states included.
        method: one of `METHODS`, see the module.
        feedback: state inputs by the output that feeds them in the next frame (`Plan.feedback`).
            Criticality then includes what errors do in the frames that follow, within a run;
            outputs that only carry states do not count as outputs.
        loss: the gradient of a loss of the user's own at the outputs, for `fisher` and `taylor`.
            Criticality is then that of the squared change of that loss, in its unit squared, and
            for a log-likelihood twice the expected growth. By default the loss of
            `metrics.agreement`, mean over frames.
        labels: what `loss` gets with each frame; as many as frames.
        error_weights: for `fisher` and `taylor`, what a task makes of errors at the outputs, frame
            by
            frame: the loss is `sum w (z - y)^2` with these weights, and `REST` of the default one.
        samples: random directions per frame (`fisher`, `taylor`), noises per frame and group
            (`perturb`); by default 4 and 1.
        seed: of what is random; results are the same for the same seed.

    Returns:
        [neurons] >= 0 by layer, in loss per squared unit of the layer's input.

    Raises:
        MquansError: no such method, no frames, or the method cannot be used on this network.
    """
    if method not in METHODS:
        raise MquansError(
            f"there is no criticality method {method!r}.",
            hint=f"Methods are: {', '.join(METHODS)}.",
        )
    _check(frames, loss, labels, samples)
    if method not in WITH_ERROR_WEIGHTS and loss is not None:
        raise MquansError(
            f"the criticality method {method} takes no task loss.", hint="Use fisher or taylor."
        )
    if error_weights is not None and (loss is not None or method not in WITH_ERROR_WEIGHTS):
        raise MquansError(
            "weights of outputs go with the criticality methods fisher and taylor, without a task "
            "loss."
        )
    if method == "closed_form":
        return closed_form(graph, frames, feedback=feedback, threads=threads)
    options: dict[str, Any] = {"feedback": feedback, "seed": seed, "threads": threads}
    if method == "perturb":
        return perturb(graph, frames, samples=samples or 1, **options, track=track)
    options |= {"loss": loss, "labels": labels, "error_weights": error_weights}
    if samples is not None:
        options["samples"] = samples
    if method == "taylor":
        return taylor(graph, frames, **options, track=track)
    return fisher(graph, frames, **options, track=track, at_outputs=False).inputs


def output_criticality(
    graph: Graph,
    frames: Sequence[Feeds],
    *,
    feedback: Mapping[str, str] | None = None,
    samples: int | None = None,
    seed: int = 0,
    threads: int = 1,
    track: Track = silent,
) -> dict[str, Floats]:
    """Growth of the loss per unit of mean squared error of a layer's output channel, before the
    activation: what rounding of the layer's weights costs. `fisher` gives both in one pass.

    Returns:
        [output channels] >= 0 by layer, in loss per squared unit of the layer's output.
    """
    _check(frames, None, None, samples)
    found = fisher(
        graph,
        frames,
        feedback=feedback,
        samples=samples or SAMPLES,
        seed=seed,
        threads=threads,
        track=track,
    )
    return found.outputs


def _check(
    frames: Sequence[Feeds],
    loss: TaskLoss | None,
    labels: Sequence[Any] | None,
    samples: int | None,
) -> None:
    if not frames:
        raise MquansError("criticality needs at least one frame.")
    if samples is not None and samples < 1:
        raise MquansError(f"samples must be at least 1, not {samples}.")
    if labels is not None and loss is not None and len(labels) != len(frames):
        raise MquansError(f"there are {len(labels)} labels for {len(frames)} frames.")

"""The motion gate that saves most at a given fidelity, found without running the network again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mquans.baselines.gated import Gate, value_range
from mquans.evaluate.interleave import Outputs
from mquans.metrics.agreement import Agreement, AgreementMeter
from mquans.sources.frames import Feeds

LEVELS = (25 / 255, 8 / 255, 2 / 255)
"""Shares of the range of values by which a moved pixel differs."""

SHARES = (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0)
"""Shares of pixels that must have moved, most first: the fewer, the more frames are computed."""


@dataclass(frozen=True, slots=True)
class TunedGate:
    """A gate and what it does to the frames it was tuned on.

    Attributes:
        computed: share of the frames that pass it.
        agreement: of its outputs with the dense ones.
    """

    gate: Gate
    computed: float
    agreement: Agreement


def tune_gate(
    frames: Sequence[Feeds],
    dense: Sequence[Outputs],
    accept: Callable[[Agreement, Sequence[Outputs]], bool],
) -> TunedGate:
    """The gate that computes the fewest frames among those whose outputs are accepted.

    Tuned on the very frames it is then measured on, which favours it. If nothing else is accepted,
    every frame is computed.

    Args:
        frames: a clip, at least one frame.
        dense: outputs of the dense network for each.
        accept: judges a gate by the agreement of its outputs with the dense ones, and by these
            outputs frame by frame.
    """
    span = value_range(frames)
    best = _judge(Gate(0.0, -1.0), dense, range(len(frames)))
    seen: set[tuple[int, ...]] = set()
    for level in LEVELS:
        for share in SHARES:
            gate = Gate(level * span, share)
            chosen = tuple(_computed(gate, frames))
            if len(set(chosen)) >= best.computed * len(frames):
                break  # smaller shares compute more
            if chosen in seen:
                continue
            seen.add(chosen)
            tuned = _judge(gate, dense, chosen)
            if accept(tuned.agreement, [dense[index] for index in chosen]):
                best = tuned
                break
    return best


def _computed(gate: Gate, frames: Sequence[Feeds]) -> Iterator[int]:
    """For each frame, the number of the frame whose outputs a gated engine gives."""
    last = 0
    for index, frame in enumerate(frames):
        if gate.opens(frame, frames[last]):
            last = index
        yield last


def _judge(gate: Gate, dense: Sequence[Outputs], chosen: Sequence[int]) -> TunedGate:
    """A gate by the frames whose outputs it gives, one for each frame."""
    meter = AgreementMeter()
    for outputs, index in zip(dense, chosen, strict=True):
        meter.add(outputs, dense[index])
    return TunedGate(gate, len(set(chosen)) / len(dense), meter.result())

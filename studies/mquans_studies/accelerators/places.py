"""Where state lies from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass

from mquans_studies.accelerators.load import Load


@dataclass(frozen=True, slots=True)
class Places:
    """Where state lies from frame to frame: shares of it, the rest in the memory of outputs.

    Attributes:
        spare: in what weights leave of their memory.
        away: in the backing memory.
    """

    spare: float
    away: float


def places_of(load: Load) -> Places:
    """State fills the memory of outputs first, then what weights leave free of theirs."""
    own, spare, network = _room(load), spare_bytes(load), load.network
    state = max(network.inputs * load.index + network.outputs * load.design.sum_bytes.value, 1.0)
    beyond = max(state - own, 0.0)
    return Places(min(beyond, spare) / state, max(beyond - spare, 0.0) / state)


def spare_bytes(load: Load) -> float:
    """What weights leave free of a memory of their own, if the design may use it."""
    design = load.design
    same = design.memory("weights") is design.memory("outputs")
    return 0.0 if same or not design.spare.value else _beside_weights(load)


def _room(load: Load) -> float:
    """Bytes of the memory of outputs that keep their content; of one for all, beside weights."""
    of_outputs = load.design.memory("outputs")
    if load.design.memory("weights") is of_outputs:
        return _beside_weights(load)
    return of_outputs.capacity if of_outputs.keeps else 0.0


def _beside_weights(load: Load) -> float:
    of_weights = load.design.memory("weights")
    taken = load.network.weights * load.weight_bytes
    return max(of_weights.capacity - taken, 0.0) if of_weights.keeps else 0.0

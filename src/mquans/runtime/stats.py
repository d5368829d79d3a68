"""What one frame cost: changed inputs, MACs done and skipped, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

LayerMode = Literal["idle", "changes", "sites", "dense"]


@dataclass(frozen=True, slots=True)
class LayerStats:
    """One reuse layer in one frame.

    Attributes:
        name: of the layer.
        inputs: number of input values.
        changed: inputs whose held value moved.
        macs: of one dense evaluation; taps on padding are not counted.
        macs_done: multiplications that the changes call for; kernels may issue fewer or more.
        mode: idle (nothing changed), sites (active sites only), dense (every site), or changes
            (value by value).
        time_ms: spent in the layer, only while `Stream.profile` is on.
    """

    name: str
    inputs: int
    changed: int
    macs: int
    macs_done: int
    mode: LayerMode
    time_ms: float | None = None

    @property
    def similarity(self) -> float:
        """Fraction of inputs whose held value did not change."""
        return 1.0 - self.changed / self.inputs if self.inputs else 1.0

    @property
    def macs_skipped(self) -> int:
        """MACs of one dense evaluation that were not issued."""
        return self.macs - self.macs_done


@dataclass(frozen=True)
class StreamStats:
    """One frame.

    Attributes:
        layers: all reuse layers, in the network's order.
        fallback_macs: of one evaluation of all fallback subgraphs, and of layers that the plan has
            in floats.
        fallback_done: of those that ran; layers in floats count in every frame.
    """

    layers: tuple[LayerStats, ...]
    fallback_macs: int = 0
    fallback_done: int = 0

    @cached_property
    def macs_total(self) -> int:
        """MACs of the dense network."""
        return self.fallback_macs + sum(layer.macs for layer in self.layers)

    @cached_property
    def macs_done(self) -> int:
        """MACs of this frame."""
        return self.fallback_done + sum(layer.macs_done for layer in self.layers)

    @property
    def macs_skipped(self) -> int:
        """MACs of the dense network that were not issued in this frame."""
        return self.macs_total - self.macs_done

    @property
    def computation_reuse(self) -> float:
        """1 - MACs done / MACs of the dense network."""
        return 1.0 - self.macs_done / self.macs_total if self.macs_total else 0.0

    @property
    def similarity(self) -> float:
        """Fraction of the inputs of all reuse layers whose held value did not change."""
        inputs = sum(layer.inputs for layer in self.layers)
        return 1.0 - sum(layer.changed for layer in self.layers) / inputs if inputs else 1.0


class FrameWork(NamedTuple):
    """One frame in sums, for whoever asks after every frame and not for every layer.

    Attributes:
        reuse: 1 - MACs done / MACs of the dense network.
        input_similarity: fraction of the first layer's inputs whose held value did not change; 1
            without layers.
    """

    reuse: float
    input_similarity: float

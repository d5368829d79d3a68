"""What a run cost in multiplications, summed over frames."""

from __future__ import annotations

from dataclasses import dataclass, field

from mquans.runtime.stats import StreamStats


@dataclass(slots=True)
class LayerWork:
    """Sums over the frames of a clip for one reuse layer."""

    inputs: int = 0
    changed: int = 0
    macs: int = 0
    macs_done: int = 0

    @property
    def similarity(self) -> float:
        """Fraction of inputs whose held value did not change."""
        return 1 - self.changed / self.inputs if self.inputs else 1.0

    @property
    def macs_fraction(self) -> float:
        """MACs done / MACs of the dense layer."""
        return self.macs_done / self.macs if self.macs else 0.0

    @property
    def macs_changed(self) -> float:
        """MACs that changed inputs take part in, as Riera et al. count them: all inputs of a layer
        alike."""
        return (1 - self.similarity) * self.macs


@dataclass(slots=True)
class Work:
    """Sums over the frames of one or more clips, first frames included: they are computed whole."""

    frames: int = 0
    fallback_macs: int = 0
    fallback_done: int = 0
    layers: dict[str, LayerWork] = field(default_factory=dict)

    def add(self, stats: StreamStats) -> None:
        """Adds one frame."""
        self.frames += 1
        self.fallback_macs += stats.fallback_macs
        self.fallback_done += stats.fallback_done
        for layer in stats.layers:
            work = self.layers.setdefault(layer.name, LayerWork())
            work.inputs += layer.inputs
            work.changed += layer.changed
            work.macs += layer.macs
            work.macs_done += layer.macs_done

    @property
    def macs_total(self) -> int:
        """MACs of the dense network over all frames; taps on padding are not counted."""
        return self.fallback_macs + sum(layer.macs for layer in self.layers.values())

    @property
    def macs_done(self) -> int:
        """MACs that the changes of all frames called for."""
        return self.fallback_done + sum(layer.macs_done for layer in self.layers.values())

    @property
    def macs_fraction(self) -> float:
        """MACs done / MACs of the dense network; 1 for a network without any."""
        return self.macs_done / self.macs_total if self.macs_total else 1.0

    @property
    def changed_fraction(self) -> float:
        """MACs that changed inputs take part in / MACs of the dense network."""
        changed = self.fallback_done + sum(layer.macs_changed for layer in self.layers.values())
        return changed / self.macs_total if self.macs_total else 0.0

    @property
    def computation_reuse(self) -> float:
        """1 - MACs done / MACs of the dense network."""
        return 1 - self.macs_fraction

    @property
    def similarity(self) -> float:
        """Fraction of the inputs of all reuse layers whose held value did not change."""
        inputs = sum(layer.inputs for layer in self.layers.values())
        changed = sum(layer.changed for layer in self.layers.values())
        return 1 - changed / inputs if inputs else 1.0

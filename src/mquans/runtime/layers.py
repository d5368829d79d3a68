"""What a stream holds and did, layer by layer, and whether it obeys the law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mquans.errors import MquansError
from mquans.runtime.compiled import Compiled
from mquans.runtime.stats import FrameWork, LayerStats, StreamStats


@dataclass(frozen=True, slots=True)
class Violation:
    """The first accumulator that is not the product of weights and held values, or the first code
    that computing everything again changes.

    Attributes:
        layer: its name, or that of the tensor of codes.
        position: (row, column, channel).
        expected, found: the exact value, and what the stream holds.
        kind: what it is.
    """

    layer: str
    position: tuple[int, int, int]
    expected: int
    found: int
    kind: Literal["accumulator", "code"] = "accumulator"


@dataclass(frozen=True, slots=True)
class Layers:
    """Reads the layers of a stream. Layers over sites are read by their tensors of codes."""

    network: Compiled
    native: Any

    def stats(self, frame_ns: Sequence[int], fallback_done: int) -> StreamStats:
        """What the last step cost.

        Args:
            frame_ns: of every step of the program, while profiling; else none.
            fallback_done: MACs of fallback subgraphs.
        """
        lowered = self.network.lowered
        labels = zip(self.network.step_labels, frame_ns, strict=False)
        spent_ms = {label: ns / 1e6 for label, ns in labels}
        layers = {
            name: LayerStats(
                name,
                inputs,
                changed,
                macs,
                done,
                "changes" if changed else "idle",
                spent_ms.get(name),
            )
            for (name, inputs, macs), (changed, done) in zip(
                self.network.layer_sizes, self.native.reports, strict=True
            )
        }
        for (name, layer), (moved, active, _, done) in zip(
            lowered.site_layers.items(), self.native.site_reports, strict=True
        ):
            sites, channels = lowered.sites.sizes[layer.x]
            outputs, _ = lowered.sites.sizes[layer.y]
            layers[name] = LayerStats(
                name,
                sites * channels,
                moved * channels,
                layer.macs,
                done,
                "idle" if not active else "dense" if active == outputs else "sites",
                spent_ms.get(name),
            )
        # Which sites of a layer in floats were computed is not counted: as if all were.
        in_floats = self.network.float_macs
        return StreamStats(
            tuple(layers[name] for name in self.network.layer_names),
            self.network.fallback_macs + in_floats,
            fallback_done + in_floats,
        )

    def work(self, fallback_done: int) -> FrameWork:
        """What `stats` comes to, in a tenth of its time."""
        by_value, by_site = self.native.reports, self.native.site_reports
        done = fallback_done + self.network.float_macs
        done += sum(report[1] for report in by_value)
        done += sum(report[3] for report in by_site)
        total = self.network.macs
        similarity = 1.0
        if first := self.network.first_layer:
            reports = by_site if first.by_site else by_value
            similarity = 1.0 - reports[first.number][0] / first.inputs
        return FrameWork(1.0 - done / total if total else 0.0, similarity)

    def change_map(self, layer: str) -> npt.NDArray[np.uint16]:
        """See `Stream.change_map`."""
        lowered = self.network.lowered
        if layer in lowered.site_layers:
            tensor = lowered.site_layers[layer].x
            _, channels = lowered.sites.sizes[tensor]
            return np.asarray(self.native.read_code_mask(tensor), np.uint16) * np.uint16(channels)
        counts = self.native.layer_changes(self._index(layer))
        return np.asarray(counts.sum(axis=2), np.uint16)

    def active_map(self, layer: str) -> npt.NDArray[np.bool_]:
        """See `Stream.active_map`."""
        layers = self.network.lowered.site_layers
        if layer not in layers:
            raise MquansError(f"there is no layer over sites named {layer!r}.")
        return np.asarray(self.native.read_code_mask(layers[layer].y), np.bool_)

    def held(self, layer: str) -> npt.NDArray[np.int16]:
        """See `Stream.held`."""
        layers = self.network.lowered.site_layers
        if layer in layers:
            return np.asarray(self.native.read_codes(layers[layer].x))
        return np.asarray(self.native.layer_held(self._index(layer)))

    def state(self, layer: str) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int32]]:
        """See `Stream.layer_state`."""
        index = self._index(layer)
        return self.native.layer_held(index), self.native.layer_accumulators(index)

    def wrong_accumulator(self) -> Violation | None:
        """The first one that is not the product of weights and held values."""
        found = self.native.check()
        if found is None:
            return None
        name = list(self.network.lowered.layers)[found.layer]
        width = self.native.layer_accumulators(found.layer).shape[1]
        position = (found.pixel // width, found.pixel % width, found.output)
        return Violation(name, position, found.expected, found.found)

    def other_code(self, again: Layers) -> Violation | None:
        """The first code that differs from those of the same stream, recomputed."""
        for tensor in self.network.coded:
            found, expected = self.native.read_codes(tensor), again.native.read_codes(tensor)
            if not np.array_equal(found, expected):
                row, column, channel = np.argwhere(found != expected)[0].tolist()
                at = (row, column, channel)
                name = self.network.lowered.sites.names[tensor]
                return Violation(name, at, int(expected[at]), int(found[at]), "code")
        return None

    def flip_bit(self, layer: str, index: int, bit: int) -> None:
        """See `Stream.flip_bit`."""
        layers = self.network.lowered.site_layers
        if layer in layers:
            tensor = layers[layer].y
            rows, width, channels = self.native.read_codes(tensor).shape
            if not (0 <= index < rows * width * channels and 0 <= bit <= 15):
                raise MquansError("no such bit.", where=layer)
            row, column, channel = np.unravel_index(index, (rows, width, channels))
            self.native.flip_code_bit(tensor, int(row), int(column), int(channel), bit)
            return
        try:
            self.native.flip_bit(self._index(layer), index, bit)
        except ValueError as error:
            raise MquansError(f"{error}.", where=layer) from error

    def _index(self, name: str) -> int:
        try:
            return self.network.lowered.layers[name]
        except KeyError:
            raise MquansError(f"there is no reuse layer named {name!r}.") from None

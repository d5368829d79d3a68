"""Windows of a sequence that nobody has to copy: products read them where the sequence lies."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from mquans import _native
from mquans.graph import Gather, Graph, MatMul, Node, Reshape
from mquans.runtime.lowering import layout
from mquans.runtime.lowering.layout import Placed

if TYPE_CHECKING:
    from mquans.runtime.lowering.program import Lowering


@dataclass(frozen=True, slots=True)
class Windows:
    """Rows of `taps` steps of a value [1, ..., steps, channels], `step` apart.

    Attributes:
        source: the value.
        gathered: what would be copied and is not made.
        count: of the windows.
    """

    source: str
    gathered: str
    count: int
    taps: int
    step: int

    @property
    def skipped(self) -> tuple[str, ...]:
        """Values that are not made."""
        return (self.gathered,)


def windows_of(graph: Graph) -> dict[str, Windows]:
    """Windows by the value of the reshape that makes rows of them."""
    readers = graph.consumers()
    found: dict[str, Windows] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Gather):
            continue
        match readers.get(node.outputs[0], []):
            case [Node(op=Reshape(), outputs=(rows,))] if _only_multiplied(graph, readers, rows):
                windows = _windows(graph, node, node.op, graph.shape(rows))
                if windows is not None and node.outputs[0] not in graph.outputs:
                    found[rows] = windows
    return found


def _only_multiplied(graph: Graph, readers: dict[str, list[Node]], value: str) -> bool:
    return value not in graph.outputs and all(
        isinstance(reader.op, MatMul)
        and reader.inputs.index(value) == 0
        and value != reader.inputs[1]
        for reader in readers.get(value, [])
    )


def _windows(graph: Graph, node: Node, op: Gather, rows: tuple[int, ...]) -> Windows | None:
    shape = graph.shape(node.inputs[0])
    if len(rows) != len(shape) or prod(shape[:-2]) != 1 or op.axis != len(shape) - 2:
        return None
    count, places = rows[-2], np.array(op.indices)
    if not count or len(places) % count or rows[-1] * count != len(places) * shape[-1]:
        return None
    windows = places.reshape(count, -1)
    taps, step = windows.shape[1], int(windows[1, 0]) if count > 1 else 1
    expected = np.arange(count)[:, None] * step + np.arange(taps)
    if step < 1 or not np.array_equal(windows, expected):
        return None
    return Windows(node.inputs[0], node.outputs[0], count, taps, step)


def add_windows(low: Lowering, value: str, windows: Windows) -> None:
    """Places the rows where the sequence lies."""
    rank = len(low.graph.shape(value))
    x = low.compact(windows.source, low.in_order(windows.source, layout.identity(rank)))
    tensor = int(low.program.add_windows(x.tensor, windows.count, windows.taps, windows.step))
    _native.add_window_marks(
        low.program, f"{value} windows", x.tensor, windows.taps, windows.step, tensor
    )
    low.placed[value] = Placed(tensor, layout.identity(rank), low.graph.shape(value))

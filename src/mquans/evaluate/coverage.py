"""Which nodes of a network run with computation reuse, which natively, and which do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mquans.graph import Fallback, Graph, Node
from mquans.metrics.scored import inner_values

NodeMode = Literal["reuse", "native", "fallback"]


@dataclass(frozen=True, slots=True)
class NodeCoverage:
    """One node: how it runs, and the MACs of one dense evaluation (of fallback subgraphs those of
    layers and matrix products)."""

    name: str
    op: str
    mode: NodeMode
    macs: int


@dataclass(frozen=True, slots=True)
class FallbackInfo:
    """Nodes that are handed to onnxruntime, and why."""

    name: str
    ops: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """All nodes of an imported network, in the order in which they run.

    Attributes:
        inner_values: that losses are taken of in place of outputs, see `metrics.scored`.
    """

    nodes: tuple[NodeCoverage, ...]
    fallbacks: tuple[FallbackInfo, ...]
    inner_values: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        """MACs of the whole network; taps on padding are counted, as is usual in the field."""
        return sum(node.macs for node in self.nodes)

    @property
    def reuse_macs_fraction(self) -> float:
        """Share of the MACs that lies in reuse layers; 0 for a network without any MACs."""
        reused = sum(node.macs for node in self.nodes if node.mode == "reuse")
        return reused / self.macs if self.macs else 0.0

    @property
    def obstacle(self) -> str | None:
        """Why reuse cannot help this network, in a sentence; None where it may."""
        if any(node.mode == "reuse" for node in self.nodes):
            return None
        if not self.fallbacks:
            return "Reuse cannot help: the network has no layers with constant weights."
        first = self.fallbacks[0]
        return (
            "Reuse cannot help: all layers of the network run on onnxruntime, from end to end in "
            f"every frame ({first.ops[0]}: {first.reason.split('; its input')[0]})."
        )

    def as_dict(self) -> dict[str, Any]:
        """The stable keys of `inspect --json`."""
        return {
            "nodes": [
                {"name": node.name, "op": node.op, "mode": node.mode, "macs": node.macs}
                for node in self.nodes
            ],
            "reuse_macs_fraction": self.reuse_macs_fraction,
            "obstacle": self.obstacle,
            "fallbacks": [
                {"name": fallback.name, "ops": list(fallback.ops), "reason": fallback.reason}
                for fallback in self.fallbacks
            ],
            "inner_values": list(self.inner_values),
        }


def coverage(graph: Graph, feedback: Mapping[str, str] | None = None) -> Coverage:
    """How each node of an imported network runs.

    Args:
        feedback: state input by the output that feeds it (`Plan.feedback`).
    """
    nodes = tuple(
        NodeCoverage(node.name, _operator(node), _mode(node), graph.macs(node))
        for node in graph.nodes
    )
    fallbacks = tuple(
        FallbackInfo(node.name, node.op.op_types, node.op.reason)
        for node in graph.nodes
        if isinstance(node.op, Fallback)
    )
    return Coverage(nodes, fallbacks, inner_values(graph, feedback or {}))


def _mode(node: Node) -> NodeMode:
    if node.is_reuse:
        return "reuse"
    return "fallback" if isinstance(node.op, Fallback) else "native"


def _operator(node: Node) -> str:
    """The operator's name with what was fused into it: `Conv + relu`, `binary add`."""
    op = node.op
    kind = getattr(op, "kind", None)
    activation = getattr(op, "activation", None)
    name = type(op).__name__
    if kind is not None:
        return f"{name} {kind}"
    return f"{name} + {activation.kind}" if activation is not None else name

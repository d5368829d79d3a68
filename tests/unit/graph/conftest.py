"""Small graphs written by hand, and the law that every rewrite must keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from mquans.graph import Editor, Graph, Node, ValueType, infer
from mquans.runtime.reference.interpreter import ReferenceNetwork

Rule = Callable[[Editor], bool]


def make_graph(
    nodes: Sequence[tuple[Any, str, str]],
    inputs: dict[str, tuple[int, ...]],
    outputs: Sequence[str],
    constants: dict[str, Any] | None = None,
) -> Graph:
    """A graph from (operator, "inputs", "outputs") rows; nodes are named by their first output."""
    arrays = {name: np.asarray(array, np.float32) for name, array in (constants or {}).items()}
    graph = Graph(
        name="small",
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        nodes=[
            Node(made.split()[0], op, tuple(names.split()), tuple(made.split()))
            for op, names, made in nodes
        ],
        constants=arrays,
        types={name: ValueType(shape) for name, shape in inputs.items()},
    )
    graph.types = infer(graph)
    return graph


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def keeps_values() -> Callable[..., bool]:
    """Apply a rewrite; outputs and recorded shapes must stay as they were."""

    def apply(rule: Rule, graph: Graph) -> bool:
        feeds = {name: random(*graph.shape(name), seed=3) for name in graph.inputs}
        before = ReferenceNetwork(graph).run(feeds)
        changed = rule(Editor(graph))
        after = ReferenceNetwork(graph).run(feeds)
        for name, expected in before.items():
            np.testing.assert_allclose(after[name], expected, rtol=1e-5, atol=1e-6)
        for name, kind in infer(graph).items():
            assert graph.types[name] == kind
        return changed

    return apply


def operators(graph: Graph) -> list[Any]:
    return [node.op for node in graph.nodes]

"""Functions of one value that follow each other are one step, with the same bits as many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mquans
from mquans.graph import Binary, Graph, Node, Unary, ValueType, infer
from mquans.onnx import to_onnx
from mquans.runtime.lowering.chains import chains_of
from mquans.runtime.lowering.sites.analysis import analyse
from mquans.runtime.session import available_isas

SHAPE = (2, 70, 33)
LINKS = [
    (Binary("div"), ("x", "seven"), "a"),
    (Unary("quantize", (-3.0, 4.0)), ("a",), "b"),
    (Binary("sub"), ("one", "b"), "c"),
    (Unary("exp"), ("c",), "d"),
    (Binary("add"), ("d", "x"), "e"),
    (Unary("abs"), ("e",), "f"),
    (Binary("pow"), ("f", "seven"), "y"),
]


def network(outputs: tuple[str, ...] = ("y",)) -> Graph:
    nodes = [Node(made, op, inputs, (made,)) for op, inputs, made in LINKS]
    constants: dict[str, Any] = {"seven": np.float32([0.7]), "one": np.ones((1, 1), np.float32)}
    graph = Graph("chains", ("x",), outputs, nodes, constants)
    graph.types = {"x": ValueType(SHAPE)}
    graph.types |= {name: ValueType(array.shape) for name, array in constants.items()}
    graph.types = infer(graph)
    return graph


def made(outputs: tuple[str, ...] = ("y",)) -> list[list[str]]:
    graph = network(outputs)
    found = chains_of(graph, analyse(graph))
    return [[node.name for node in chain.nodes] for chain in found.values()]


def test_what_several_read_or_a_user_sees_ends_a_chain() -> None:
    assert made() == [["a", "b", "c", "d"], ["f", "y"]]
    assert made(("y", "b")) == [["a", "b"], ["c", "d"], ["f", "y"]]


@pytest.mark.parametrize("isa", available_isas())
def test_a_chain_follows_what_moves(isa: str) -> None:
    """Otherwise values of sites that moved are old, or those of others wrong."""
    rng = np.random.default_rng(0)
    frame = {"x": rng.normal(size=SHAPE).astype(np.float32)}
    model = to_onnx(network())
    session = mquans.Session(model, mquans.calibrate(model, [frame] * 4, bits=12), isa=isa)
    seen = session.exposing(tuple("abcdf"))
    stream, single = session.stream(), seen.stream()
    for moved in ([], [0], [69], range(3, 40), []):
        x = frame["x"].copy()
        x[:, list(moved)] += rng.normal(size=(2, len(moved), 33)).astype(np.float32)
        frame = {"x": x}
        found, apart = stream.step(frame)["y"], single.step(frame)["y"]
        assert found.tobytes() == apart.tobytes()
        whole = np.rint(x / np.float32(0.7)).clip(-3, 4)
        expected = np.abs(np.exp(1 - whole.astype(np.float64)) + x) ** np.float64(np.float32(0.7))
        np.testing.assert_allclose(found, expected, rtol=1e-5)

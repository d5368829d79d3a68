"""Normalisations written in one node or in many must mean the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .conftest import NEWEST, Check, build, kinds, op, values


@pytest.mark.parametrize("opset", [9, 14, NEWEST])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3)])
def test_batch_norm_without_a_layer_before(
    check: Check, opset: int, shape: tuple[int, ...]
) -> None:
    constants = {"s": values(1, 3), "b": values(2, 3), "m": values(3, 3)}
    constants["v"] = np.abs(values(4, 3)) + 0.1
    node = op("BatchNormalization", "x s b m v", "y", epsilon=1e-3)
    graph = check(build([node], {"x": shape}, ["y"], constants, opset=opset))
    assert kinds(graph) == ["Binary:mul", "Binary:add"]


def test_instance_norm(check: Check) -> None:
    constants = {"s": values(1, 3), "b": values(2, 3)}
    node = op("InstanceNormalization", "x s b", "y", epsilon=1e-3)
    check(build([node], {"x": (2, 3, 4, 5)}, ["y"], constants))


@pytest.mark.parametrize(("opset", "entries"), [(18, 2), (21, 6)])
def test_group_norm(check: Check, opset: int, entries: int) -> None:
    """Opset 18 has one scale per group, opset 21 one per channel."""
    constants = {"s": values(1, entries), "b": values(2, entries)}
    node = op("GroupNormalization", "x s b", "y", num_groups=2)
    check(build([node], {"x": (2, 6, 4, 5)}, ["y"], constants, opset=opset))


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm(check: Check, axis: int, bias: bool) -> None:
    shape = (2, 3, 8)
    constants = {"s": values(1, *shape[axis:]), "b": values(2, *shape[axis:])}
    node = op("LayerNormalization", "x s b" if bias else "x s", "y", axis=axis, epsilon=1e-4)
    assert kinds(check(build([node], {"x": shape}, ["y"], constants))) == ["LayerNorm"]


@pytest.mark.parametrize("square", ["Pow", "Mul"])
@pytest.mark.parametrize("twice", [True, False])
def test_layer_norm_written_out_is_recognised(check: Check, square: str, twice: bool) -> None:
    nodes = [op("ReduceMean", "x", "m", axes=[-1]), op("Sub", "x m", "d")]
    if twice:
        nodes.append(op("Sub", "x m", "d2"))
    deviation = "d2" if twice else "d"
    nodes += [
        op(square, "d two" if square == "Pow" else "d d", "q"),
        op("ReduceMean", "q", "v", axes=[-1]),
        op("Add", "v eps", "e"),
        op("Sqrt", "e", "r"),
        op("Div", f"{deviation} r", "n"),
        op("Mul", "n s", "k"),
        op("Add", "k b", "y"),
    ]
    constants: dict[str, Any] = {"two": np.float32(2), "eps": np.float32(1e-5)}
    constants |= {"s": values(1, 8), "b": values(2, 8)}
    graph = check(build(nodes, {"x": (2, 3, 8)}, ["y"], constants, opset=13))
    assert kinds(graph) == ["LayerNorm"]


@pytest.mark.parametrize("size", [5, 3, 1])
def test_local_response_normalisation(check: Check, size: int) -> None:
    node = op("LRN", "x", "y", size=size, alpha=0.3, beta=0.6, bias=1.5)
    check(build([node], {"x": (2, 7, 3, 4)}, ["y"]))


@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalisation(check: Check, p: int) -> None:
    check(build([op("LpNormalization", "x", "y", p=p, axis=1)], {"x": (2, 3, 4)}, ["y"]))


@pytest.mark.parametrize("p", [1, 2])
def test_what_has_no_length_keeps_it(check: Check, p: int) -> None:
    """It is 0 / 0 by the formula, of silence and of black pictures."""
    x = values(3, 2, 3, 4)
    x[0, :, 1:3] = 0
    model = build([op("LpNormalization", "x", "y", p=p, axis=1)], {"x": x.shape}, ["y"])
    check(model, feeds={"x": x})


def test_rms_norm(check: Check) -> None:
    node = op("RMSNormalization", "x s", "y", axis=-1, epsilon=1e-4)
    check(build([node], {"x": (2, 3, 8)}, ["y"], {"s": values(1, 8)}, opset=NEWEST))

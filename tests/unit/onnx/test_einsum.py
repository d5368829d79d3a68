"""Attention as many write it: without a rule each product ends the engine's part of the network."""

from __future__ import annotations

import numpy as np
import pytest

from mquans.graph import Binary, Fallback, Linear, MatMul

from .conftest import Check, build, op


def axes(labels: str) -> tuple[int, ...]:
    """Sizes that differ from label to label, so that no axis is taken for another."""
    return tuple("abcdehijkwn".index(label) + 2 for label in labels)


@pytest.mark.parametrize(
    ("equation", "kind"),
    [
        ("bhid,bhjd->bhij", MatMul), ("bhij,bhjd->bhid", MatMul), ("bijd, bkjd -> bjik", MatMul),
        ("bhiwd,bhjwd->bhij", MatMul), ("bid,djk->bijk", MatMul), ("ij,ij->ij", Binary),
        ("bi,bj->bij", Binary), ("i,j", Binary), ("ij,jk", MatMul), ("bnk,bnk->b", MatMul),
        ("bijk,bk->bi", MatMul), ("ij,ij->", MatMul),
    ],
)  # fmt: skip
def test_products_of_computed_values(check: Check, equation: str, kind: type) -> None:
    """Batch axes, axes of one of both, and summed ones in any order; implicit results too."""
    first, second = equation.partition("->")[0].replace(" ", "").split(",")
    nodes = [op("Einsum", "x z", "y", equation=equation)]
    graph = check(build(nodes, {"x": axes(first), "z": axes(second)}, ["y"]))
    assert any(isinstance(node.op, kind) for node in graph.nodes)


@pytest.mark.parametrize("names", ["x w", "w x"])
@pytest.mark.parametrize(
    ("equation", "kind"),
    [("bijc,ck->bijk", Linear), ("bchw,cdk->bhwdk", Linear), ("bhid,hjd->bhij", MatMul)],
)
def test_products_with_weights(check: Check, equation: str, names: str, kind: type) -> None:
    """A layer like any other, with reuse, whatever comes first."""
    left, result = equation.split("->")
    first, second = left.split(",")
    order = f"{first},{second}" if names == "x w" else f"{second},{first}"
    weight = np.random.default_rng(0).normal(size=axes(second))
    nodes = [op("Einsum", names, "y", equation=f"{order}->{result}")]
    graph = check(build(nodes, {"x": axes(first)}, ["y"], {"w": weight}))
    assert any(isinstance(node.op, kind) for node in graph.nodes)


def test_one_value_is_summed_and_turned(check: Check) -> None:
    nodes = [
        op("Einsum", "x", "y", equation="bij->ji"), op("Einsum", "x", "z", equation="...ij->...ji"),
        op("Einsum", "x", "s", equation="bij->"),
    ]  # fmt: skip
    check(build(nodes, {"x": (2, 3, 4)}, ["y", "z", "s"]))


def test_an_ellipsis_stands_for_axes_in_front(check: Check) -> None:
    nodes = [op("Einsum", "x z", "y", equation="...ij,...jk->...ik")]
    graph = check(build(nodes, {"x": (2, 3, 4, 5), "z": (2, 3, 5, 6)}, ["y"]))
    assert [type(node.op) for node in graph.nodes] == [MatMul]


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [("ii->i", [(3, 3)]), ("ij,ij,ij->i", [(3, 3)] * 3)],
)
def test_what_is_no_product_of_two_stays_a_fallback(
    check: Check, equation: str, shapes: list[tuple[int, ...]]
) -> None:
    inputs = dict(zip("xzw", shapes, strict=False))
    nodes = [op("Einsum", " ".join(inputs), "y", equation=equation)]
    graph = check(build(nodes, inputs, ["y"]), fallbacks=True)
    assert any(isinstance(node.op, Fallback) for node in graph.nodes)

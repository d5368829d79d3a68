"""A rewrite must fire where it should, hold back where it must, and keep values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mquans.graph import (
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Gather,
    Graph,
    Linear,
    Pad,
    Pool,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    Transpose,
    Unary,
    rewrite,
)
from mquans.graph.rewrites.cancel_transposes import cancel_transposes
from mquans.graph.rewrites.channel_selection import select_channels
from mquans.graph.rewrites.dead_nodes import remove_dead_nodes
from mquans.graph.rewrites.fold_affine import fold_affine
from mquans.graph.rewrites.fold_input_affine import fold_input_affine
from mquans.graph.rewrites.fold_pad import fold_pad
from mquans.graph.rewrites.fuse_activation import fuse_activations
from mquans.graph.rewrites.identities import remove_identities
from mquans.graph.rewrites.layout import merge_layout
from mquans.graph.rewrites.space_to_depth import unfold_space

from .conftest import make_graph, operators, random

Keeps = Callable[..., bool]
RELU = Unary("relu")
IMAGE = {"x": (1, 4, 6, 5)}


def conv(groups: int = 1, pads: tuple[int, ...] = (0, 0, 0, 0)) -> Conv:
    return Conv((3, 3), (1, 1), pads, (1, 1), groups)


def transposed(groups: int = 1) -> ConvTranspose:
    return ConvTranspose((3, 3), (2, 2), (0, 0, 0, 0), (1, 1), (0, 0), groups)


LAYERS: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...]]] = {
    "conv": (conv(), (6, 4, 3, 3), (6, 1, 1)),
    "grouped": (conv(2), (6, 2, 3, 3), (1, 6, 1, 1)),
    "transposed": (transposed(), (4, 6, 3, 3), (6, 1, 1)),
    "transposed grouped": (transposed(2), (4, 3, 3, 3), (6, 1, 1)),
    "linear": (Linear(), (5, 6), (6,)),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("bias", [True, False])
def test_affine_constants_fold_into_weights(
    keeps_values: Keeps, layer: str, kind: str, side: str, bias: bool
) -> None:
    op, weight, column = LAYERS[layer]
    names = "h c" if side == "right" else "c h"
    constants = {"w": random(*weight, seed=1), "b": random(6, seed=2), "c": random(*column) + 3}
    rows = [(op, "x w b" if bias else "x w", "h"), (Binary(kind), names, "y")]
    graph = make_graph(rows, IMAGE, ["y"], constants)
    folds = not (kind == "div" and side == "left")
    assert keeps_values(fold_affine, graph) == folds
    assert len(graph.nodes) == (1 if folds else 2)


@pytest.mark.parametrize(
    ("column", "outputs"),
    [
        ((6, 4, 3), ["y"]),  # varies over positions
        ((2, 6, 1, 1), ["y"]),  # enlarges the batch
        ((6, 1, 1), ["y", "h"]),  # the plain result is returned as well
    ],
)
def test_affine_constants_that_do_not_fit_stay(
    keeps_values: Keeps, column: tuple[int, ...], outputs: list[str]
) -> None:
    rows = [(conv(), "x w", "h"), (Binary("mul"), "h c", "y")]
    constants = {"w": random(6, 4, 3, 3), "c": random(*column)}
    graph = make_graph(rows, IMAGE, outputs, constants)
    assert not keeps_values(fold_affine, graph)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    "rows", [[("mul", "x s")], [("div", "x s")], [("add", "c x")], [("sub", "x c")]]
)
def test_affine_inputs_fold_into_weights(
    keeps_values: Keeps, layer: str, rows: list[tuple[Any, str]]
) -> None:
    op, weight, _ = LAYERS[layer]
    ((kind, names),) = rows
    constants = {"w": random(*weight, seed=1), "s": [[0.5]]}
    constants["c"] = random(5) if layer == "linear" else random(4, 1, 1)
    for bias in (True, False):
        constants["b"] = random(6, seed=2)
        full = [(Binary(kind), names, "h"), (op, "h w b" if bias else "h w", "y")]
        graph = make_graph(full, IMAGE, ["y"], constants)
        folds = kind in ("mul", "div") or not isinstance(op, ConvTranspose)
        assert keeps_values(fold_input_affine, graph) == folds


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("add", "x s"),  # the border is not shifted
        ("mul", "x c"),  # a factor per channel
        ("div", "s x"),  # the input divides
    ],
)
def test_affine_inputs_that_do_not_fit_stay(keeps_values: Keeps, kind: Any, names: str) -> None:
    rows = [(Binary(kind), names, "h"), (conv(pads=(1, 1, 1, 1)), "h w", "y")]
    constants = {"w": random(6, 4, 3, 3), "s": 0.5, "c": random(4, 1, 1)}
    assert not keeps_values(fold_input_affine, make_graph(rows, IMAGE, ["y"], constants))


def test_nothing_folds_behind_an_activation(keeps_values: Keeps) -> None:
    rows = [(conv(), "x w", "h"), (RELU, "h", "r"), (Binary("mul"), "r c", "y")]
    graph = make_graph(rows, IMAGE, ["y"], {"w": random(6, 4, 3, 3), "c": random(6, 1, 1)})
    keeps_values(fuse_activations, graph)
    assert not keeps_values(fold_affine, graph)
    assert operators(graph)[0].activation == RELU


def test_division_by_zero_is_not_folded() -> None:
    rows = [(conv(), "x w", "h"), (Binary("div"), "h c", "y")]
    graph = make_graph(rows, IMAGE, ["y"], {"w": random(6, 4, 3, 3), "c": np.zeros((6, 1, 1))})
    assert len(rewrite(graph).nodes) == 2


def test_shared_weights_are_not_changed_for_the_other_layer(keeps_values: Keeps) -> None:
    rows = [(conv(), "x w", "h"), (Binary("mul"), "h c", "y"), (conv(), "x w", "z")]
    graph = make_graph(rows, IMAGE, ["y", "z"], {"w": random(6, 4, 3, 3), "c": random(6, 1, 1)})
    assert keeps_values(fold_affine, graph)


@pytest.mark.parametrize("op", [RELU, Unary("silu"), Unary("clip", (0.0, 6.0)), Unary("gelu")])
def test_activations_fuse(keeps_values: Keeps, op: Unary) -> None:
    graph = make_graph(
        [(conv(), "x w", "h"), (op, "h", "y")], IMAGE, ["y"], {"w": random(6, 4, 3, 3)}
    )
    assert keeps_values(fuse_activations, graph)
    assert [(node.name, node.op.activation) for node in graph.nodes] == [("h", op)]


@pytest.mark.parametrize("outputs", [["y", "h"], ["y", "z"]])
def test_activations_do_not_fuse_when_the_value_before_is_needed(
    keeps_values: Keeps, outputs: list[str]
) -> None:
    rows = [(conv(), "x w", "h"), (RELU, "h", "y"), (Unary("abs"), "h", "z")]
    graph = make_graph(rows[: 2 + ("z" in outputs)], IMAGE, outputs, {"w": random(6, 4, 3, 3)})
    assert not keeps_values(fuse_activations, graph)


def test_formulas_do_not_fuse(keeps_values: Keeps) -> None:
    rows = [(conv(), "x w", "h"), (Unary("exp"), "h", "y")]
    graph = make_graph(rows, IMAGE, ["y"], {"w": random(6, 4, 3, 3)})
    assert not keeps_values(fuse_activations, graph)


def test_dead_nodes_and_constants_go() -> None:
    rows = [(RELU, "x", "y"), (Binary("mul"), "x c", "d"), (RELU, "d", "e")]
    graph = make_graph(rows, {"x": (2,)}, ["y"], {"c": [1.0, 2.0]})
    from mquans.graph import Editor

    assert remove_dead_nodes(Editor(graph))
    assert len(graph.nodes) == 1
    assert set(graph.types) == {"x", "y"}
    assert graph.constants == {}


NEAREST = Resize("nearest", "asymmetric", "floor", (1.0,) * 4, (1, 4, 6, 5))


@pytest.mark.parametrize(
    "op",
    [
        Reshape((1, 4, 6, 5)),
        Transpose((0, 1, 2, 3)),
        Pad((0,) * 8),
        Slice((0,) * 4, (1, 4, 6, 5), (1,) * 4),
        Gather(1, (0, 1, 2, 3)),
        Concat(1),
        Unary("clip", (-math.inf, math.inf)),
        Pool("average", (1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
        NEAREST,
        Reduce("mean", (0,), True),
    ],
)
def test_identities_go(keeps_values: Keeps, op: Any) -> None:
    graph = make_graph([(RELU, "x", "h"), (op, "h", "k"), (Unary("neg"), "k", "y")], IMAGE, ["y"])
    assert keeps_values(remove_identities, graph)
    assert operators(graph) == [RELU, Unary("neg")]


@pytest.mark.parametrize(
    ("kind", "value"), [("add", 0.0), ("mul", 1.0), ("div", 1.0), ("sub", 0.0)]
)
def test_neutral_constants_go_unless_they_broadcast(
    keeps_values: Keeps, kind: Any, value: float
) -> None:
    for shape, gone in (((1,), True), ((3, 1, 1, 1), False)):
        rows = [(RELU, "x", "h"), (Binary(kind), "h c", "y")]
        graph = make_graph(rows, IMAGE, ["y"], {"c": np.full(shape, value)})
        keeps_values(remove_identities, graph)
        assert (len(graph.nodes) == 1) == gone


def test_padding_folds_into_convolutions_and_pools(keeps_values: Keeps) -> None:
    pad = (Pad((0, 0, 1, 0, 0, 0, 1, 2)), "x", "p")
    for op, names in (
        (conv(), "p w"),
        (Pool("average", (3, 3), (1, 1), (0, 0, 0, 0), (1, 1)), "p"),
    ):
        graph = make_graph([pad, (op, names, "y")], IMAGE, ["y"], {"w": random(6, 4, 3, 3)})
        assert keeps_values(fold_pad, graph)
        assert operators(graph)[0].pads == (1, 0, 1, 2)
    lowest = Pad((0, 0, 1, 0, 0, 0, 1, 2), value=-math.inf)
    graph = make_graph(
        [(lowest, "x", "p"), (Pool("max", (3, 3), (1, 1), (0, 0, 0, 0), (1, 1)), "p", "y")],
        IMAGE, ["y"],
    )  # fmt: skip
    assert keeps_values(fold_pad, graph)


@pytest.mark.parametrize(
    ("pad", "op"),
    [
        (Pad((0, 0, 1, 0, 0, 0, 1, 2), "edge"), conv()),
        (Pad((0, 0, 1, 0, 0, 0, 1, 2), value=1.0), conv()),
        (Pad((0, 1, 0, 0, 0, 1, 0, 0)), Conv((3, 3), (1, 1), (0,) * 4, (1, 1), 1)),
        (Pad((0, 0, 1, 0, 0, 0, 1, 2)), Pool("max", (3, 3), (1, 1), (0, 0, 0, 0), (1, 1))),
        (Pad((0, 0, 1, 1, 0, 0, 1, 1)), Pool("average", (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))),
        (Pad((0, 0, 2, 0, 0, 0, 2, 0)), Pool("average", (2, 2), (1, 1), (0, 0, 0, 0), (1, 1))),
    ],
)
def test_padding_that_means_something_else_stays(keeps_values: Keeps, pad: Pad, op: Any) -> None:
    channels = 4 + 2 * pad.pads[1]
    names = "p w" if isinstance(op, Conv) else "p"
    constants = {"w": random(6, channels, 3, 3)}
    graph = make_graph([(pad, "x", "p"), (op, names, "y")], IMAGE, ["y"], constants)
    assert not keeps_values(fold_pad, graph)


def shuffle(groups: int) -> list[tuple[Any, str, str]]:
    return [
        (Reshape((1, groups, 8 // groups, 3, 3)), "x", "a"),
        (Transpose((0, 2, 1, 3, 4)), "a", "b"),
        (Reshape((1, 8, 3, 3)), "b", "c"),
    ]


@pytest.mark.parametrize("groups", [2, 4])
def test_a_channel_shuffle_becomes_a_gather(keeps_values: Keeps, groups: int) -> None:
    graph = make_graph([*shuffle(groups), (RELU, "c", "y")], {"x": (1, 8, 3, 3)}, ["y"])
    assert keeps_values(select_channels, graph)
    keeps_values(remove_dead_nodes, graph)
    order = tuple(np.arange(8).reshape(groups, -1).T.reshape(-1).tolist())
    assert operators(graph) == [Gather(1, order), RELU]


def test_a_shuffle_followed_by_a_split_becomes_two_gathers(keeps_values: Keeps) -> None:
    rows = [
        *shuffle(2),
        (Slice((0, 0, 0, 0), (1, 4, 3, 3), (1,) * 4), "c", "left"),
        (Slice((0, 4, 0, 0), (1, 8, 3, 3), (1,) * 4), "c", "right"),
    ]
    graph = make_graph(rows, {"x": (1, 8, 3, 3)}, ["left", "right"])
    assert keeps_values(select_channels, graph)
    keeps_values(remove_dead_nodes, graph)
    assert operators(graph) == [Gather(1, (0, 4, 1, 5)), Gather(1, (2, 6, 3, 7))]


def test_what_moves_pixels_is_not_a_channel_selection(keeps_values: Keeps) -> None:
    rows = [
        (Transpose((0, 1, 3, 2)), "x", "a"),
        (Slice((0,) * 4, (1, 4, 3, 3), (1,) * 4), "a", "y"),
    ]
    graph = make_graph(rows, {"x": (1, 8, 3, 3)}, ["y"])
    assert not keeps_values(select_channels, graph)


def test_neighbouring_layout_nodes_merge(keeps_values: Keeps) -> None:
    rows = [
        (Reshape((4, 30)), "x", "a"),
        (Reshape((4, 5, 6)), "a", "b"),
        (Transpose((1, 2, 0)), "b", "c"),
        (Transpose((2, 1, 0)), "c", "d"),
        (Transpose((0, 1, 2)), "d", "y"),
    ]
    graph: Graph = make_graph(rows, IMAGE, ["y"])
    rewrite(graph)
    assert operators(graph) == [Reshape((4, 5, 6)), Transpose((0, 2, 1))]


def test_a_transpose_of_unit_axes_is_a_reshape(keeps_values: Keeps) -> None:
    graph = make_graph([(Transpose((1, 0, 2)), "x", "y")], {"x": (1, 3, 4)}, ["y"])
    assert keeps_values(merge_layout, graph)
    assert operators(graph) == [Reshape((3, 1, 4))]


@pytest.mark.parametrize("op", [Softmax(3), RELU])
def test_transposes_around_a_softmax_cancel(keeps_values: Keeps, op: Any) -> None:
    rows = [
        (Transpose((0, 2, 3, 1)), "x", "a"),
        (op, "a", "b"),
        (Transpose((0, 3, 1, 2)), "b", "y"),
    ]
    graph = make_graph(rows, IMAGE, ["y"])
    assert keeps_values(cancel_transposes, graph)
    keeps_values(remove_dead_nodes, graph)
    assert operators(graph) == [Softmax(1) if op != RELU else RELU]


def test_transposes_that_do_not_cancel_stay(keeps_values: Keeps) -> None:
    rows = [
        (Transpose((0, 2, 3, 1)), "x", "a"),
        (Softmax(3), "a", "b"),
        (Transpose((0, 2, 3, 1)), "b", "y"),
    ]
    assert not keeps_values(cancel_transposes, make_graph(rows, IMAGE, ["y"]))


def pieces(starts: list[tuple[int, int]], step: int = 2) -> list[Any]:
    rows: list[Any] = [
        (Slice((0, 0, *start), (1, 3, 8, 12), (1, 1, step, step)), "x", f"p{i}")
        for i, start in enumerate(starts)
    ]
    return [*rows, (Concat(1), " ".join(f"p{i}" for i in range(len(starts))), "c")]


FOCUS = [(0, 0), (1, 0), (0, 1), (1, 1)]


@pytest.mark.parametrize("starts", [FOCUS, FOCUS[::-1]])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_over_pieces_reads_the_picture(
    keeps_values: Keeps, starts: list[tuple[int, int]], stride: int
) -> None:
    op = Conv((3, 3), (stride, stride), (1, 0, 1, 2), (1, 1), activation=RELU)
    rows = [*pieces(starts), (op, "c w b", "y")]
    graph = make_graph(
        rows, {"x": (1, 3, 8, 12)}, ["y"], {"w": random(5, 12, 3, 3), "b": random(5)}
    )
    assert keeps_values(unfold_space, graph)
    keeps_values(remove_dead_nodes, graph)
    wide = Conv((6, 6), (2 * stride,) * 2, (2, 0, 2, 4), (1, 1), activation=RELU)
    assert operators(graph) == [wide]


def test_slices_of_slices_are_pieces_too(keeps_values: Keeps) -> None:
    rows: list[Any] = []
    for i, (top, left) in enumerate(FOCUS):
        rows.append((Slice((0, 0, top, 0), (1, 3, 8, 12), (1, 1, 2, 1)), "x", f"r{i}"))
        rows.append((Slice((0, 0, 0, left), (1, 3, 4, 12), (1, 1, 1, 2)), f"r{i}", f"p{i}"))
    rows += [(Concat(1), "p0 p1 p2 p3", "c"), (conv(pads=(1,) * 4), "c w", "y")]
    graph = make_graph(rows, {"x": (1, 3, 8, 12)}, ["y"], {"w": random(5, 12, 3, 3)})
    assert keeps_values(unfold_space, graph)


@pytest.mark.parametrize(
    "starts", [[*FOCUS[:3], (0, 0)], FOCUS[:2]], ids=["a piece twice", "pieces missing"]
)
def test_other_pieces_stay(keeps_values: Keeps, starts: list[tuple[int, int]]) -> None:
    rows = [*pieces(starts), (conv(), "c w", "y")]
    weight = random(5, 3 * len(starts), 3, 3)
    graph = make_graph(rows, {"x": (1, 3, 8, 12)}, ["y"], {"w": weight})
    assert not keeps_values(unfold_space, graph)


def test_a_dilated_convolution_keeps_its_pieces(keeps_values: Keeps) -> None:
    op = Conv((3, 3), (1, 1), (0,) * 4, (1, 2))
    graph = make_graph(
        [*pieces(FOCUS), (op, "c w", "y")], {"x": (1, 3, 8, 12)}, ["y"],
        {"w": random(5, 12, 3, 3)},
    )  # fmt: skip
    assert not keeps_values(unfold_space, graph)

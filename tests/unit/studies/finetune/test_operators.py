"""Training computes what the engine runs: operators in torch agree with the float oracle."""

from __future__ import annotations

import numpy as np
import pytest

from mquans.errors import UnsupportedOperatorError
from mquans.graph import (
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Expand,
    Fallback,
    Gather,
    Graph,
    LayerNorm,
    Linear,
    MatMul,
    Node,
    Operator,
    Pad,
    Pool,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    Transpose,
    Unary,
    ValueType,
    infer,
)
from mquans.runtime.reference.interpreter import ReferenceNetwork

torch = pytest.importorskip("torch")

from mquans_studies.finetune.operators import BINARY, REDUCE, UNARY, evaluate  # noqa: E402

PARAMS = {
    "leaky_relu": (0.1,), "clip": (-0.5, 0.7), "hard_sigmoid": (0.2, 0.5), "elu": (0.7,),
    "selu": (1.67, 1.05), "quantize": (-1.0, 2.0),
}  # fmt: skip
PICTURE = (1, 4, 7, 6)
LAYERS: list[tuple[Operator, tuple[int, ...], tuple[tuple[int, ...], ...]]] = [
    (Conv((3, 2), (2, 1), (1, 0, 0, 2), (1, 2), 2, Unary("relu")), PICTURE, ((6, 2, 3, 2), (6,))),
    (Conv((3,), (1,), (1, 1), (1,)), (1, 4, 9), ((5, 4, 3),)),
    (Conv((2, 2, 2), (1,) * 3, (0,) * 6, (1,) * 3), (1, 2, 4, 4, 4), ((3, 2, 2, 2, 2), (3,))),
    (
        ConvTranspose((3, 2), (2, 2), (1, 0, 0, 1), (1, 2), (1, 0), 2, Unary("silu")),
        PICTURE,
        ((4, 3, 3, 2), (6,)),
    ),
    (Linear(Unary("clip", (0.0, 6.0))), (1, 3, 5), ((5, 7), (7,))),
    (LayerNorm(2, 1e-5), (1, 3, 5), ((5,), (5,))),
]
OTHERS: list[tuple[Operator, list[tuple[int, ...]]]] = [
    (Concat(1), [PICTURE, (1, 2, 7, 6)]),
    (Slice((0, 3, 6, 0), (1, -1, 0, 6), (1, -1, -2, 2)), [PICTURE]),
    (Gather(1, (3, 0, 0)), [PICTURE]),
    (Pad((0, 0, 1, 2, 0, 0, 2, 0), "constant", 0.5), [PICTURE]),
    (Pad((0, 0, 1, 2, 0, 0, 2, 0), "reflect"), [PICTURE]),
    (Pad((0, 0, 1, 2, 0, 0, 2, 0), "edge"), [PICTURE]),
    (Pool("max", (3, 2), (2, 2), (1, 0, 1, 1), (1, 2)), [PICTURE]),
    (Pool("max", (3, 3), (2, 2), (0,) * 4, (1, 1), ceil_mode=True), [PICTURE]),
    (Pool("average", (3, 3), (2, 2), (1,) * 4, (1, 1)), [PICTURE]),
    (Pool("average", (3, 3), (2, 2), (1,) * 4, (1, 1), True, True), [PICTURE]),
    (Resize("nearest", "asymmetric", "floor", (1, 1, 2, 2), (1, 4, 14, 12)), [PICTURE]),
    (Resize("linear", "half_pixel", "floor", (1, 1, 1.7, 0.5), (1, 4, 11, 3)), [PICTURE]),
    (Resize("cubic", "align_corners", "floor", (1, 1, 2, 2), (1, 4, 14, 12)), [PICTURE]),
    (Reshape((1, 8, 21)), [PICTURE]),
    (Transpose((0, 2, 3, 1)), [PICTURE]),
    (Expand((1, 4, 7, 6)), [(1, 4, 1, 1)]),
    (Softmax(1), [PICTURE]),
    (Softmax(2, log=True), [PICTURE]),
    (MatMul(), [(1, 2, 3, 4), (1, 2, 4, 5)]),
]


def check(op: Operator, shapes: list[tuple[int, ...]], *, positive: bool = False) -> None:
    """torch and the float oracle on the same random arrays."""
    random = np.random.default_rng(3)
    arrays = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    if positive:
        arrays = [np.abs(array) + 0.5 for array in arrays]
    names = tuple(f"x{i}" for i in range(len(shapes)))
    node = Node("n", op, names, ("y",))
    types = {name: ValueType(shape) for name, shape in zip(names, shapes, strict=True)}
    graph = Graph("one", names, ("y",), [node], {}, types)
    graph.types = infer(graph)
    expected = ReferenceNetwork(graph).run(dict(zip(names, arrays, strict=True)))["y"]
    inputs = [torch.tensor(array) for array in arrays]
    np.testing.assert_allclose(evaluate(node, inputs).numpy(), expected, rtol=2e-5, atol=2e-5)
    # Frames are mapped over an extra leading axis: the operator must survive that.
    mapped = torch.vmap(lambda *x: evaluate(node, x))(*[torch.stack([x, 2 * x]) for x in inputs])
    np.testing.assert_allclose(mapped[0].numpy(), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("kind", list(UNARY))
def test_functions(kind: str) -> None:
    op = Unary(kind, PARAMS.get(kind, ()))  # type: ignore[arg-type]
    check(op, [(1, 40)], positive=kind in ("log", "sqrt", "reciprocal"))


@pytest.mark.parametrize("kind", list(BINARY))
def test_pairs_broadcast(kind: str) -> None:
    check(Binary(kind), [(1, 4, 5), (4, 1)], positive=kind == "pow")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", list(REDUCE))
def test_reductions(kind: str) -> None:
    for axes, keepdims in (((2, 3), True), ((1,), False), ((), True)):
        if axes or kind not in ("l1", "l2", "sum_square"):
            check(Reduce(kind, axes, keepdims), [PICTURE])  # type: ignore[arg-type]


@pytest.mark.parametrize(("op", "shape", "constants"), LAYERS)
def test_layers(
    op: Operator, shape: tuple[int, ...], constants: tuple[tuple[int, ...], ...]
) -> None:
    check(op, [shape, *constants])


@pytest.mark.parametrize(("op", "shapes"), OTHERS)
def test_other_operators(op: Operator, shapes: list[tuple[int, ...]]) -> None:
    check(op, shapes)


def test_an_fallback_is_named() -> None:
    """So that the user knows where training has to stop."""
    node = Node("strange", Fallback(b"", ("NonZero",), "no rule"), ("x",), ("y",))
    with pytest.raises(UnsupportedOperatorError, match="strange"):
        evaluate(node, [torch.zeros(1)])

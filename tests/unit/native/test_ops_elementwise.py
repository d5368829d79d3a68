"""Unary and binary steps: a wrong value or a missed pixel is a wrong activation or skip link."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mquans.graph.operators import BinaryKind, UnaryKind

native = pytest.importorskip("mquans._native")

UNARY = get_args(UnaryKind)
BINARY = get_args(BinaryKind)
PARAMS = {
    "leaky_relu": (0.1, 0.0),
    "clip": (-0.5, 0.75),
    "hard_sigmoid": (0.2, 0.5),
    "elu": (1.5, 0.0),
    "selu": (1.6732632, 1.0507010),
    "quantize": (-1.0, 2.0),
}


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ORACLE = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x < 0, np.float32(0.1) * x, x),
    "clip": lambda x: np.clip(x, -0.5, 0.75),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "hard_sigmoid": lambda x: np.clip(np.float32(0.2) * x + 0.5, 0, 1),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "tanh": np.tanh,
    "elu": lambda x: np.where(x < 0, 1.5 * np.expm1(x), x),
    "selu": lambda x: (
        float(np.float32(1.0507010))
        * np.where(x < 0, float(np.float32(1.6732632)) * np.expm1(x), x)
    ),
    "gelu": lambda x: 0.5 * x * np.vectorize(math.erfc)(-x / math.sqrt(2)),
    "gelu_tanh": lambda x: x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
    "softplus": softplus,
    "mish": lambda x: x * np.tanh(softplus(x)),
    "exp": np.exp,
    "log": lambda x: np.log(np.abs(x)),
    "sqrt": lambda x: np.sqrt(np.abs(x)),
    "abs": np.abs,
    "neg": np.negative,
    "reciprocal": lambda x: 1 / x,
    "erf": np.vectorize(math.erf),
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sign": np.sign,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "sin": np.sin,
    "cos": np.cos,
    "quantize": lambda x: np.clip(np.rint(x), -1, 2),
}
SMOOTH = ("sigmoid", "silu", "tanh", "gelu", "exp", "softplus", "mish", "erf", "elu", "selu")


def add_unary(kind):
    def add(program, name, x, y):
        links = [(0, UNARY.index(kind), *PARAMS.get(kind, (0.0, 0.0)))]
        native.add_chain(program, name, x, y, links)

    return add


def apply(kind, x, isa):
    """f(x) by the native loops alone."""
    program = native.Program(isa, 1)
    tensor, y = (program.add_tensor(1, 1, x.size) for _ in range(2))
    add_unary(kind)(program, "step", tensor, y)
    program.finish()
    stream = native.Stream(program)
    stream.write(tensor, x)
    stream.run(0, 1, True, False)
    return stream.read(y).reshape(-1)


@pytest.mark.parametrize("kind", [kind for kind in UNARY if kind not in ("log", "sqrt")])
def test_unary_follows_the_frames(follow, kind):
    follow([(2, 3, 70, 5)], (2, 3, 70, 5), add_unary(kind), ORACLE[kind], tolerance=2e-6)


@pytest.mark.parametrize("kind", SMOOTH)
def test_activations_are_accurate_to_a_millionth(kind):
    """A network of hundreds of activations must not drift away from onnxruntime's."""
    rng = np.random.default_rng(1)
    x = np.concatenate([np.linspace(-15, 15, 20001), 10 ** rng.uniform(-20, 1, 5000)])
    x = np.concatenate([x, -x]).astype(np.float32)
    exact = ORACLE[kind](x.astype(np.float64))
    normal = np.abs(exact) > np.finfo(np.float32).tiny
    error = np.abs(apply(kind, x, native.available_isas()[-1]) - exact)[normal]
    assert np.max(error / np.abs(exact[normal])) < 1e-6


@pytest.mark.parametrize("kind", ["log", "sqrt"])
def test_roots_and_logarithms_of_positive_values(kind):
    x = (10 ** np.random.default_rng(2).uniform(-37, 37, 5000)).astype(np.float32)
    exact = ORACLE[kind](x.astype(np.float64))
    np.testing.assert_allclose(
        apply(kind, x, native.available_isas()[-1]), exact, rtol=3e-7, atol=1e-7
    )


@pytest.mark.parametrize("kind", UNARY)
def test_every_instruction_set_gives_the_same_bits(kind):
    """A stream saved on one machine must go on exactly on another."""
    rng = np.random.default_rng(3)
    x = np.concatenate(
        [rng.normal(size=999) * 10 ** rng.uniform(-40, 5, 999), [0.0, -0.0, 88.8, -104]]
    )
    x = x.astype(np.float32)
    results = [apply(kind, x, isa) for isa in native.available_isas()]
    for result in results[1:]:
        np.testing.assert_array_equal(result.view(np.int32), results[0].view(np.int32))


def test_edges_of_the_exponential():
    x = np.array([-200, -103.9, 88.7, 89, 0], np.float32)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(apply("exp", x, "scalar"), np.exp(x), rtol=1e-6, atol=1e-44)
    np.testing.assert_array_equal(
        apply("log", np.array([0, -1, 1], np.float32), "scalar"), [-np.inf, np.nan, 0]
    )


def test_in_place_unary_touches_only_what_moved():
    """An activation that overwrites its input must not be applied twice to a still pixel."""
    program = native.Program("scalar", 1)
    x = program.add_tensor(1, 80, 3)
    held = program.add_tensor(1, 80, 3)
    native.add_copy(program, "copy", x, held)
    native.add_chain(program, "neg", held, held, [(0, UNARY.index("neg"), 0.0, 0.0)])
    program.finish()
    stream = native.Stream(program)
    values = np.arange(240, dtype=np.float32)
    for frame in range(3):
        values[frame * 70] += 1
        stream.write(x, values)
        stream.run(0, 2, frame == 0, False)
        np.testing.assert_array_equal(stream.read(held).reshape(-1), -values)


NUMPY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "prelu": lambda a, b: np.where(a < 0, a * b, a),
    "equal": np.equal,
    "less": np.less,
    "mask": lambda a, b: np.where(b != 0, a, 0),
}


def add_binary(kind, dims_a, dims_b, dims_y):
    def add(program, name, a, b, y):
        native.add_binary(program, name, BINARY.index(kind), a, dims_a, b, dims_b, y, dims_y)

    return add


@st.composite
def broadcast(draw):
    dims = draw(st.lists(st.sampled_from([1, 2, 3, 5, 67]), min_size=1, max_size=4))
    dims = [size if size < 67 or i + 2 >= len(dims) else 3 for i, size in enumerate(dims)]
    a = [draw(st.sampled_from([size, size, 1])) for size in dims]
    b = [
        size if first == 1 else draw(st.sampled_from([size, 1]))
        for size, first in zip(dims, a, strict=True)
    ]
    return tuple(a), tuple(b)


@pytest.mark.parametrize("kind", NUMPY)
@settings(max_examples=12, deadline=None, database=None, derandomize=True)
@given(shapes=broadcast(), seed=st.integers(0, 99))
def test_binary_broadcasts_like_numpy(follow, kind, shapes, seed):
    a, b = shapes
    y = np.broadcast_shapes(a, b)
    follow([a, b], y, add_binary(kind, a, b, y), NUMPY[kind], seed=seed, tolerance=1e-6)


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 6), (1, 1, 1, 1), (2, 1, 1, 6), (1, 4, 66, 1), (2, 4, 66, 6)]
)
def test_constant_operands_never_mark(follow, shape):
    """Scales and biases left over from folding are constants on either side."""
    dims, rng = (2, 4, 66, 6), np.random.default_rng(5)
    fixed = rng.normal(size=shape).astype(np.float32)
    follow(
        [dims, shape],
        dims,
        add_binary("mul", dims, shape, dims),
        np.multiply,
        constants={1: fixed},
        tolerance=1e-6,
    )
    follow(
        [shape, dims],
        dims,
        add_binary("sub", shape, dims, dims),
        np.subtract,
        constants={0: fixed},
        tolerance=1e-6,
    )


def test_what_a_mask_hides_is_hidden_whatever_it_is():
    """Guards against divisions by zero rely on it."""
    dims = (1, 1, 1, 8)
    program = native.Program("scalar", 1)
    a, b, y = (program.add_tensor(1, 1, 8) for _ in range(3))
    add_binary("mask", dims, dims, dims)(program, "mask", a, b, y)
    program.finish()
    stream = native.Stream(program)
    values = np.array([np.nan, np.inf, -np.inf, 1, np.nan, np.inf, -np.inf, 1], np.float32)
    stream.write(a, values)
    stream.write(b, np.array([0, 0, 0, 0, 1, -1, 0.5, 2], np.float32))
    stream.run(0, 1, True, False)
    np.testing.assert_array_equal(stream.read(y).reshape(-1), [0, 0, 0, 0, *values[4:]])


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.0])
def test_powers_by_a_constant(follow, exponent):
    dims, one = (1, 3, 20, 7), (1, 1, 1, 1)
    fixed = np.full(one, exponent, np.float32)
    follow(
        [dims, one],
        dims,
        add_binary("pow", dims, one, dims),
        np.power,
        constants={1: fixed},
        tolerance=1e-6,
    )


def test_powers_match_double_precision():
    """Signs, zeros and fractional exponents of every combination C's pow defines."""
    rng = np.random.default_rng(7)
    base = np.concatenate([10 ** rng.uniform(-4, 4, 500), -np.arange(1, 60), [0, 0, 0, 1e-40]])
    exponent = np.concatenate([rng.uniform(-5, 5, 500), rng.integers(-4, 5, 59), [2, 0, -1, 0.5]])
    base, exponent = base.astype(np.float32), exponent.astype(np.float32)
    dims = (1, 1, base.size)
    program = native.Program(native.available_isas()[-1], 1)
    a, b, y = (program.add_tensor(*dims) for _ in range(3))
    add_binary("pow", dims, dims, dims)(program, "pow", a, b, y)
    program.finish()
    stream = native.Stream(program)
    stream.write(a, base)
    stream.write(b, exponent)
    stream.run(0, 1, True, False)
    with np.errstate(divide="ignore"):
        exact = np.power(base.astype(np.float64), exponent.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(stream.read(y).reshape(-1), exact, rtol=3e-7)


def test_shapes_that_do_not_fit_are_refused():
    program = native.Program("scalar", 1)
    a, b, y = (program.add_tensor(1, 2, 3) for _ in range(3))
    with pytest.raises(ValueError, match="broadcast"):
        add_binary("add", (1, 2, 3), (1, 2, 2), (1, 2, 3))(program, "add", a, b, y)

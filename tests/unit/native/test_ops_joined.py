"""Reductions, softmax, layer norm and matmul: values that depend on many pixels at once."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mquans.graph.operators import ReduceKind

native = pytest.importorskip("mquans._native")

QUICK = settings(max_examples=12, deadline=None, database=None, derandomize=True)
REDUCE = get_args(ReduceKind)
ORACLE = {
    "mean": np.mean,
    "sum": np.sum,
    "max": np.max,
    "min": np.min,
    "prod": np.prod,
    "l1": lambda x, axis: np.abs(x).sum(axis),
    "l2": lambda x, axis: np.sqrt(np.square(x).sum(axis)),
    "sum_square": lambda x, axis: np.square(x).sum(axis),
}


@st.composite
def tensors(draw, least=1):
    dims = [draw(st.integers(1, 4)) for _ in range(draw(st.integers(least, 4)))]
    dims[-1] = draw(st.sampled_from([1, 3, 16, 33, 70]))
    if len(dims) > 1:
        dims[-2] = draw(st.sampled_from([1, 5, 66]))
    return tuple(dims)


@pytest.mark.parametrize("kind", REDUCE)
@QUICK
@given(dims=tensors(), data=st.data(), keep=st.booleans(), seed=st.integers(0, 99))
def test_reduce(follow, kind, dims, data, keep, seed):
    axes = data.draw(st.sets(st.integers(0, len(dims) - 1), min_size=1))
    kept = tuple(size for i, size in enumerate(dims) if i not in axes)
    y = tuple(1 if i in axes else size for i, size in enumerate(dims)) if keep else kept or (1,)

    def add(program, name, x, out):
        native.add_reduce(program, name, REDUCE.index(kind), x, dims, sorted(axes), out)

    def oracle(x):
        return ORACLE[kind](x, axis=tuple(sorted(axes)))

    follow([dims], y, add, oracle, seed=seed, tolerance=2e-5)


def test_large_means_stay_accurate(follow):
    """Global average pooling of a large map must not lose digits to a long running sum."""
    dims = (1, 160, 160, 4)

    def add(program, name, x, out):
        native.add_reduce(program, name, 0, x, dims, (1, 2), out)

    values = 100 + np.random.default_rng(3).normal(size=dims)
    follow([dims], (1, 1, 1, 4), add, lambda x: x.mean((1, 2)), values=[values], tolerance=1e-6)


def softmax(x, axis, log):
    shifted = x - x.max(axis, keepdims=True)
    total = np.exp(shifted).sum(axis, keepdims=True)
    return shifted - np.log(total) if log else np.exp(shifted) / total


@QUICK
@given(tensors(), st.data(), st.booleans(), st.integers(0, 99))
def test_softmax(follow, dims, data, log, seed):
    axis = data.draw(st.integers(0, len(dims) - 1))

    def add(program, name, x, out):
        native.add_softmax(program, name, x, dims, axis, log, False, out)

    follow([dims], dims, add, lambda x: softmax(x, axis, log), seed=seed, tolerance=3e-6)


@pytest.mark.parametrize(
    ("dims", "group"),
    [
        ((1, 5, 7, 3), 1), ((2, 66, 16), 4), ((3, 9, 70), 35), ((1, 40, 33, 130), 26),
        ((4, 1, 5), 5), ((1, 9, 192), 64), ((2, 9, 10), 1),
    ],
)  # fmt: skip
def test_pixel_norm(follow, dims, group):
    """Instance and group normalization where channels come last, as layers leave them."""
    space = tuple(range(1, len(dims)))

    def add(program, name, x, out):
        native.add_pixel_norm(program, name, x, dims, group, 1e-5, out)

    def normal(x):
        return (x - x.mean(space, keepdims=True)) / np.sqrt(x.var(space, keepdims=True) + 1e-5)

    def oracle(x):
        parts = np.split(x, dims[-1] // group, axis=-1)
        return np.concatenate([normal(part) for part in parts], axis=-1)

    follow([dims], dims, add, oracle, tolerance=2e-5)


@pytest.mark.parametrize("axis", [1, 2])
def test_softmax_of_nothing_is_nothing_where_that_is_asked_for(follow, axis):
    """A token whose mask hides all others sees none: NaN would spread to all layers behind."""
    dims = (2, 5, 9)
    values = np.random.default_rng(3).normal(size=dims)
    np.moveaxis(values, axis, -1)[0, 3] = -np.inf

    def add(program, name, x, out):
        native.add_softmax(program, name, x, dims, axis, False, True, out)

    def expected(x):
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(softmax(x, axis, False))

    follow([dims], dims, add, expected, values=[values], tolerance=3e-6)


@QUICK
@given(tensors(), st.data(), st.booleans(), st.integers(0, 99))
def test_layer_norm(follow, dims, data, biased, seed):
    axes = data.draw(st.integers(1, len(dims)))
    size = int(np.prod(dims[-axes:]))
    rng = np.random.default_rng(seed)
    scale, bias = rng.normal(size=(2, size)).astype(np.float32)

    def add(program, name, x, out):
        native.add_layer_norm(
            program, name, x, dims, axes, 1e-2, scale.tolist(), bias.tolist() if biased else [], out
        )

    def oracle(x):
        last = tuple(range(len(dims) - axes, len(dims)))
        centred = x - x.mean(last, keepdims=True)
        y = centred / np.sqrt(np.square(centred).mean(last, keepdims=True) + 1e-2)
        return y * scale.reshape(dims[-axes:]) + (bias.reshape(dims[-axes:]) if biased else 0)

    follow([dims], dims, add, oracle, seed=seed, tolerance=2e-5)


@st.composite
def products(draw):
    m, n = (draw(st.sampled_from([1, 3, 8, 17, 70])) for _ in range(2))
    k = draw(st.sampled_from([1, 3, 8, 17, 70, 300]))
    batch = [draw(st.integers(1, 3)) for _ in range(draw(st.integers(0, 2)))]
    a = [draw(st.sampled_from([size, 1])) for size in batch]
    b = [
        size if one == 1 else draw(st.sampled_from([size, 1]))
        for size, one in zip(batch, a, strict=True)
    ]
    return (*a, m, k), (*b, k, n)


@QUICK
@given(products(), st.integers(0, 99))
def test_matmul(follow, shapes, seed):
    a, b = shapes
    y = np.matmul(np.zeros(a), np.zeros(b)).shape

    def add(program, name, *tensors):
        native.add_matmul(program, name, tensors[0], a, tensors[1], b, tensors[2], y)

    follow([a, b], y, add, np.matmul, seed=seed, tolerance=3e-5)

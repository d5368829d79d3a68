"""Steps that move elements: a missed pixel leaves an old value behind for good."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

native = pytest.importorskip("mquans._native")

QUICK = settings(max_examples=15, deadline=None, database=None, derandomize=True)


@st.composite
def tensors(draw):
    """Physical dims with a width that may span several mask words."""
    n = draw(st.integers(1, 5))
    dims = [draw(st.integers(1, 4)) for _ in range(n)]
    dims[-1] = draw(st.integers(1, 9))
    if n > 1:
        dims[-2] = draw(st.sampled_from([1, 2, 7, 66]))
    return tuple(dims)


@st.composite
def concatenations(draw):
    dims = draw(tensors())
    axis = draw(st.integers(0, len(dims) - 1))
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    return axis, [(*dims[:axis], size, *dims[axis + 1 :]) for size in sizes]


@QUICK
@given(concatenations(), st.integers(0, 99))
def test_concat(follow, case, seed):
    axis, parts = case
    y = np.concatenate([np.empty(part) for part in parts], axis).shape

    def add(program, name, *tensors):
        native.add_concat(program, name, tensors[:-1], parts, axis, tensors[-1], y)

    follow(parts, y, add, lambda *xs: np.concatenate(xs, axis), seed=seed)


def test_concat_of_views_of_its_output_copies_nothing_and_marks_all():
    """Branches written straight into their channel slice still have to reach the readers."""
    program = native.Program("scalar", 1)
    whole = program.add_tensor(1, 70, 5)
    a, b = program.add_view(whole, 0, 2), program.add_view(whole, 2, 3)
    native.add_concat(program, "concat", [a, b], [(70, 2), (70, 3)], 1, whole, (70, 5))
    copy = program.add_tensor(1, 70, 5)
    native.add_copy(program, "copy", whole, copy)
    program.finish()
    stream = native.Stream(program)
    left, right = np.zeros((70, 2), np.float32), np.ones((70, 3), np.float32)
    for frame in range(3):
        left[frame * 30] += 1
        right[frame * 20] -= 1
        stream.write(a, left)
        stream.write(b, right)
        stream.run(0, 2, frame == 0, False)
        np.testing.assert_array_equal(stream.read(copy)[0], np.concatenate([left, right], 1))


@st.composite
def slices(draw):
    dims = draw(tensors())
    starts, steps, sizes = [], [], []
    for size in dims:
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        start = draw(st.integers(0, size - 1))
        room = size - start if step > 0 else start + 1
        most = (room + abs(step) - 1) // abs(step)
        starts.append(start)
        steps.append(step)
        sizes.append(draw(st.integers(1, most)))
    return dims, starts, steps, tuple(sizes)


@QUICK
@given(slices(), st.integers(0, 99))
def test_slice(follow, case, seed):
    dims, starts, steps, y = case
    picks = np.ix_(
        *[start + step * np.arange(n) for start, step, n in zip(starts, steps, y, strict=True)]
    )

    def add(program, name, x, out):
        native.add_slice(program, name, x, dims, starts, steps, out, y)

    follow([dims], y, add, lambda x: x[picks], seed=seed)


@QUICK
@given(tensors(), st.data(), st.integers(0, 99))
def test_gather(follow, dims, data, seed):
    axis = data.draw(st.integers(0, len(dims) - 1))
    indices = data.draw(st.lists(st.integers(0, dims[axis] - 1), min_size=1, max_size=8))
    y = (*dims[:axis], len(indices), *dims[axis + 1 :])

    def add(program, name, x, out):
        native.add_gather(program, name, x, dims, axis, indices, out, y)

    follow([dims], y, add, lambda x: np.take(x, indices, axis), seed=seed)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@QUICK
@given(dims=tensors(), data=st.data(), seed=st.integers(0, 99))
def test_pad(follow, mode, dims, data, seed):
    most = [size - 1 if mode == "reflect" else 3 for size in dims]
    pads = [tuple(data.draw(st.integers(0, min(2, m))) for _ in range(2)) for m in most]
    y = tuple(size + sum(pad) for size, pad in zip(dims, pads, strict=True))
    code = ("constant", "reflect", "edge").index(mode)
    extra = {"constant_values": -1.5} if mode == "constant" else {}

    def add(program, name, x, out):
        native.add_pad(program, name, x, dims, [begin for begin, _ in pads], code, -1.5, out, y)

    follow([dims], y, add, lambda x: np.pad(x, pads, mode=mode, **extra), seed=seed)


@QUICK
@given(tensors(), st.data(), st.integers(0, 99))
def test_expand(follow, dims, data, seed):
    source = tuple(data.draw(st.sampled_from([size, 1])) for size in dims)

    def add(program, name, x, out):
        native.add_expand(program, name, x, source, out, dims)

    follow([source], dims, add, lambda x: np.broadcast_to(x, dims), seed=seed)


@QUICK
@given(tensors(), st.data(), st.integers(0, 99))
def test_permute(follow, dims, data, seed):
    perm = data.draw(st.permutations(range(len(dims))))
    y = tuple(dims[axis] for axis in perm)

    def add(program, name, x, out):
        native.add_permute(program, name, x, dims, perm, out, y)

    follow([dims], y, add, lambda x: np.transpose(x, perm), seed=seed)


@pytest.mark.parametrize(
    ("dims", "y"),
    [
        ((1, 5, 66, 6), (1, 330, 6)),
        ((2, 70, 6), (2, 35, 12)),
        ((3, 70, 4), (840,)),
        ((12,), (2, 3, 2)),
        ((130, 3), (3, 130)),
    ],
)
def test_reshape(follow, dims, y):
    def add(program, name, x, out):
        native.add_alias(program, name, x, dims, out, y)

    follow([dims], y, add, lambda x: x.reshape(y))


def test_reshape_in_place_maps_the_marks():
    """A reshape that shares memory must still tell its readers what moved."""
    program = native.Program("scalar", 1)
    x = program.add_tensor(2, 70, 3)
    y = program.add_reshaped(x, 1, 84, 5)
    z = program.add_tensor(1, 84, 5)
    native.add_alias(program, "alias", x, (2, 70, 3), y, (84, 5))
    native.add_copy(program, "copy", y, z)
    program.finish()
    stream = native.Stream(program)
    rng, values = np.random.default_rng(0), np.zeros(420, np.float32)
    for frame in range(20):
        values[rng.integers(420)] += 1
        stream.write(x, values)
        stream.run(0, 2, frame == 0, False)
        np.testing.assert_array_equal(stream.read(z).reshape(-1), values)


@pytest.mark.parametrize(
    ("call", "arguments", "message"),
    [
        (native.add_gather, ((1, 4, 3), 2, [0, 3]), "outside"),
        (native.add_slice, ((1, 4, 3), (0, 0, 1), (1, 1, 2)), "outside"),
        (native.add_permute, ((1, 4, 3), (0, 1, 1)), "permutation"),
    ],
)
def test_indices_outside_the_input_are_refused(call, arguments, message):
    program = native.Program("scalar", 1)
    x, y = program.add_tensor(1, 4, 3), program.add_tensor(1, 4, 2)
    with pytest.raises(ValueError, match=message):
        call(program, "step", x, *arguments, y, (1, 4, 2))

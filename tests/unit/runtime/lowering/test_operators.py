"""Operators between layers on codes: the right numbers, the same bits, changed sites only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mquans import _native
from mquans.graph import (
    Binary,
    Concat,
    Conv,
    Gather,
    Pad,
    Pool,
    Reduce,
    Resize,
    Slice,
    Unary,
    axis_taps,
)
from mquans.runtime.lowering.sites.arithmetic import Codes as Parts

from .networks import LIMIT, Codes, Network, changed

CHANNELS = (1, 3, 5, 17, 24)
ISAS = _native.available_isas()
PADS = (0, 0, 1, 2, 0, 0, 2, 1)
Expected = Callable[[Network, Codes], Any]


@dataclass(frozen=True)
class Case:
    """A network, and codes of `v` by an independent computation; how far they may differ."""

    network: Network
    expected: Expected
    exponents: Any
    within: float = 0.0


def shaped(values: Any) -> Any:
    return np.asarray(values, np.float64).reshape(1, -1, 1, 1)


def image(channels: int, seed: int) -> tuple[int, int, int, int]:
    rng = np.random.default_rng(seed)
    return (1, channels, int(rng.integers(4, 9)), int(rng.integers(65, 90)))


def batch(channels: int, seed: int) -> tuple[int, int, int, int]:
    """No picture that the network takes and normalises, see `test_pictures`."""
    rng = np.random.default_rng(seed)
    return (3, channels, 2 * int(rng.integers(1, 4)) + 1, int(rng.integers(65, 90)))


def mover(op: Any, function: Callable[[Any], Any], channels: Any = None) -> Callable[[int], Case]:
    """A case of an operator that only moves codes; it may depend on the shape."""

    def build(size: int) -> Case:
        shape = image(size, size)
        made = op(shape) if callable(op) else op
        network = Network([(made, "x", "v")], {"x": shape})
        exponents = network.exponent("x", size)
        return Case(
            network,
            lambda net, codes: function(codes["x"]),
            exponents if channels is None else channels(exponents),
        )

    return build


def slices(starts: Any, steps: Any) -> Callable[[Any], Slice]:
    return lambda shape: Slice(starts, shape, steps)


def resize(mode: str, height: int, width: int, coordinates: str = "asymmetric") -> Any:
    def build(shape: Any) -> Resize:
        sizes = (1, shape[1], height or 2 * shape[2], width or 2 * shape[3])
        scales = tuple(b / a for a, b in zip(shape, sizes, strict=True))
        return Resize(mode, coordinates, "floor", scales, sizes)  # type: ignore[arg-type]

    return build


def nearest_twice(codes: Any) -> Any:
    return codes.repeat(2, axis=2).repeat(2, axis=3)


def pad(mode: str) -> Any:
    modes: Any = {"constant_values": 0} if mode == "constant" else {}
    return Pad(PADS, mode), lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (2, 1)), mode, **modes)  # type: ignore[arg-type]


def padded_with(value: float) -> Callable[[int], Case]:
    def build(size: int) -> Case:
        network = Network([(Pad(PADS, value=value), "x", "v")], {"x": image(size, size)})
        exponents = network.exponent("x", size)
        fill = np.clip(np.rint(value / shaped(np.exp2(exponents))), -LIMIT, LIMIT)

        def expected(net: Network, codes: Codes) -> Any:
            y = np.broadcast_to(fill, net.graph.shape("v")).copy()
            y[:, :, 1:-2, 2:-1] = codes["x"]
            return y

        return Case(network, expected, exponents)

    return build


def unary(
    op: Unary, function: Callable[[Any], Any], within: float, exponent: int | None = None
) -> Callable[[int], Case]:
    def build(size: int) -> Case:
        shape = image(size, size + 1)
        exponents = {} if exponent is None else {"x": exponent}
        network = Network([(op, "x", "v")], {"x": shape}, exponents=exponents)
        own = op.kind in ("sigmoid", "tanh", "hard_sigmoid")
        inputs = network.exponent("x", size)
        outputs = np.full(size, 1 - 15) if own else inputs

        def expected(net: Network, codes: Codes) -> Any:
            y = function(codes["x"] * shaped(np.exp2(inputs))) / shaped(np.exp2(outputs))
            return np.clip(y, -LIMIT, LIMIT)

        return Case(network, expected, outputs, within)

    return build


def prelu(size: int) -> Case:
    slopes = np.linspace(0.9, -1, size).astype(np.float32).reshape(1, -1, 1, 1)
    network = Network([(Binary("prelu"), "x s", "v")], {"x": image(size, 2)}, {"s": slopes})
    factor = np.minimum(np.rint(slopes.astype(np.float64) * 2**15), 32767)
    return Case(
        network,
        lambda net, codes: np.where(
            codes["x"] < 0, np.floor((codes["x"] * factor + 2**14) / 2**15), codes["x"]
        ).clip(-LIMIT, LIMIT),
        network.exponent("x", size),
    )


def aligned(codes: Any, shift: Any, sign: int = 1) -> Any:
    """Codes brought to other exponents, saturated, rounded half up."""
    limit = 32767 // np.exp2(np.maximum(shift, 0))
    scaled = sign * np.clip(codes, -limit, limit) * np.exp2(shift.astype(np.float64))
    return np.floor(scaled + 0.5)


def total(kind: str, other: Any, tail: Unary | None = None) -> Callable[[int], Case]:
    """A sum or difference of two tensors; `other` is the second one's shape."""

    def build(size: int) -> Case:
        shape = image(size, size + 2)
        rows: list[tuple[Any, str, str]] = [(Binary(kind), "a b", "s" if tail else "v")]  # type: ignore[arg-type]
        if tail:
            rows.append((tail, "s", "v"))
        network = Network(rows, {"a": shape, "b": other(shape)})
        # Terms must fit sixteen bits, so results are no finer than half a code of theirs.
        terms = [network.exponent(name, network.inputs[name][1]) - 1 for name in ("a", "b")]
        out = np.maximum(network.exponent("v", size), np.maximum(*terms))

        def expected(net: Network, codes: Codes) -> Any:
            y: Any = 0
            for name, sign in (("a", 1), ("b", -1 if kind == "sub" else 1)):
                own = net.exponent(name, codes[name].shape[1])
                y = y + aligned(codes[name], shaped(own - out), sign)
            y = np.clip(y, -32768, 32767)
            return np.clip(y, 0 if tail else -LIMIT, LIMIT)

        return Case(network, expected, out)

    return build


def product(other: Any, fine: int = 0) -> Callable[[int], Case]:
    """A product; `fine`: how much finer the plan's codes are than the product's."""

    def build(size: int) -> Case:
        shape = image(size, size + 3)
        exponents: Any = {"v": np.arange(size) % 4 - 11}
        if fine:
            exponents = {"v": -8 - fine, "a": -4, "b": -4}
        inputs = {"a": shape, "b": other(shape)}
        network = Network([(Binary("mul"), "a b", "v")], inputs, exponents=exponents)
        out = network.exponent("v", size) + fine

        def expected(net: Network, codes: Codes) -> Any:
            a, b = codes["a"], codes["b"]
            units = net.exponent("a", a.shape[1]) + net.exponent("b", b.shape[1])
            return np.clip(np.floor(a * b * shaped(np.exp2(units - out)) + 0.5), -LIMIT, LIMIT)

        return Case(network, expected, out)

    return build


def sixteen_bits(constant: Any) -> Any:
    """Least exponents of codes that hold a constant."""
    return np.ceil(np.log2(np.abs(constant.reshape(-1)) / 32767)).astype(int)


def with_constant(kind: str, reverse: bool = False) -> Callable[[int], Case]:
    def build(size: int) -> Case:
        shape = batch(size, size + 4)
        constant = np.random.default_rng(size).normal(0.5, 2, (size, 1, 1)).astype(np.float32)
        names = "k x" if reverse else "x k"
        network = Network([(Binary(kind), names, "v")], {"x": shape}, {"k": constant})  # type: ignore[arg-type]
        out = network.exponent("v", size)
        if kind in ("add", "sub"):
            out = np.maximum(out, network.exponent("x", size) - 1)
            out = np.maximum(out, sixteen_bits(constant))
        function = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[kind]

        def expected(net: Network, codes: Codes) -> Any:
            x = codes["x"] * shaped(np.exp2(net.exponent("x", size)))
            y = function(constant[None], x) if reverse else function(x, constant[None])
            return np.clip(y / shaped(np.exp2(out)), -LIMIT, LIMIT)

        return Case(network, expected, out, 1.5)

    return build


def affine(size: int) -> Case:
    """Product and sum with constants become one step."""
    rng = np.random.default_rng(size)
    scale, start = rng.normal(0, [[[[1]]], [[[30]]]], (2, size, 1, 1)).astype(np.float32)
    rows = [(Binary("mul"), "x k", "p"), (Binary("add"), "p c", "s"), (Unary("relu"), "s", "v")]
    network = Network(rows, {"x": batch(size, size + 5)}, {"k": scale, "c": start})
    out = np.maximum(network.exponent("s", size), sixteen_bits(start))

    def expected(net: Network, codes: Codes) -> Any:
        x = codes["x"] * shaped(np.exp2(net.exponent("x", size)))
        return np.clip((x * scale + start) / shaped(np.exp2(out)), 0, LIMIT)

    return Case(network, expected, out, 1.5)


def scaled_sigmoid(largest: float) -> Callable[[int], Case]:
    """A table that is looked up by a product with constants: one step where these are small."""

    def build(size: int) -> Case:
        scale = np.linspace(-largest, largest, size).astype(np.float32).reshape(1, -1, 1, 1)
        rows = [(Binary("mul"), "x k", "p"), (Unary("sigmoid"), "p", "v")]
        shape, exponents = batch(size, size + 3), {"x": -13, "p": -12}
        network = Network(rows, {"x": shape}, {"k": scale}, exponents)

        def expected(net: Network, codes: Codes) -> Any:
            y = 2.0**14 / (1 + np.exp(-codes["x"] * 2.0**-13 * scale))
            return np.clip(y, -LIMIT, LIMIT)

        return Case(network, expected, np.full(size, -14), 6.0)

    return build


def pooled(op: Any) -> Callable[[int], Case]:
    """Windows over a padded picture, in numpy."""

    def build(size: int) -> Case:
        shape = image(size, size + 6)
        made = op(shape)
        mean = made.kind in ("average", "mean")
        network = Network([(made, "x", "v")], {"x": shape}, exponents={"v": -12})
        own = network.exponent("x", size)
        out = network.exponent("v", size) if mean else own

        def expected(net: Network, codes: Codes) -> Any:
            x = codes["x"].astype(np.float64)
            if isinstance(made, Reduce):
                values = (
                    x.mean(axis=made.axes, keepdims=True)
                    if mean
                    else x.max(axis=made.axes, keepdims=True)
                )
            else:
                values = windows(made, x, net.graph.shape("v"))
            return np.clip(values * shaped(np.exp2(own - out)), -LIMIT, LIMIT)

        return Case(network, expected, out, 0.51 if mean else 0.0)

    return build


def windows(op: Pool, x: Any, shape: Any) -> Any:
    top, left, bottom, right = op.pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=np.nan)
    result = np.empty(shape)
    for i in range(shape[2]):
        for j in range(shape[3]):
            rows = i * op.strides[0] + np.arange(op.kernel[0]) * op.dilations[0]
            columns = j * op.strides[1] + np.arange(op.kernel[1]) * op.dilations[1]
            rows, columns = rows[rows < padded.shape[2]], columns[columns < padded.shape[3]]
            window = padded[:, :, rows][:, :, :, columns]
            if op.kind == "max":
                result[:, :, i, j] = np.nanmax(window, axis=(2, 3))
            elif op.count_include_pad:
                result[:, :, i, j] = np.nan_to_num(window).mean(axis=(2, 3))
            else:
                result[:, :, i, j] = np.nanmean(window, axis=(2, 3))
    return result


def linear(size: int) -> Case:
    shape = image(size, size + 7)
    op = resize("linear", 0, 100, "half_pixel")(shape)
    network = Network([(op, "x", "v")], {"x": shape})

    def expected(net: Network, codes: Codes) -> Any:
        y = codes["x"].astype(np.float64)
        for axis in (2, 3):
            indices, weights = axis_taps(op, axis, shape[axis])
            weights = weights.reshape(weights.shape + (1,) * (3 - axis))
            y = sum(np.take(y, indices[:, t], axis) * weights[:, t] for t in range(2))
        return y

    return Case(network, expected, network.exponent("x", size), 1.5)


def concatenated(size: int) -> Case:
    """Two parts that lie in place, one of them twice, and an input that is copied."""
    rows = [
        (Unary("relu"), "x", "a"),
        (Unary("clip", (-0.5, 0.25)), "x", "b"),
        (Concat(1), "a b x a", "v"),
    ]
    network = Network(rows, {"x": image(size, size + 8)})
    own = network.exponent("x", size)

    def expected(net: Network, codes: Codes) -> Any:
        x, unit = codes["x"], shaped(np.exp2(own))
        b = np.clip(x, np.rint(-0.5 / unit).clip(-LIMIT), np.rint(0.25 / unit).clip(max=LIMIT))
        return np.concatenate([np.maximum(x, 0), b, x, np.maximum(x, 0)], axis=1)

    return Case(network, expected, np.tile(own, 4))


def same(shape: Any) -> Any:
    return shape


def one_site(shape: Any) -> Any:
    return (1, shape[1], 1, 1)


def one_channel(shape: Any) -> Any:
    return (1, 1, *shape[2:])


CASES: dict[str, Callable[[int], Case]] = {
    "spatial slice": mover(
        slices((0, 0, 1, 3), (1, 1, 2, 3)), lambda x: x[:, :, 1::2, 3::3]
    ),
    "slice backwards": mover(
        lambda s: Slice((0, 0, s[2] - 1, 0), (*s[:2], -1, s[3]), (1, 1, -1, 1)),
        lambda x: x[:, :, ::-1],
    ),
    "every second channel": mover(
        slices((0,) * 4, (1, 2, 1, 1)), lambda x: x[:, ::2], lambda e: e[::2]
    ),
    "last channels": mover(
        lambda s: Slice((0, s[1] // 2, 0, 0), s, (1,) * 4), lambda x: x[:, x.shape[1] // 2 :],
        lambda e: e[len(e) // 2 :],
    ),
    "gathered channels": mover(
        lambda s: Gather(1, tuple((5 * i + 1) % s[1] for i in range(s[1] + 2))),
        lambda x: x[:, [(5 * i + 1) % x.shape[1] for i in range(x.shape[1] + 2)]],
        lambda e: e[[(5 * i + 1) % len(e) for i in range(len(e) + 2)]],
    ),
    "gathered columns": mover(Gather(3, (5, 0, 5, 63, 2)), lambda x: x[..., [5, 0, 5, 63, 2]]),
    "padded": mover(*pad("constant")),
    "padded with a number": padded_with(0.7),
    "reflected": mover(*pad("reflect")),
    "edge": mover(*pad("edge")),
    "nearest x2": mover(resize("nearest", 0, 0), nearest_twice),
    "relu": unary(Unary("relu"), lambda x: np.maximum(x, 0), 0.0),
    "leaky": unary(Unary("leaky_relu", (0.1,)), lambda x: np.where(x < 0, 0.1 * x, x), 1.0),
    "silu": unary(Unary("silu"), lambda x: x / (1 + np.exp(-x)), 4.0),
    "sigmoid": unary(Unary("sigmoid"), lambda x: 1 / (1 + np.exp(-x)), 6.0),
    "sigmoid of large values": unary(
        Unary("sigmoid"), lambda x: 1 / (1 + np.exp(-x)), 6.0, exponent=-6
    ),
    "hard swish": unary(Unary("hard_swish"), lambda x: x * np.clip(x / 6 + 0.5, 0, 1), 6.0),
    "elu": unary(
        Unary("elu", (0.7,)), lambda x: np.where(x < 0, 0.7 * np.expm1(x), x), 2.0, exponent=-11
    ),
    "prelu": prelu,
    "sum": total("add", same),
    "difference": total("sub", same),
    "sum, one site": total("add", one_site),
    "difference, one channel": total("sub", one_channel),
    "sum and relu": total("add", same, Unary("relu")),
    "product": product(same),
    "product in coarse codes": product(same, 3),
    "product, one site": product(one_site),
    "product, one channel": product(one_channel),
    "plus constant": with_constant("add"),
    "constant minus": with_constant("sub", reverse=True),
    "times constant": with_constant("mul"),
    "divided by constant": with_constant("div"),
    "affine": affine,
    "sigmoid of a product": scaled_sigmoid(0.9),
    "sigmoid of a large product": scaled_sigmoid(7.0),
    "max pool": pooled(lambda s: Pool("max", (3, 2), (2, 1), (1, 0, 1, 1), (1, 1))),
    "dilated max pool": pooled(lambda s: Pool("max", (2, 3), (1, 2), (0,) * 4, (2, 3))),
    "large max pool": pooled(lambda s: Pool("max", (5, 5), (1, 1), (2, 2, 2, 2), (1, 1))),
    "average pool": pooled(lambda s: Pool("average", (3, 3), (2, 2), (1, 1, 1, 1), (1, 1))),
    "average with padding": pooled(
        lambda s: Pool("average", (3, 3), (1, 2), (1, 1, 1, 1), (1, 1), False, True)
    ),
    "average beyond the edge": pooled(
        lambda s: Pool("average", (3, 3), (2, 2), (1, 0, 1, 0), (1, 1), True, True)
    ),
    "global mean": pooled(lambda s: Reduce("mean", (2, 3), True)),
    "global max": pooled(lambda s: Reduce("max", (2, 3), True)),
    "mean of rows": pooled(lambda s: Reduce("mean", (3,), True)),
    "linear resize": linear,
    "concatenation": concatenated,
}  # fmt: skip


@pytest.fixture(params=[(name, size) for name in CASES for size in CHANNELS], ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    name, size = request.param
    made = CASES[name](size)
    if "v" not in made.network.graph.producers():
        pytest.skip("nothing is left to compute")
    return made


def test_codes_are_those_of_an_independent_computation(case: Case) -> None:
    net = case.network
    assert net.graph.producers()["v"].name in net.analysis.integer_nodes
    session = net.session(isa=ISAS[-1])
    codes = net.random_codes(1)
    with session.stream() as stream:
        found = net.codes("v", stream.step(net.frame(codes))["v"], case.exponents)
    expected = case.expected(net, codes)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= case.within


def test_every_instruction_set_and_number_of_threads_gives_the_same_bits(case: Case) -> None:
    net = case.network
    frames = [net.frame(net.random_codes(2)), net.frame(changed(net.random_codes(2), 3))]
    results = []
    for isa, threads in [*((isa, 1) for isa in ISAS), (ISAS[-1], 2)]:
        with net.session(isa=isa, threads=threads).stream() as stream:
            outputs = [stream.step(frame) for frame in frames]
            results.append([value.copy() for output in outputs for value in output.values()])
    for result in results[1:]:
        for a, b in zip(results[0], result, strict=True):
            np.testing.assert_array_equal(a, b)


def test_changed_sites_alone_give_what_everything_gives(case: Case) -> None:
    net = case.network
    session = net.session(isa=ISAS[-1])
    codes = net.random_codes(4)
    with session.stream() as stream, session.stream() as whole:
        stream.step(net.frame(codes))
        for seed, sites in enumerate((1, 4, 0, 60)):
            codes = changed(codes, seed, sites)
            found = {k: v.copy() for k, v in stream.step(net.frame(codes)).items()}
            expected = whole.step(net.frame(codes), keyframe=True)
            for name in found:
                np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        stream.recompute()
        again = stream.step(net.frame(codes))
        for name in found:
            np.testing.assert_array_equal(found[name], again[name], err_msg=name)


@pytest.mark.parametrize(
    ("op", "names"),
    [(Unary("relu"), "x"), (Unary("silu"), "x"), (Binary("mul"), "x k")],
)
@pytest.mark.parametrize("other", [(1, 3, 1, 200), (1, 3, 9, 9)], ids=["wider", "more rows"])
def test_sites_of_another_tensor_activate_nothing(op: Any, names: str, other: Any) -> None:
    """Not those of the network's first tensor either: a sound network's first tensor is long, its
    last ones are single sites, and what lies beyond them in memory belongs to others."""
    apart = (Conv((1, 1), (1, 1), (0,) * 4, (1, 1)), "a w", "c")
    constants = {"w": np.ones((2, 3, 1, 1)), "k": np.full((1, 5, 1, 1), 0.5)}
    network = Network(
        [apart, (op, names, "v")],
        {"a": other, "x": (1, 5, 2, 3)},
        {name: constants[name] for name in ("w", *names.split()[1:])},
        outputs=["c"],
    )
    session = network.session()
    codes = network.random_codes(1)
    with session.stream() as stream, session.stream() as whole:
        stream.step(network.frame(codes))
        codes["a"][..., 4:6] += 50
        codes["a"][..., 30:60] += 50
        found = stream.step(network.frame(codes))
        expected = whole.step(network.frame(codes), keyframe=True)
        for name in found:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        assert stream.check() is None


@pytest.mark.parametrize(
    "other", [(1, 5, 1, 70), (1, 5, 4, 1), (1, 1, 4, 1)], ids=["rows", "columns", "channels"]
)
def test_operands_of_other_sites_stay_in_floats(other: Any) -> None:
    rows = [(Binary("add"), "a b", "v")]
    network = Network(rows, {"a": (1, 5, 4, 70), "b": other})
    assert "v" not in network.analysis.integer_nodes
    frame = network.frame(network.random_codes(1))
    with network.session().stream() as stream:
        np.testing.assert_array_equal(stream.step(frame)["v"], frame["a"] + frame["b"])


def test_a_concatenation_has_the_largest_limit_of_its_parts() -> None:
    parts = [Parts(np.array([-3, -4]), 2**12 - 1), Parts(np.array([-5]), 2**14 - 1)]
    joined = Parts.joined(parts)
    assert joined.limit == 2**14 - 1
    assert joined.exponents.tolist() == [-3, -4, -5]

"""Ranges of every channel, and exponents from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from msgspec.structs import replace

from mquans.calibration import calibrate
from mquans.calibration.observe import DenseRun
from mquans.calibration.sites.code_format import CodeFormat
from mquans.calibration.sites.codes import (
    FINEST,
    HEADROOM,
    LEAST_BITS,
    NARROWING,
    _code_error,
    code_formats,
)
from mquans.calibration.sites.ranges import ChannelRange, RangeMeter, by_value_layers
from mquans.calibration.sites.weight_sums import weight_sums
from mquans.graph import (
    Binary,
    Concat,
    Conv,
    Graph,
    Linear,
    Node,
    Pool,
    Slice,
    Unary,
    ValueType,
)
from mquans.onnx import import_model, read_model, to_onnx
from mquans.runtime.lowering.sites import analyse
from mquans.runtime.lowering.sites.arithmetic import TILED_LIMIT
from mquans.runtime.lowering.sites.layers import layer_integers
from mquans.runtime.session import Session
from mquans.sources import guess_format

Frames = npt.NDArray[np.float32]


def ranges_of(graph: Graph, frames: Frames) -> dict[str, ChannelRange]:
    meter = RangeMeter(graph, analyse(graph))
    run = DenseRun(graph, tensors=meter.tensors)
    meter.add(({graph.inputs[0]: frame} for frame in frames), run)
    ranges = meter.result()
    return {**ranges.values, **ranges.tensors}


def range_of(high: list[float], low: list[float] | None = None) -> ChannelRange:
    top = np.array(high)
    bottom = np.zeros(len(top)) if low is None else np.array(low)
    return ChannelRange(bottom, top, top / 4, top / 2)


def test_statistics_are_those_of_all_frames(small_model: Path, small_frames: Frames) -> None:
    """Of a tensor that was never kept."""
    frames = small_frames[:, None] + np.float32(100)
    seen = ranges_of(import_model(read_model(small_model)), frames)["x"]
    values = frames.transpose(2, 0, 1, 3, 4).reshape(3, -1).astype(np.float64)
    np.testing.assert_array_equal(seen.low, values.min(axis=1))
    np.testing.assert_array_equal(seen.high, values.max(axis=1))
    np.testing.assert_allclose(seen.deviation, values.std(axis=1), rtol=1e-4)
    np.testing.assert_allclose(seen.rms, np.sqrt((values**2).mean(axis=1)), rtol=1e-5)


def test_codes_reach_beyond_what_was_seen_but_not_too_far(
    small_model: Path, small_frames: Frames
) -> None:
    """By the head room, rounded up to a power of two."""
    graph = import_model(read_model(small_model))
    seen = ranges_of(graph, small_frames[:, None])
    found = code_formats(graph, analyse(graph), seen)
    assert set(found) == {"x", "b", "d", "y"}
    for name, format in found.items():
        reach = format.limit * np.exp2(format.exponents)
        assert (reach >= HEADROOM * seen[name].magnitude * (1 - 1e-12)).all()
    reach = found["x"].limit * np.exp2(found["x"].exponents)
    assert (reach < 2 * HEADROOM * seen["x"].magnitude).all()


def test_range_of_pictures_is_known(small_model: Path, small_frames: Frames) -> None:
    """Dark calibration frames must not clip a bright one, and need no head room beyond 255."""
    graph = import_model(read_model(small_model))
    seen = ranges_of(graph, 1e-3 * small_frames[:, None])
    format = guess_format("x", (1, 3, 16, 16), scale=1 / 255, mean=(0.5,), std=(0.25,))
    found = code_formats(graph, analyse(graph), seen, format)["x"]
    reach = found.limit * np.exp2(found.exponents)
    assert (reach >= 2.0).all()
    assert (reach < 4.0).all()


def chain(activation: Unary | None, weight: Frames, groups: int = 1) -> Graph:
    """x [1, C, 4, 4] -> one pointwise layer -> y."""
    outputs, inputs = weight.shape[0], weight.shape[1] * groups
    op = Conv((1, 1), (1, 1), (0,) * 4, (1, 1), groups, activation)
    node = Node("layer", op, ("x", "w"), ("y",))
    types = {
        "x": ValueType((1, inputs, 4, 4), "float32"),
        "y": ValueType((1, outputs, 4, 4), "float32"),
        "w": ValueType(weight.shape, "float32"),
    }
    return Graph("chain", ("x",), ("y",), [node], {"w": weight}, types)


def formats(graph: Graph, x: ChannelRange, y: ChannelRange) -> dict[str, CodeFormat]:
    return code_formats(graph, analyse(graph), {"x": x, "y": y})


@pytest.mark.parametrize("stride", [1, 2])
def test_codes_leave_room_for_tiles_where_a_layer_is_computed_by_them(stride: int) -> None:
    """Otherwise 3x3 convolutions take twice their time. What a slice passes on counts too; other
    layers keep their precision."""
    rng = np.random.default_rng(3)
    weights = {
        "v": rng.normal(size=(32, 4, 1, 1)).astype(np.float32),
        "w": 0.1 * rng.normal(size=(16, 16, 3, 3)).astype(np.float32),
    }
    nodes = [
        Node("first", Conv((1, 1), (1, 1), (0,) * 4, (1, 1)), ("x", "v"), ("a",)),
        Node("cut", Slice((0, 16, 0, 0), (1, 32, 8, 8), (1, 1, 1, 1)), ("a",), ("b",)),
        Node("second", Conv((3, 3), (stride,) * 2, (1,) * 4, (1, 1)), ("b", "w"), ("y",)),
    ]
    size = 8 // stride
    shapes = {"x": (1, 4, 8, 8), "a": (1, 32, 8, 8), "b": (1, 16, 8, 8), "y": (1, 16, size, size)}
    types = {name: ValueType(shape, "float32") for name, shape in shapes.items()}
    graph = Graph("net", ("x",), ("y",), nodes, weights, types)
    ranges = {name: range_of([1.0] * n) for name, n in (("x", 4), ("a", 32), ("y", 16))}
    found = code_formats(graph, analyse(graph), ranges)
    assert (found["a"].limit <= TILED_LIMIT) == (stride == 1)
    assert found["x"].limit > TILED_LIMIT
    layer, tiled = layer_integers(
        nodes[2].op, weights["w"].astype(np.float64), np.zeros(16),
        np.exp2(found["a"].exponents[None, 16:].astype(float)).repeat(16, axis=0),
        found["y"].exponents, found["a"].limit, where="second",
    )  # fmt: skip
    assert tiled == (stride == 1)
    assert np.abs(layer.weights).max() > 2**8


def test_quiet_channels_are_no_finer_than_a_share_of_the_coarsest() -> None:
    """They may wake up: eight bits finer where their errors count a thousandfold, one where they
    count alike."""
    for weights, finer in (([1e-6, 1e-3], FINEST), ([1e-3, 1e-3], 1)):
        graph = chain(None, np.tile(np.float32(weights), (2, 1)).reshape(2, 2, 1, 1))
        found = formats(graph, range_of([1.0, 1e-9]), range_of([1.0, 1.0]))["x"]
        assert found.exponents[0] - found.exponents[1] == finer


def test_channel_that_was_never_awake_may_become_as_large_as_others() -> None:
    """A unit behind ReLU that fires on what is rare is 0 in every frame of calibration."""
    graph = chain(Unary("relu"), np.full((4, 4, 1, 1), 1e-3, np.float32))
    found = formats(graph, range_of([1.0] * 4), range_of([8.0, 1.0, 0.1, 0.0]))["y"]
    assert found.exponents[3] == found.exponents[1]
    silent = formats(graph, range_of([1.0] * 4), range_of([0.0] * 4))["y"]
    assert len(set(silent.exponents)) == 1


def test_activations_have_their_say() -> None:
    """Sigmoid ends at one; a leaky slope hides a large sum. The sum before SiLU has codes of its
    own."""
    weight = np.full((1, 1, 1, 1), 1e-3, np.float32)

    def reach(kind: str, *params: float, low: float = 0.0) -> float:
        graph = chain(Unary(kind, params), weight)  # type: ignore[arg-type]
        found = formats(graph, range_of([1.0]), range_of([0.01], [low]))["y"]
        return float(found.limit * 2.0 ** found.exponents[0])

    assert reach("relu") < 0.1
    assert reach("silu") < 0.1
    assert 0.9 < reach("sigmoid") < 1.1
    assert reach("leaky_relu", 0.1, low=-0.01) >= HEADROOM * 0.1


def test_sums_never_overflow_whatever_the_ranges() -> None:
    """A result that was always 0 gets codes that its sums can be brought to."""
    from mquans.runtime.lowering.sites.arithmetic import integer_layer

    weight = np.full((1, 512, 1, 1), 100.0, np.float32)
    graph = chain(None, weight)
    found = formats(graph, range_of([100.0] * 512), range_of([1e-6]))
    integer_layer(
        weight.astype(np.float64),
        np.zeros(1),
        np.exp2(found["x"].exponents.astype(np.float64))[None],
        found["y"].exponents,
        found["x"].limit,
        where="layer",
    )


def test_wide_sums_leave_weights_enough_bits() -> None:
    """Codes become narrower, at the same range, until they are what harms most: by rounding of
    weights to 4 bits a layer of many inputs was ten times as wrong as others."""
    graph = chain(None, np.full((1, 4096, 1, 1), 1.0, np.float32))
    seen = {"x": range_of([1.0] * 4096), "y": range_of([1.0])}
    found = code_formats(graph, analyse(graph), seen)
    assert LEAST_BITS <= found["x"].bits < 15
    assert found["x"].limit * 2.0 ** found["x"].exponents[0] >= HEADROOM
    sums = weight_sums(graph, graph.nodes[0], found["x"])
    error = sums.error(found["x"].limit)
    assert error < NARROWING * _code_error(seen, found, ("x",)) or found["x"].bits == LEAST_BITS
    narrower = found["x"].narrowed()
    again = weight_sums(graph, graph.nodes[0], narrower).error(narrower.limit)
    assert again == pytest.approx(sums.coarser().error(narrower.limit))
    assert again == pytest.approx(error / NARROWING)


def test_rare_large_values_keep_their_codes_wide() -> None:
    """Most of such a tensor lies in its lowest codes: narrow ones would lose it."""
    graph = chain(None, np.full((1, 4096, 1, 1), 1.0, np.float32))
    top = np.ones(4096)
    rare = ChannelRange(np.zeros(4096), top, top / 1e4, top / 1e4)
    assert formats(graph, rare, range_of([1.0]))["x"].bits == 16


def test_parts_of_a_concatenation_leave_its_readers_bits_too() -> None:
    """YOLO, DenseNet and DLA read many channels at once from what several layers made: the error of
    a layer behind a concatenation was tens of times that of others."""
    one = Conv((1, 1), (1, 1), (0,) * 4, (1, 1))
    nodes = [
        Node("first", one, ("x", "u"), ("a",)),
        Node("second", one, ("x", "u"), ("b",)),
        Node("pooled", Pool("max", (2, 2), (2, 2), (0,) * 4, (1, 1)), ("a",), ("p",)),
        Node("halved", Pool("max", (2, 2), (2, 2), (0,) * 4, (1, 1)), ("b",), ("q",)),
        Node("joined", Concat(1), ("p", "q"), ("c",)),
        Node("cut", Slice((0, 512, 0, 0), (1, 4096, 2, 2), (1, 1, 1, 1)), ("c",), ("d",)),
        Node("last", one, ("d", "w"), ("y",)),
    ]
    shapes = {"x": (1, 2, 4, 4), "a": (1, 2048, 4, 4), "b": (1, 2048, 4, 4), "p": (1, 2048, 2, 2),
              "q": (1, 2048, 2, 2), "c": (1, 4096, 2, 2), "d": (1, 3584, 2, 2),
              "y": (1, 1, 2, 2)}  # fmt: skip
    weights = {"u": np.ones((2048, 2, 1, 1), np.float32), "w": np.ones((1, 3584, 1, 1), np.float32)}
    types = {name: ValueType(shape) for name, shape in shapes.items()}
    types |= {name: ValueType(array.shape) for name, array in weights.items()}
    graph = Graph("parts", ("x",), ("y",), nodes, weights, types)
    channels = {"x": 2, "a": 2048, "b": 2048, "y": 1}
    seen = {name: range_of([1.0] * count) for name, count in channels.items()}
    found = code_formats(graph, analyse(graph), seen)
    assert set(found) == set(channels)
    assert LEAST_BITS <= found["a"].bits == found["b"].bits < 15
    assert found["x"].bits == found["y"].bits == 16


def test_layers_of_few_sites_are_seen_by_neuron() -> None:
    """Their grids come from the same pass."""
    node = Node("dense", Linear(None), ("x", "w"), ("y",))
    types = {
        "x": ValueType((2, 3), "float32"),
        "y": ValueType((2, 1), "float32"),
        "w": ValueType((3, 1), "float32"),
    }
    graph = Graph("dense", ("x",), ("y",), [node], {"w": np.ones((3, 1), np.float32)}, types)
    assert by_value_layers(graph, analyse(graph)) == [node]
    seen = ranges_of(graph, np.arange(12, dtype=np.float32).reshape(2, 2, 3))["x"]
    np.testing.assert_array_equal(seen.low, [0, 1, 2])
    np.testing.assert_array_equal(seen.high, [9, 10, 11])


@pytest.mark.parametrize("bits", [13, 15])
def test_narrowed_codes_reach_as_far(bits: int) -> None:
    format = CodeFormat(1, np.array([-10]), bits)
    narrow = format.narrowed()
    assert narrow.bits == bits - 1
    assert narrow.limit * 2.0 ** narrow.exponents[0] == pytest.approx(
        format.limit * 2.0 ** format.exponents[0], rel=3e-4
    )


def test_codes_of_a_residual_sum_are_of_the_activation_behind_it() -> None:
    """Its results are what is stored: mostly positive ones of ReLU; a leaky slope hides a larger
    sum."""

    def reach(kind: str, *params: float) -> float:
        conv = Conv((1, 1), (1, 1), (0,) * 4, (1, 1))
        nodes = [
            Node("first", conv, ("x", "w"), ("c",)),
            Node("sum", Binary("add"), ("c", "x"), ("s",)),
            Node("act", Unary(kind, params), ("s",), ("v",)),  # type: ignore[arg-type]
            Node("last", conv, ("v", "w"), ("y",)),
        ]
        weight = np.full((1, 1, 1, 1), 1e-3, np.float32)
        types = dict.fromkeys("xcsvy", ValueType((1, 1, 4, 4), "float32"))
        types["w"] = ValueType(weight.shape, "float32")
        graph = Graph("residual", ("x",), ("y",), nodes, {"w": weight}, types)
        ranges = {name: range_of([0.01]) for name in "xcy"} | {"v": range_of([0.01], [-0.01])}
        found = code_formats(graph, analyse(graph), ranges)["v"]
        return float(found.limit * 2.0 ** found.exponents[0])

    assert reach("relu") < 0.1
    assert reach("leaky_relu", 0.1) >= HEADROOM * 0.1


@pytest.mark.parametrize("width", [5, 6, 20])
def test_a_layer_may_read_along_another_axis_than_the_channels(width: int) -> None:
    """A spectrum of every row of a picture, or a product over its width: its inputs have one
    exponent, which reaches as far as any channel's."""
    rng = np.random.default_rng(0)
    conv = Conv((1, 1), (1, 1), (0,) * 4, (1, 1))
    nodes = [Node("c", conv, ("x", "w"), ("c",)), Node("y", Linear(), ("c", "v"), ("y",))]
    scales = np.array([4.0, 1.0, 0.5, 2.0, 0.25, 1.0])
    constants = {
        "w": (scales[:, None] * rng.normal(size=(6, 3))).reshape(6, 3, 1, 1).astype(np.float32),
        "v": rng.normal(size=(width, 9)).astype(np.float32),
    }
    shapes = {"x": (1, 3, 8, width), "c": (1, 6, 8, width), "y": (1, 6, 8, 9)}
    shapes |= {name: array.shape for name, array in constants.items()}
    types = {name: ValueType(shape, "float32") for name, shape in shapes.items()}
    graph = Graph("across", ("x",), ("y",), nodes, constants, types)
    model = to_onnx(graph).SerializeToString()
    frames = [rng.normal(size=shapes["x"]).astype(np.float32) for _ in range(24)]
    plan = calibrate(model, [{"x": frame} for frame in frames], bits=12)
    stream = Session(model, replace(plan, tolerance=0.0)).stream()
    for frame in frames[:3]:
        found = stream.step(frame)["y"].astype(np.float64)
        wanted = np.einsum("oc,bchw,wk->bohk", constants["w"][..., 0, 0], frame, constants["v"])
        assert np.square(found - wanted).sum() < 1e-6 * np.square(wanted).sum()
        assert stream.check() is None

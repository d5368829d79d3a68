"""Layers over sites compute the integers that the design defines, whatever runs them and however
little of a frame moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from mquans.errors import PlanError
from mquans.graph import Conv, Graph, Linear, Node, Unary
from mquans.plan import GatePlan, Plan, TensorPlan
from mquans.runtime.lowering.sites.activations import exponents_of, integer_activation
from mquans.runtime.lowering.sites.arithmetic import Codes, integer_gate, integer_layer
from mquans.runtime.lowering.sites.depthwise import depthwise_layer
from mquans.runtime.reference.functions import unary
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .builders import PROVENANCE, typed
from .site_networks import (
    MOVES,
    VARIANTS,
    SiteNetwork,
    SiteStream,
    graphs,
    linear_network,
    networks,
    plan_of_sites,
    quantized_graphs,
    tiled_graphs,
)
from .site_reference import activated, float_values
from .strategies import SEEDS, examples

STREAMS = st.lists(st.sampled_from(MOVES), min_size=1, max_size=5)


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], what: object) -> None:
    """Bit for bit."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].tobytes() == np.ascontiguousarray(array).tobytes(), (name, what)


def follow(net: SiteNetwork, moves: list[str], seed: int) -> None:
    """Steps every variant and the reference through a stream, and compares all they hold."""
    reference = net.reference()
    streams = [SiteStream(net, isa, threads) for isa, threads in VARIANTS]
    for index, frame in enumerate(net.frames(moves, seed)):
        reference.step(frame)
        for stream, variant in zip(streams, VARIANTS, strict=True):
            outputs = stream.step(frame)
            where = (index, variant)
            for value, held in reference.held.items():
                np.testing.assert_array_equal(stream.held(value), held, f"{value} {where}")
                np.testing.assert_array_equal(
                    stream.taken(value), reference.taken[value], f"taken of {value} {where}"
                )
            reports = zip(reference.layers.values(), stream.reports, strict=True)
            for layer, (active, taken, macs) in reports:
                value = layer.node.outputs[0]
                assert macs == (reference.active[value] * layer.site_macs()).sum(), (value, where)
                assert active == reference.active[value].sum(), (value, where)
                assert taken == reference.taken[value].sum(), (value, where)
            same(outputs, reference.outputs(), where)


@examples(120)
@given(networks(), STREAMS, SEEDS)
def test_every_way_to_run_equals_the_reference(
    net: SiteNetwork, moves: list[str], seed: int
) -> None:
    """Otherwise a user gets other detections on another machine, or wrong ones everywhere: windows
    at the wrong place, sites that were not computed again, gates that decide otherwise."""
    follow(net, moves, seed)


@examples(40)
@given(tiled_graphs(), STREAMS, SEEDS, st.sampled_from((0.0, 0.02, 0.3)))
def test_tiles_equal_the_reference(
    graph: Graph, moves: list[str], seed: int, tolerance: float
) -> None:
    """Otherwise 3x3 convolutions give other values where most of a picture moves than where little
    does."""
    plan = plan_of_sites(graph, np.random.default_rng(seed), tolerance=tolerance, most_bits=14)
    try:
        follow(SiteNetwork(graph, plan), moves, seed)
    except PlanError:
        reject()


@examples(80)
@given(quantized_graphs(), STREAMS, SEEDS)
def test_quantized_layers_equal_the_reference(graph: Graph, moves: list[str], seed: int) -> None:
    """Otherwise products of bytes, on CPUs that have them, give other values than those of codes:
    wrong zeros around a picture, bytes that wrap, weights of the value behind a window."""
    follow(SiteNetwork(graph, plan_of_sites(graph, np.random.default_rng(seed))), moves, seed)


def test_a_window_beyond_the_picture_is_no_tile_of_the_next_one() -> None:
    """Rows of a batch follow each other: a tile must not take its lower half from another picture,
    unless that is what lies there."""
    rng = np.random.default_rng(7)
    for pads in ((0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2), (2, 0, 0, 1), (-1, 0, 0, 0)):
        weight = rng.normal(size=(16, 16, 3, 3)).astype(np.float32) * 0.1
        nodes = [Node("layer", Conv((3, 3), (1, 1), pads, (1, 1)), ("x", "w"), ("y",))]
        graph = typed(Graph("net", ("x",), ("y",), nodes, {"w": weight}), {"x": (3, 16, 5, 6)})
        follow(SiteNetwork(graph, plan_of_sites(graph, rng, most_bits=14)), list(MOVES), 8)


@pytest.mark.parametrize("shape", [(8, 5), (12, 17), (2, 70, 3), (1, 3, 5, 24)])
@pytest.mark.parametrize("activation", [None, Unary("relu"), Unary("gelu")])
def test_linear_layers_over_many_sites_equal_the_reference(
    shape: tuple[int, ...], activation: Unary | None
) -> None:
    """Otherwise the layers of a transformer give wrong values, or other ones on another machine."""
    follow(linear_network(shape, 33, Linear(activation), seed=3), list(MOVES), seed=4)


@examples(60)
@given(graphs(), SEEDS)
def test_a_plan_with_room_is_the_network_itself(graph: Graph, seed: int) -> None:
    """Otherwise all instruction sets may agree on wrong windows, scales, biases or activations."""
    rng = np.random.default_rng(seed)
    net = SiteNetwork(graph, plan_of_sites(graph, rng, exact=True))
    try:
        stream = SiteStream(net)
    except PlanError:
        reject()
    for frame in net.frames(["few"], seed):
        found, expected = stream.step(frame), float_values(graph, frame)
        for name, array in found.items():
            error = np.square(array - expected[name]).sum()
            allowed = 2e-3 * np.square(expected[name]).sum() + finest(net, name)
            assert error <= allowed, name


def finest(net: SiteNetwork, name: str) -> float:
    """Squared error of outputs that are a few codes wrong, all together."""
    [plan] = [tensor for tensor in net.plan.tensors if tensor.name == name]
    unit = 2.0 ** float(np.max(plan.exponents))
    return float((8 * unit) ** 2) * int(np.prod(net.graph.shape(name)))


@pytest.mark.parametrize("groups", [1, 8])
def test_rounding_keeps_the_sum_of_a_window(groups: int) -> None:
    """Otherwise every bright and even part of a picture is off by the same amount, which networks
    are far more sensitive to than to noise."""
    rng = np.random.default_rng(11)
    weight, bias = rng.normal(size=(8, 8 // groups, 3, 3)), np.zeros(8)
    codes = Codes(np.full(8, -10, np.int64), 2**14 - 1)
    unit = codes.unit.reshape(groups, 8 // groups)[np.arange(8) * groups // 8]
    layer = integer_layer(weight, bias, unit, codes.exponents, codes.limit, where="layer")
    sums = layer.weights.reshape(8, -1).sum(axis=1) * np.exp2(-layer.shift.astype(float))
    off = np.abs(sums - weight.reshape(8, -1).sum(axis=1)) * np.exp2(layer.shift)
    assert off.max() <= 0.5 + 1e-6
    if groups == 8:
        weight = weight.reshape(8, 9) / 16
        narrow = depthwise_layer(
            weight, bias, codes, codes.exponents, quantized=False, where="layer"
        )
        assert narrow.narrow.all()
        assert not narrow.shift.any()
        off = narrow.weights.sum(axis=1) - weight.sum(axis=1) * 2**15
        assert np.abs(off).max() <= 0.5


def test_rounding_keeps_the_sum_of_weights_without_a_window() -> None:
    """What all channels have in common, as behind a ReLU, is not off by the same amount at every
    site; and no weight is further off than the next whole number."""
    rng = np.random.default_rng(12)
    weight, unit = rng.normal(size=(5, 200)), np.full((5, 200), 2.0**-10)
    layer = integer_layer(weight, np.zeros(5), unit, np.full(5, -10), 16383, where="layer")
    exact = weight * np.exp2(layer.shift)[:, None]
    errors = layer.weights - exact
    assert np.abs(errors.sum(axis=1)).max() < 1
    assert np.abs(errors).max() < 1
    assert np.square(errors).mean() < 0.1  # of plain rounding 1 / 12


def test_a_value_may_be_read_along_two_axes() -> None:
    """A linear layer reads the last axis, a convolution the second: codes that lie for one of them
    are garbage for the other."""
    rng = np.random.default_rng(5)
    constants = {
        "w": rng.normal(size=(6, 6, 3)).astype(np.float32) * 0.3,
        "v": rng.normal(size=(9, 4)).astype(np.float32) * 0.3,
        "u": rng.normal(size=(9, 9)).astype(np.float32) * 0.3,
    }
    nodes = [
        Node("conv", Conv((3,), (1,), (1, 1), (1,)), ("x", "w"), ("a",)),
        Node("behind", Linear(), ("a", "v"), ("b",)),
        Node("beside", Linear(), ("x", "u"), ("c",)),
    ]
    shape = {"x": (2, 6, 9)}
    graph = typed(Graph("net", ("x",), ("a", "b", "c"), nodes, constants), shape)
    frames = [rng.normal(size=shape["x"]).astype(np.float32) for _ in range(2)]
    oracle = ReferenceNetwork(graph)
    axes = {"x": 1, "a": 1, "b": 1, "c": 2}
    tensors = tuple(
        TensorPlan(name=name, axis=axis, exponents=-11, bits=16) for name, axis in axes.items()
    )
    plan = Plan(
        model="net", model_sha256="0" * 64, input_shapes=shape, tensors=tensors, layers=(),
        provenance=PROVENANCE,
    )  # fmt: skip
    streams = [SiteStream(SiteNetwork(graph, plan), *variant) for variant in VARIANTS]
    for x in frames:
        expected = oracle.run({"x": x})
        results = [stream.step({"x": x}) for stream in streams]
        for found in results:
            same(found, results[0], "variants")
        for name, array in results[0].items():
            np.testing.assert_allclose(array, expected[name], atol=0.02)
    for stream in streams:
        before = stream.codes
        same(stream.recompute(), stream.outputs(), "recomputed")
        np.testing.assert_array_equal(stream.codes, before)


@pytest.mark.parametrize(
    "kind", ["silu", "gelu", "gelu_tanh", "sigmoid", "tanh", "hard_swish", "elu"]
)
@pytest.mark.parametrize("bits", [12, 15, 16])
def test_activations_are_right_for_every_code(kind: Any, bits: int) -> None:
    """A table that reaches beyond one turns the sign of a result; one code that is too wide halves
    it."""
    op, limit = Unary(kind, (1.0,) if kind == "elu" else ()), 2 ** (bits - 1) - 1
    codes = Codes(exponents_of(op, np.array([3 - bits]), limit), limit)
    function = integer_activation(op, codes)
    u = np.arange(-32768, 32768)[None, None]
    x = u * 2.0 ** float(function.sum_exponents[0])
    found = activated(function.numbers, u)[0, 0] * codes.unit[0]
    expected = np.clip(unary(op, x)[0, 0], -limit * codes.unit[0], limit * codes.unit[0])
    assert np.abs(found - expected).max() <= max(codes.unit[0], np.abs(expected).max() * 4e-4)


@pytest.mark.parametrize("kind", ["sigmoid", "tanh"])
@pytest.mark.parametrize("exponents", [(-20, -20), (-14, -13)])
def test_codes_that_bounded_results_cannot_have_are_refused(
    kind: Any, exponents: tuple[int, int]
) -> None:
    """They would be wrong by whole factors, and nothing would say so."""
    with pytest.raises(PlanError, match="one exponent"):
        integer_activation(Unary(kind), Codes(np.array(exponents), 16383))


@pytest.mark.parametrize(("scale", "exponent"), [(1e-307, 60), (1e-30, 0), (1e30, 0), (1e307, -60)])
def test_gates_of_any_scale_can_be_made(scale: float, exponent: int) -> None:
    """A channel that never moved, or one that does not matter, must not stop a session."""
    codes = Codes(np.full(3, exponent), 16383)
    gate = integer_gate(GatePlan(scale=scale), 0.1, codes)
    assert gate.largest**2 * 3 < 2**31
    assert gate.limit < gate.largest**2
    # Any change opens the gate, or none.
    assert (gate.weight == (32767 if scale < 1 else 0)).all()
    assert scale > 1 or gate.limit == 0


def test_sums_are_rounded_not_cut_off() -> None:
    """Half a code too little in every layer adds up to a picture that darkens."""
    rng = np.random.default_rng(8)
    weight, bias = rng.normal(size=(4, 9)), rng.normal(size=4)
    codes, exponents = rng.integers(-500, 500, (9, 300)), np.full(4, -6)
    layer = integer_layer(weight, bias, np.full((4, 9), 2.0**-9), exponents, 16383, where="layer")
    sums = layer.weights.astype(np.int64) @ codes + layer.bias[:, None] >> layer.shift[:, None]
    exact = (weight @ (codes * 2.0**-9) + bias[:, None]) * 2.0**6
    assert abs((sums - exact).mean()) < 0.05
    assert np.abs(sums - exact).max() < 0.52


@pytest.mark.parametrize("scale", [0.25, 0.9, 1.9])
def test_narrow_depthwise_sums_do_not_saturate(scale: float) -> None:
    """Weights of both signs may cancel in a result and saturate on the way: the result is then
    wrong by far, inside the range that calibration saw."""
    weight = np.where(np.arange(9) % 2, scale, -scale)[None] * np.ones((3, 1))
    codes, bias = Codes(np.full(3, -12), 32767), np.full(3, 0.5)
    layer = depthwise_layer(weight, bias, codes, codes.exponents, quantized=False, where="layer")
    assert layer.narrow.all() == (scale < 1), "coarser sums than that would be too coarse"
    if not layer.narrow.all():
        return
    assert (layer.shift == {0.25: 0, 0.9: 1}[scale]).all()
    factors = np.abs(layer.weights.astype(np.int64))
    for part in (factors[:, ::2], factors[:, 1::2]):
        assert (part.sum(axis=1) * (32768 // 4) // 2**15 + np.abs(layer.bias)).max() < 32768


@pytest.mark.parametrize(("taps", "narrow"), [(9, True), (16, False), (25, False)])
def test_many_products_are_not_rounded_in_coarse_units(taps: int, narrow: bool) -> None:
    """A reader of text whose windows are of five by five was undecided between letters."""
    codes, weight = Codes(np.full(4, -12), 32767), np.full((4, taps), 1.5 / taps)
    weight[0, 0] = 1.2
    layer = depthwise_layer(
        weight, np.zeros(4), codes, codes.exponents, quantized=False, where="layer"
    )
    assert layer.narrow.all() == narrow
    weight[0, 0] = 0.9
    layer = depthwise_layer(
        weight, np.zeros(4), codes, codes.exponents, quantized=False, where="layer"
    )
    assert layer.narrow.all()


def test_channels_with_large_weights_leave_others_narrow() -> None:
    """One channel in many has weights that do not fit; 32 of them are then slow, not all."""
    rng = np.random.default_rng(5)
    weight, bias = rng.uniform(-0.9, 0.9, (80, 9)), rng.uniform(-1, 1, 80)
    weight[3] *= 1.5
    weight[40, 4] = 100.0
    codes = Codes(np.full(80, -10), 32767)
    layer = depthwise_layer(weight, bias, codes, codes.exponents, quantized=False, where="layer")
    assert layer.narrow.tolist() == [1, 0, 1]
    x = rng.integers(-8000, 8000, (80, 9, 200))
    rounded = (x * layer.weights[:, :, None].astype(np.int64) + 2**14 >> 15).sum(axis=1)
    narrow = rounded + layer.bias[:, None] << np.minimum(layer.shift, 1)[:, None]
    exact = np.einsum("ct,ctn->cn", weight, x) + bias[:, None] * 2.0**10
    error = np.sqrt(np.square(narrow - exact).mean(axis=1))[layer.narrow.repeat(32)[:80] > 0]
    assert error.max() < 2.5


def test_elus_whose_codes_cannot_hold_their_bound_are_refused() -> None:
    """Results below zero would stop short of it."""
    with pytest.raises(PlanError, match="ELU need exponents of -12 or more"):
        integer_activation(Unary("elu", (1.0,)), Codes(np.array([-11, -13]), 32767))

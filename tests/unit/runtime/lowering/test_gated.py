"""Which values gates can stand in front of, and under which name a plan speaks of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from tests.laws.networks import mobile

from mquans.errors import PlanError
from mquans.graph import Binary, Conv, Pool, Reduce, Softmax, Unary
from mquans.onnx import import_model, read_model
from mquans.plan import GatePlan, TensorPlan
from mquans.runtime.lowering.sites import analyse
from mquans.runtime.session import Session

from .networks import LIMIT, Network

SHAPE = (1, 3, 6, 8)
RELU = Unary("relu")
IDENTITY = np.eye(3).reshape(3, 3, 1, 1)


def residual(**options: Any) -> Network:
    """A layer, added to its input, with an activation behind."""
    conv = Conv((1, 1), (1, 1), (0,) * 4, (1, 1))
    return Network(
        [(conv, "a w", "c"), (Binary("add"), "c a", "s"), (RELU, "s", "v")],
        {"a": SHAPE}, {"w": IDENTITY}, exponents=dict.fromkeys("acv", -10), **options,
    )  # fmt: skip


POOL = Pool("average", (2, 2), (2, 2), (0,) * 4, (1, 1))


@pytest.mark.parametrize(
    ("op", "names", "channels", "gated"),
    [
        (Binary("add"), "a b", 3, True),
        (Binary("sub"), "a b", 3, True),
        (Binary("mul"), "a b", 3, False),
        (Binary("mul"), "a k", 5, False),
        (Binary("add"), "a k", 5, False),
        (Binary("mul"), "a k", 3, True),
        (Binary("add"), "a k", 3, True),
        (POOL, "a", 3, False),
        (Reduce("mean", (2, 3), True), "a", 3, False),
        (Softmax(1), "a", 3, True),
    ],
)  # fmt: skip
def test_values_with_gates(op: Any, names: str, channels: int, gated: bool) -> None:
    """Inputs and pictures that the network normalises, layers, residual sums, what comes as
    floats."""
    constants = {"k": np.full((1, channels, 1, 1), 0.5)} if "k" in names else {}
    shape = (1, channels, 6, 8)
    inputs = {name: shape for name in names.split() if name not in constants}
    network = Network([(op, names, "v")], inputs, constants, outputs=("v",))
    analysis = network.analysis
    assert analysis.gated - set(inputs) == ({"v", "y"} if gated else {"y"})
    tensors = tuple(
        replace(tensor, gate=GatePlan(scale=1.0)) if tensor.name == "v" else tensor
        for tensor in network.plan.tensors
    )
    network.plan = replace(network.plan, tensors=tensors)
    if gated:
        network.session()
    else:
        with pytest.raises(PlanError, match="every change passes: 'v'"):
            network.session()


def test_gate_of_a_residual_sum_carries_the_name_of_its_activation() -> None:
    """That is the value that is stored; the sum alone is nowhere."""
    network = residual(gates={"v": 0.5}, tolerance=1.0)
    assert set(network.analysis.fresh()) == {"a", "c", "v", "y"}
    stream = network.session().stream()
    base = np.full(SHAPE, 1000)
    first = stream.step(network.frame({"a": base}))["v"]
    nearly = base.copy()
    nearly[0, :, 2, 3] += 200  # in units of -10: 0.4 of the sum, within the gate
    np.testing.assert_array_equal(stream.step(network.frame({"a": nearly}))["v"], first)
    nearly[0, :, 2, 3] += 200
    assert (stream.step(network.frame({"a": nearly}))["v"] != first).any()


def test_exposing_a_residual_sum_changes_nothing_else() -> None:
    """The gate stays behind the activation."""
    network = residual(gates={"v": 0.5}, tolerance=1.0)
    rng = np.random.default_rng(1)
    frames = [rng.integers(-LIMIT // 8, LIMIT // 8, SHAPE)]
    frames += [frames[0] + rng.integers(-300, 300, SHAPE) for _ in range(4)]
    plain = network.session().stream()
    network.also = ["s"]
    exposed = network.session().stream()
    for codes in frames:
        expected = plain.step(network.frame({"a": codes}))
        found = exposed.step(network.frame({"a": codes}))
        np.testing.assert_array_equal(found["v"], expected["v"])
        np.testing.assert_array_equal(found["y"], expected["y"])
        np.testing.assert_array_equal(found["s"], 2 * codes * 2.0**-10)


@pytest.mark.parametrize("name", ["s", "elsewhere"])
def test_tensors_that_have_no_codes_of_their_own_are_refused(name: str) -> None:
    network = residual()
    extra = TensorPlan(name=name, exponents=-10)
    network.plan = replace(network.plan, tensors=(*network.plan.tensors, extra))
    with pytest.raises(PlanError, match=f"no codes of their own.*'{name}'"):
        network.session()


def test_repeated_tensors_are_refused() -> None:
    """One of the two would be believed."""
    network = residual()
    network.plan = replace(network.plan, tensors=(*network.plan.tensors, network.plan.tensors[0]))
    with pytest.raises(PlanError, match="appear twice: 'a'"):
        network.session()


def test_missing_tensors_are_refused() -> None:
    network = residual()
    network.plan = replace(network.plan, tensors=network.plan.tensors[1:])
    with pytest.raises(PlanError, match="says nothing of tensor 'a'"):
        network.session()


def test_missing_layers_value_by_value_are_refused() -> None:
    """With tensors in the plan, layers over sites need no entry, others do."""
    file = read_model(mobile())
    graph = import_model(file)
    tensors = tuple(
        TensorPlan(name=name, axis=coding.axis, exponents=-8)
        for name, coding in analyse(graph).fresh().items()
    )
    plan = replace(
        residual().plan, model_sha256=file.sha256, tensors=tensors,
        input_shapes={name: graph.shape(name) for name in graph.inputs},
    )  # fmt: skip
    with pytest.raises(PlanError, match=r"lacks layers of the model: .*product"):
        Session(file, plan)


@pytest.mark.parametrize("tail", ["silu", "gelu", "hard_swish"])
@pytest.mark.parametrize("op", [Binary("add"), Binary("mul")])
@pytest.mark.parametrize("second", ["b", "k"])
def test_results_behind_an_operator_may_be_finer_than_its_own(
    op: Binary, tail: str, second: str
) -> None:
    """Codes of results of functions that vanish for negative values say nothing of their sums."""
    constants = {"k": np.array([0.7, -0.5, 0.25]).reshape(1, 3, 1, 1)} if second == "k" else {}
    shape = (3, 3, 5, 8)  # no picture that is normalised
    inputs = {name: shape for name in ("a", second) if name not in constants}
    network = Network(
        [(op, f"a {second}", "s"), (Unary(tail), "s", "v")], inputs, constants,
        exponents=dict.fromkeys(("a", "b", "s", "v"), -14), outputs=("v",),
    )  # fmt: skip
    rng = np.random.default_rng(3)
    frame = {name: rng.uniform(-0.4, 0.4, shape).astype(np.float32) for name in inputs}
    other = frame.get("b", constants.get("k"))
    x = frame["a"] * other if op.kind == "mul" else frame["a"] + other
    sigmoid = 1 / (1 + np.exp(-x))
    normal = np.vectorize(lambda value: (1 + math.erf(value / 2**0.5)) / 2)
    gates = {"silu": sigmoid, "gelu": normal(x), "hard_swish": np.clip(x / 6 + 0.5, 0, 1)}
    found = network.session().stream().step(frame)["v"]
    np.testing.assert_allclose(found, x * gates[tail], atol=2e-3)

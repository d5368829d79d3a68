"""Networks with states, written out step by step, and what errors in a state do later."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from mquans.calibration.criticality import METHODS, criticality, output_criticality
from mquans.calibration.gradients import gradient_graph
from mquans.calibration.unrolling import unroll, window
from mquans.errors import MquansError
from mquans.graph import Graph, Recurrence, RecurrenceKind
from mquans.metrics.agreement import AgreementMeter
from mquans.metrics.scored import scored_axes
from mquans.onnx import import_model, read_model, to_onnx
from mquans.plan import Feedback
from mquans.runtime.reference.interpreter import ReferenceNetwork
from mquans.sources.frames import Feeds

from .recurrent_networks import feedback, recurrent, sound

VARIANTS: list[tuple[RecurrenceKind, dict[str, Any]]] = [
    ("lstm", {}),
    ("lstm", {"peepholes": True, "clip": 0.5}),
    ("lstm", {"bias": True, "reverse": True, "lengths": (4, 2)}),
    ("gru", {}),
    ("gru", {"lengths": (3, 4)}),
    ("gru", {"reset_after": True, "bias": True, "reverse": True}),
    ("rnn", {"states": False}),
]


def run(graph: Graph, frames: list[Feeds]) -> tuple[list[Feeds], list[Feeds]]:
    """Frames with their states, and outputs."""
    states = Feedback(feedback(graph), {name: graph.shape(name) for name in graph.inputs})
    oracle, filled, outputs = ReferenceNetwork(graph), [], []
    for frame in frames:
        filled.append(states.fill(frame))
        found = oracle.run(filled[-1])
        outputs.append({name: array.astype(np.float32) for name, array in found.items()})
        states.keep(outputs[-1])
    return filled, outputs


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_a_sequence_written_out_computes_the_same(
    kind: RecurrenceKind, options: dict[str, Any]
) -> None:
    """Gradients of another network would be gradients of nothing."""
    graph = recurrent(kind, steps=4, batch=2, **options)
    rng = np.random.default_rng(0)
    feeds = {name: rng.normal(size=graph.shape(name)) for name in graph.inputs}
    network = unroll(graph, {})
    assert not any(isinstance(node.op, Recurrence) for node in network.graph.nodes)
    assert {name: len(parts) for name, parts in network.parts.items()} == {
        "layer/input": 1,
        "layer": 8 if kind == "gru" and not options.get("reset_after") else 4,
        "out": 1,
    }
    found = ReferenceNetwork(network.graph).run(feeds)
    for name, expected in ReferenceNetwork(graph).run(feeds).items():
        np.testing.assert_allclose(found[network.outputs[0][name]], expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_frames_in_a_row_are_one_network(kind: RecurrenceKind) -> None:
    """States pass from copy to copy as they pass from frame to frame; the outputs that carry them
    do not count."""
    graph = recurrent(kind)
    filled, outputs = run(graph, sound(graph, 20))
    network = unroll(graph, feedback(graph))
    assert network.frames == window(graph, feedback(graph)) == 8
    assert [set(names) for names in network.outputs] == [{"y"}] * 8
    windows = network.windows(filled)
    assert len(windows) == 2
    for start, feeds in zip((0, 8), windows, strict=True):
        found = ReferenceNetwork(network.graph).run(feeds)
        for names, expected in zip(network.outputs, outputs[start:], strict=False):
            np.testing.assert_allclose(found[names["y"]], expected["y"], atol=1e-6)


def test_what_onnxruntime_runs_is_written_once_per_step() -> None:
    """A decoder looks its last token up: every copy of that node had one name, which it refuses."""
    rng = np.random.default_rng(0)
    make = onnx.helper.make_node
    nodes = [
        make("Gather", ["E", "ids"], ["e"], name="look up"),
        make("MatMul", ["h", "U"], ["u"]),
        make("Add", ["e", "u"], ["a"]),
        make("Tanh", ["a"], ["h_out"]),
    ]
    kinds = onnx.TensorProto
    value = onnx.helper.make_tensor_value_info
    model = onnx.helper.make_graph(
        nodes,
        "decoder",
        [value("ids", kinds.INT64, [1]), value("h", kinds.FLOAT, [1, 8])],
        [value("h_out", kinds.FLOAT, [1, 8])],
        [
            onnx.numpy_helper.from_array(rng.normal(size=size).astype("f"), name)
            for name, size in {"E": (9, 8), "U": (8, 8)}.items()
        ],
    )
    imports = [onnx.helper.make_opsetid("", 17)]
    proto = onnx.helper.make_model(model, opset_imports=imports, ir_version=8)
    graph = import_model(read_model(proto))
    assert "Fallback" in {type(node.op).__name__ for node in graph.nodes}
    written = to_onnx(unroll(graph, {"h": "h_out"}).graph)
    names = [node.name for node in written.graph.node]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_gradients_through_time_are_differences(
    kind: RecurrenceKind, options: dict[str, Any]
) -> None:
    """At the input, by a small step in a random direction."""
    graph = recurrent(kind, steps=4, batch=2, **options)
    made = gradient_graph(unroll(graph, {}).graph, layers=(), values=("x",))
    rng = np.random.default_rng(1)
    feeds = {name: rng.normal(size=graph.shape(name)) for name in graph.inputs}
    v = {name: rng.normal(size=made.tape.shape(name)) for name in made.cotangents}
    error = rng.normal(size=graph.shape("x")) * 1e-5
    oracle = ReferenceNetwork(unroll(graph, {}).graph)
    high, low = (oracle.run({**feeds, "x": feeds["x"] + sign * error}) for sign in (1, -1))
    expected = sum(float((v[name] * (high[name] - low[name])).sum()) for name in v) / 2
    cotangents = {made.cotangents[name]: array for name, array in v.items()}
    name = made.values["x"]
    found = ReferenceNetwork(made.tape.graph).run({**feeds, **cotangents}, [name])[name]
    assert float((found * error).sum()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_every_method_weighs_the_units_of_a_state(kind: RecurrenceKind, method: str) -> None:
    """What allocation relies on; a gru that resets first has two states."""
    graph = recurrent(kind)
    filled, _ = run(graph, sound(graph, 32))
    found = criticality(graph, filled, method=method, feedback=feedback(graph))
    assert {name: len(values) for name, values in found.items()} == {
        node.name: graph.neurons(node) for node in graph.reuse_layers()
    }
    for values in found.values():
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert values.max() > 0
    outputs = output_criticality(graph, filled, feedback=feedback(graph))
    assert len(outputs["layer"]) == graph.shape("R")[1]
    assert (outputs["layer"] > 0).all()


@pytest.mark.parametrize("method", ["fisher", "perturb"])
@pytest.mark.parametrize(
    ("kind", "options"), [("lstm", {}), ("gru", {}), ("gru", {"reset_after": True})]
)
def test_predicted_loss_includes_the_frames_that_follow(
    kind: RecurrenceKind, options: dict[str, Any], method: str
) -> None:
    """An error of what the product reads lives on in the state. Measured with noise there, in every
    frame."""
    graph = recurrent(kind, **options)
    filled, outputs = run(graph, sound(graph, 32))
    states = feedback(graph)
    found = criticality(graph, filled, method=method, feedback=states, samples=20)["layer"]
    network = unroll(graph, feedback(graph))
    meter = AgreementMeter(scored_axes(graph, states))
    sigma, rng = 1e-3, np.random.default_rng(3)
    reads = {part.node.name for part in network.parts["layer"]}
    oracle = ReferenceNetwork(network.graph)
    for start, feeds in [*zip(range(0, 32, 8), network.windows(filled), strict=True)] * 20:
        values: dict[str, Any] = {**network.graph.constants, **feeds}
        for node in network.graph.nodes:
            arrays = [np.asarray(values[name], np.float64) for name in node.inputs]
            if node.name in reads:
                arrays[0] = arrays[0] + rng.normal(0, sigma, arrays[0].shape)
            [values[node.outputs[0]]] = oracle.evaluate(node, arrays)
        for names, dense in zip(network.outputs, outputs[start:], strict=False):
            meter.add({"y": dense["y"]}, {"y": values[names["y"]]})
    measured = meter.result().loss_mean
    assert float(found.sum() * sigma**2) == pytest.approx(measured, rel=0.25)


def test_task_loss_is_asked_for_every_frame_with_its_own_label() -> None:
    """And its names are those of the network."""
    graph = recurrent("lstm")
    filled, _ = run(graph, sound(graph, 16))
    seen = []

    def gradient(outputs: Feeds, label: int) -> Feeds:
        assert set(outputs) == {"y"}
        seen.append(label)
        return {"y": np.ones_like(outputs["y"])}

    states = feedback(graph)
    found = criticality(graph, filled, feedback=states, loss=gradient, labels=list(range(16)))
    assert sorted(seen) == list(range(16))
    assert found["layer"].max() > 0


def test_too_few_frames_for_a_window_are_named() -> None:
    """A recording of a few hops says nothing of a state."""
    graph = recurrent("gru")
    filled, _ = run(graph, sound(graph, 5))
    with pytest.raises(MquansError, match="8 consecutive frames, not 5"):
        criticality(graph, filled, feedback=feedback(graph))

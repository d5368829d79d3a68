"""Gradients through whole networks: branches, several outputs, fallback subgraphs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mquans.calibration.gradients import gradient_graph
from mquans.errors import MquansError
from mquans.graph import Graph
from mquans.onnx import import_model, read_model, to_onnx
from mquans.runtime.reference.interpreter import ReferenceNetwork

RNG = np.random.default_rng(0)
SHAPES = {"wa": (4, 3, 3, 3), "wb": (4, 4, 1, 1), "wc": (4, 4, 3, 3), "wd": (100, 2)}
CONSTANTS = {n: RNG.normal(0, 0.5, shape).astype(np.float32) for n, shape in SHAPES.items()}
CONSTANTS |= {"axis": np.array(3)}


def node(kind: str, inputs: str, output: str, name: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name, **attributes)


def network(*nodes: onnx.NodeProto, outputs: dict[str, list[int]]) -> Graph:
    """x [1, 3, 5, 5] through some nodes."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 5, 5])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(a, name) for name, a in CONSTANTS.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return import_model(read_model(helper.make_model(graph, opset_imports=opsets, ir_version=8)))


@pytest.fixture
def branches() -> Graph:
    """x -> a -> {b, c} -> b * sigmoid(c) + a -> linear; outputs: the sum, and the linear layer's.

    `b` and `c` read the same value, which is also added to theirs."""
    return network(
        node("Conv", "x wa", "a0", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a0", "a1", "relu"),
        node("Conv", "a1 wb", "b0", "b"),
        node("Conv", "a1 wc", "c0", "c", pads=[1, 1, 1, 1]),
        node("Sigmoid", "c0", "c1", "gate"),
        node("Mul", "b0 c1", "m", "mul"),
        node("Add", "m a1", "sum", "add"),
        node("Flatten", "sum", "flat", "flatten"),
        node("MatMul", "flat wd", "y", "d"),
        outputs={"sum": [1, 4, 5, 5], "y": [1, 2]},
    )


def test_gradient_at_a_layer_is_that_of_its_own_reading(branches: Graph) -> None:
    """Two layers that read one value each have their own copy of it in the engine: an error in one
    copy says nothing about the other, nor about what is added further on."""
    made = gradient_graph(branches)
    assert set(made.layer_inputs) == {"a", "b", "c", "d"}
    rng = np.random.default_rng(1)
    feeds = {"x": rng.normal(size=(1, 3, 5, 5))}
    v = {name: rng.normal(size=branches.shape(name)) for name in branches.outputs}
    cotangents = {made.cotangents[name]: array for name, array in v.items()}
    oracle = ReferenceNetwork(branches)
    values = oracle.run(feeds, [n.inputs[0] for n in branches.reuse_layers()])
    wanted = list(made.layer_inputs.values())
    found = ReferenceNetwork(made.tape.graph).run({**feeds, **cotangents}, wanted)
    for layer in branches.reuse_layers():
        error = rng.normal(size=branches.shape(layer.inputs[0])) * 1e-5
        sides = []
        for sign in (1, -1):
            state = dict(feeds) | {n: a.astype(np.float64) for n, a in branches.constants.items()}
            for current in branches.nodes:
                arrays = [state[value] for value in current.inputs if value]
                if current.name == layer.name:
                    arrays[0] = arrays[0] + sign * error
                [state[current.outputs[0]]] = oracle.evaluate(current, arrays)
            sides.append(sum(float((v[name] * state[name]).sum()) for name in v))
        gradient = found[made.layer_inputs[layer.name]]
        assert gradient.shape == values[layer.inputs[0]].shape
        expected = (sides[0] - sides[1]) / 2
        assert float((gradient * error).sum()) == pytest.approx(expected, rel=1e-5)


def test_gradient_at_a_value_is_from_all_its_readers(branches: Graph) -> None:
    """The input's gradient, by differences in a random direction."""
    made = gradient_graph(branches, layers=(), values=("x",))
    assert not made.layer_inputs
    rng = np.random.default_rng(1)
    x, error = rng.normal(size=(1, 3, 5, 5)), rng.normal(size=(1, 3, 5, 5)) * 1e-5
    v = {name: rng.normal(size=branches.shape(name)) for name in branches.outputs}
    oracle = ReferenceNetwork(branches)
    high, low = (oracle.run({"x": x + sign * error}) for sign in (1, -1))
    expected = sum(float((v[name] * (high[name] - low[name])).sum()) for name in v) / 2
    cotangents = {made.cotangents[name]: array for name, array in v.items()}
    name = made.values["x"]
    found = ReferenceNetwork(made.tape.graph).run({"x": x, **cotangents}, [name])[name]
    assert float((found * error).sum()) == pytest.approx(expected, rel=1e-5)


def test_gradient_at_an_output_is_before_the_activation(branches: Graph) -> None:
    """Rounded weights err before the ReLU: where it is closed, nothing passes."""
    made = gradient_graph(branches)
    rng = np.random.default_rng(1)
    feeds = {"x": rng.normal(size=(1, 3, 5, 5))}
    v = {n: rng.normal(size=branches.shape(n)) for n in branches.outputs}
    name = made.layer_outputs["a"]
    [activated] = [n.outputs[0] for n in branches.reuse_layers() if n.name == "a"]
    cotangents = {made.cotangents[n]: array for n, array in v.items()}
    found = ReferenceNetwork(made.tape.graph).run({**feeds, **cotangents}, [name, activated])
    assert ((found[activated] == 0) == (found[name] == 0)).all()
    assert 0 < (found[name] == 0).mean() < 1


def test_the_network_itself_stays_as_it_was(branches: Graph) -> None:
    """The gradient graph computes the same outputs, and the graph it was made from is untouched."""
    before = to_onnx(branches).SerializeToString()
    made = gradient_graph(branches)
    assert to_onnx(branches).SerializeToString() == before
    x = np.random.default_rng(1).normal(size=(1, 3, 5, 5))
    zeros = {name: np.zeros(made.tape.shape(name)) for name in made.cotangents.values()}
    expected = ReferenceNetwork(branches).run({"x": x})
    found = ReferenceNetwork(made.tape.graph).run({"x": x, **zeros}, list(expected))
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_gradients_stop_at_fallbacks_and_start_anew() -> None:
    """A network with a node that nobody can differentiate still tells its layers apart: what the
    fallback subgraph reads counts as an output, and layers behind it are as ever."""
    graph = network(
        node("Conv", "x wa", "a0", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a0", "a1", "relu"),
        node("CumSum", "a1 axis", "k", "fallback"),
        node("Conv", "k wb", "y", "b"),
        outputs={"y": [1, 4, 5, 5]},
    )
    made = gradient_graph(graph)
    assert len(made.stopped) == 1
    assert set(made.layer_inputs) == {"a", "b"}
    zeros = {name: np.zeros(made.tape.shape(name)) for name in made.cotangents.values()}
    feeds = {"x": np.random.default_rng(1).normal(size=(1, 3, 5, 5)), **zeros}
    stopped = made.cotangents[made.stopped[0]]
    feeds[stopped] = np.ones(made.tape.shape(stopped))
    names = [made.layer_inputs["a"], made.layer_inputs["b"]]
    before, behind = ReferenceNetwork(made.tape.graph).run(feeds, names).values()
    assert np.abs(before).max() > 0
    assert np.abs(behind).max() == 0


def test_a_value_that_is_none_of_the_networks_is_named(branches: Graph) -> None:
    """Not a traceback from the depths."""
    with pytest.raises(MquansError, match="'nowhere'"):
        gradient_graph(branches, values=("nowhere",))

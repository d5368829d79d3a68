"""Criticality predicts what the calibration loss does when neurons err."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mquans.calibration.criticality import (
    METHODS,
    REST,
    OutputLoss,
    WeightedError,
    criticality,
    output_criticality,
)
from mquans.calibration.criticality.probe import Probe
from mquans.calibration.unrolling import unroll
from mquans.errors import MquansError
from mquans.graph import Graph, Linear, Unary
from mquans.metrics.agreement import AgreementMeter
from mquans.onnx import import_model, read_model
from mquans.runtime.reference.interpreter import ReferenceNetwork
from mquans.sources import guess_format, open_source
from mquans.sources.frames import feeds_of

from .criticality_networks import (
    Floats,
    chain,
    measured_loss,
    scenes,
    three_layers,
    with_noise,
)

LAYERS = ("a", "b", "c")


@pytest.fixture(scope="module")
def graph() -> Graph:
    return three_layers()


@pytest.fixture(scope="module")
def found(graph: Graph) -> dict[str, dict[str, Floats]]:
    """Of every method."""
    return {method: criticality(graph, scenes(8), method=method) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_every_neuron_of_every_layer_has_a_finite_criticality(
    graph: Graph, found: dict[str, dict[str, Floats]], method: str
) -> None:
    """What allocation relies on, whatever the method."""
    assert list(found[method]) == [node.name for node in graph.reuse_layers()]
    for node in graph.reuse_layers():
        values = found[method][node.name]
        assert values.shape == (graph.neurons(node),)
        assert values.dtype == np.float64
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert values.max() > 0


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("method", "factor"), [("fisher", 1.15), ("perturb", 1.3)])
def test_predicted_loss_is_the_measured_one(
    graph: Graph, found: dict[str, dict[str, Floats]], layer: str, method: str, factor: float
) -> None:
    """`sum s * mse` is the loss that users see, in its unit: budgets are compared with it."""
    sigma = np.full(len(found[method][layer]), 1e-3)
    measured = measured_loss(graph, scenes(8), layer, sigma)
    predicted = float((found[method][layer] * sigma**2).sum())
    assert measured / factor < predicted < measured * factor


@pytest.mark.parametrize("layer", LAYERS)
def test_predicted_loss_of_single_neurons(
    graph: Graph, found: dict[str, dict[str, Floats]], layer: str
) -> None:
    """One width per neuron needs the right number for every neuron, not only on average."""
    predicted = found["fisher"][layer]
    for neuron in range(len(predicted)):
        sigma = np.where(np.arange(len(predicted)) == neuron, 1e-3, 0.0)
        measured = measured_loss(graph, scenes(8), layer, sigma) / 1e-6
        assert measured / 1.5 < predicted[neuron] < measured * 1.5


@pytest.mark.parametrize("layer", LAYERS)
def test_predicted_loss_of_errors_at_a_layers_output(graph: Graph, layer: str) -> None:
    """Rounded weights err before the activation; the width of weights is chosen by it."""
    predicted = output_criticality(graph, scenes(8))[layer]
    sigma = np.full(len(predicted), 1e-3)
    measured = measured_loss(graph, scenes(8), layer, sigma, output=True)
    assert float((predicted * sigma**2).sum()) == pytest.approx(measured, rel=0.15)


def test_taylor_is_never_above_fisher(found: dict[str, dict[str, Floats]]) -> None:
    """On the same frames and directions (Cauchy and Schwarz)."""
    for name, values in found["taylor"].items():
        assert (values <= found["fisher"][name] * (1 + 1e-5)).all()


def test_the_same_seed_gives_the_same_numbers(graph: Graph) -> None:
    """Calibration is repeatable."""
    for method in METHODS:
        first, again = (criticality(graph, scenes(3), method=method, seed=4) for _ in range(2))
        for name, values in first.items():
            np.testing.assert_array_equal(values, again[name])


@settings(max_examples=10, deadline=None)
@given(
    k=st.sampled_from([0.01, 0.5, 3.0, 100.0]), method=st.sampled_from(["fisher", "closed_form"])
)
def test_units(k: float, method: str) -> None:
    """The loss is relative to the outputs, and errors are in the input's own unit: outputs in
    other units change nothing, an input in other units changes its own layer by their square."""
    plain = criticality(three_layers(), scenes(3), method=method)
    outputs = criticality(three_layers(output_scale=k), scenes(3), method=method)
    inputs = criticality(three_layers(input_scale=k), scenes(3, scale=k), method=method)
    for name, values in plain.items():
        np.testing.assert_allclose(outputs[name], values, rtol=1e-3)
        unit = k**2 if name == "a" else 1.0
        np.testing.assert_allclose(inputs[name], values / unit, rtol=1e-3)


def test_loss_is_that_of_the_agreement_report(graph: Graph) -> None:
    """One definition of loss for what is predicted and what is measured."""
    rng = np.random.default_rng(0)
    dense = [ReferenceNetwork(graph).run(feeds) for feeds in scenes(5)]
    other = [{n: a + rng.normal(size=a.shape) for n, a in arrays.items()} for arrays in dense]
    loss, meter = OutputLoss.measured(unroll(graph, {}), graph.outputs, dense), AgreementMeter()
    for reference, arrays in zip(dense, other, strict=True):
        meter.add(reference, arrays)
    losses = [loss.between(y, z) for y, z in zip(dense, other, strict=True)]
    assert np.mean(losses) == pytest.approx(meter.result().loss_mean)


def test_task_loss_takes_the_place_of_random_directions() -> None:
    """Criticality is then about what the user's own loss sees, with the label of each frame."""
    weight = np.array([[1.0, 0.0], [2.0, 3.0]])
    graph = chain((1, 2), ("fc", Linear(), {"w": weight}))
    frames = [{"x": np.full((1, 2), float(i), np.float32)} for i in range(3)]
    seen = []

    def loss(outputs: Mapping[str, Any], label: int) -> dict[str, Any]:
        seen.append((float(outputs["fc/y"][0, 0]), label))
        return {"fc/y": np.array([[label, 0.0]])}

    found = criticality(graph, frames, loss=loss, labels=[1, 2, 3])
    assert seen == [(0.0, 1), (3.0, 2), (6.0, 3)]
    mean_square = (1 + 4 + 9) / 3
    np.testing.assert_allclose(found["fc"], mean_square * weight[:, 0] ** 2)


def first_outputs(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Only the first two channels matter."""
    [(name, values)] = outputs.items()
    weights = np.zeros(values.shape)
    weights[:, :2] = 1.0
    return {name: weights}


@pytest.mark.parametrize("layer", LAYERS)
def test_weights_of_outputs_take_the_place_of_variances(graph: Graph, layer: str) -> None:
    """Criticality predicts the loss that a task is about, and `REST` of the default one."""
    found = criticality(graph, scenes(8), error_weights=first_outputs, samples=8)[layer]
    noisy, at = with_noise(graph, layer, output=False)
    dense, oracle = ReferenceNetwork(graph), ReferenceNetwork(noisy)
    meter, plain = WeightedError(first_outputs), AgreementMeter()
    rng = np.random.default_rng(0)
    for feeds in scenes(8):
        error = 1e-3 * rng.normal(size=noisy.shape(at))
        wanted, got = dense.run(feeds), oracle.run({**feeds, at: error})
        meter.add(got, wanted, None)
        plain.add(wanted, got)
    measured = meter.result() + REST * plain.result().loss_mean
    assert float(found.sum()) * 1e-6 == pytest.approx(measured, rel=0.25)


def refuses(message: str, **options: Any) -> None:
    graph = chain((1, 2), ("fc", Linear(), {"w": np.eye(2)}))
    frames = [{"x": np.ones((1, 2), np.float32)}]
    with pytest.raises(MquansError, match=message):
        criticality(graph, frames, **options)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"fc/y": np.ones(2)}, r"shape \[1, 2\]"),
        ({"fc/y": np.full((1, 2), -1.0)}, "not negative"),
        ({"fc/y": np.full((1, 2), np.nan)}, "finite"),
        ({"other": np.ones((1, 2))}, "'other'"),
    ],
)
def test_wrong_weights_of_outputs_are_refused(weights: Any, message: str) -> None:
    """A user's mistake in a metric of their own."""
    refuses(message, error_weights=lambda outputs: weights)


def test_failing_weights_are_explained() -> None:
    """Code of the user's that asks for an output by a wrong name."""
    refuses(r"KeyError: 'boxes'.*fc/y", error_weights=lambda outputs: {"boxes": outputs["boxes"]})


@pytest.mark.parametrize(
    ("gradient", "message"),
    [
        ({"fc/y": np.zeros(2)}, r"shape \[1, 2\]"),
        ({"fc/y": np.full((1, 2), np.nan)}, "finite"),
        ({"other": np.zeros((1, 2))}, "'other'"),
    ],
)
def test_wrong_gradients_of_a_task_loss_are_refused(gradient: Any, message: str) -> None:
    """A user's mistake in a function of their own."""
    refuses(message, loss=lambda outputs, label: gradient)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "guess"}, "fisher, taylor, closed_form, perturb"),
        ({"frames": []}, "at least one frame"),
        ({"samples": 0}, "at least 1"),
        ({"loss": lambda outputs, label: {}, "labels": [1]}, "1 labels for 2 frames"),
        ({"loss": lambda outputs, label: {}, "method": "perturb"}, "takes no task loss"),
        ({"error_weights": first_outputs, "method": "perturb"}, "fisher and taylor"),
    ],
)
def test_impossible_wishes_are_named(graph: Graph, options: dict[str, Any], message: str) -> None:
    """With a way out."""
    with pytest.raises(MquansError, match=message):
        criticality(graph, **{"frames": scenes(2), **options})


def test_an_output_that_never_varies_has_a_criticality() -> None:
    """A detector that finds nothing in the calibration clip: variance 0, but errors count."""
    weight = np.array([[1.0], [2.0]])
    graph = chain((1, 2), ("fc", Linear(Unary("relu")), {"w": weight}))
    frames = [{"x": np.array([[1.0, 1.0]], np.float32)}] * 3
    found = criticality(graph, frames)["fc"]
    np.testing.assert_allclose(found, weight[:, 0] ** 2 / 9)


@pytest.mark.parametrize(
    ("model", "scale"),
    [("yunet/yunet_n_320_320.onnx", 1.0), ("fastestdet/FastestDet.onnx", 1 / 255)],
)
def test_real_networks(shared: Path, model: str, scale: float) -> None:
    """A layer deep inside real detectors: predicted and measured loss agree."""
    graph = import_model(read_model(shared / "models" / model))
    [name] = graph.inputs
    shapes = {name: graph.shape(name)}
    format = guess_format(name, graph.shape(name), color="bgr", scale=scale)
    clip = shared / "data" / "video" / "vtest.avi"
    with open_source(clip, format, input_shapes=shapes, frames=3, stride=50) as source:
        frames = [feeds_of(frame, [name]) for frame in source]
    found = criticality(graph, frames)
    layers = list(graph.reuse_layers())
    layer = layers[len(layers) // 2]
    noisy, noise = with_noise(graph, layer.name, output=False)
    dense, run = (Probe(g, graph.outputs, threads=1) for g in (graph, noisy))
    rng, meter = np.random.default_rng(0), AgreementMeter()
    sigma = 1e-3
    for feeds in frames:
        error = rng.normal(0, sigma, noisy.shape(noise)).astype(np.float32)
        meter.add(dense.run(feeds), run.run({**feeds, noise: error}))
    predicted = found[layer.name].sum() * sigma**2
    assert meter.result().loss_mean == pytest.approx(predicted, rel=0.3)

"""The networks have the published sizes; if not, work and energy reported for them mean nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mquans.onnx import import_model, read_model

torch = pytest.importorskip("torch")

from mquans_studies.zoo import AcousticMlp, AutoPilot, C3d, Eesen, StreamingGru, export, untrained  # noqa: E402
from mquans_studies.zoo.training import weights  # noqa: E402


def macs(network: Any, *shape: int) -> int:
    """Of convolutions and dense layers, by the shapes of their outputs, without computing any."""
    counts = []

    def count(layer: Any, _: Any, output: Any) -> None:
        counts.append(output.numel() * layer.weight[0].numel())

    for layer in network.modules():
        if hasattr(layer, "weight"):
            layer.register_forward_hook(count)
    network.to("meta").eval()(torch.zeros(shape, device="meta"))
    return sum(counts)


def test_autopilot_has_28_million_macs_and_1_6_million_weights() -> None:
    network = AutoPilot()
    assert weights(network) == 1_593_950
    assert macs(network, 1, 3, 66, 200) == 28_218_470


def test_c3d_has_38_6_billion_macs_and_78_million_weights() -> None:
    with torch.device("meta"):
        network = C3d(101)
    assert weights(network) == 78_398_528
    assert macs(network, 1, 3, 16, 112, 112) == pytest.approx(38.55e9, rel=1e-3)


def test_channels_of_c3d_scale_together() -> None:
    assert macs(C3d(20, width=8), 1, 3, 16, 112, 112) == pytest.approx(0.716e9, rel=1e-3)


def test_speech_networks_have_the_sizes_of_their_recipes() -> None:
    assert weights(AcousticMlp(60)) == 4_557_312
    assert weights(Eesen()) == 10_963_840
    assert weights(StreamingGru()) == 3_923_840


@pytest.mark.parametrize(
    ("name", "expected"), [("autopilot", 28_218_470), ("acoustic", 4_557_312), ("gru", 3_923_840)]
)
def test_exported_networks_import_whole(name: str, expected: int) -> None:
    """Every multiplication is in a layer that reuse knows."""
    graph = import_model(read_model(untrained(name)))
    assert sum(graph.macs(node) for node in graph.nodes) == expected
    assert sum(graph.macs(node) for node in graph.reuse_layers()) == expected


def test_whole_utterances_import_with_both_products_of_every_direction() -> None:
    network = Eesen(cells=8, layers=2)
    data = export(network, {"features": torch.zeros(12, 1, 120)}, ["scores"])
    graph = import_model(read_model(data))
    assert graph.shape(graph.outputs[0]) == (12, 1, 11)
    assert sum(graph.macs(node) for node in graph.reuse_layers()) == 12 * weights(network)


def test_clips_import() -> None:
    network = C3d(4, width=2)
    data = export(network, {"clip": torch.zeros(1, 3, 16, 112, 112)}, ["scores"])
    graph = import_model(read_model(data))
    counted = macs(network, 1, 3, 16, 112, 112)
    assert sum(graph.macs(node) for node in graph.reuse_layers()) == counted


def test_steps_of_the_gru_are_its_sequence() -> None:
    """It is trained on whole strings and run step by step."""
    network = StreamingGru(units=16).eval()
    features = torch.randn(5, 1, 120)
    with torch.no_grad():
        whole, _ = network(features, network.start())
        state, steps = network.start(), []
        for step in features:
            scores, state = network(step[None], state)
            steps.append(scores[0].numpy())
    np.testing.assert_allclose(np.stack(steps), whole.numpy(), atol=1e-5)

"""Gradients are those of PyTorch, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from mquans.baselines.ort_engine import open_session
from mquans.calibration.gradients import gradient_graph
from mquans.calibration.unrolling import unroll
from mquans.graph import RecurrenceKind
from mquans.onnx import import_model, read_model, to_onnx

from .recurrent_networks import CLASSES, FEATURES, HIDDEN, recurrent

GATE_ORDER: dict[RecurrenceKind, tuple[int, ...]] = {
    "lstm": (0, 2, 3, 1),
    "gru": (1, 0, 2),
    "rnn": (0,),
}
"""Torch's gates (lstm i, f, g, o; gru r, z, n) as indices of ONNX's (i, o, f, c; z, r, h)."""


def test_gradient_of_a_network_is_that_of_torch() -> None:
    """An opinion from outside on convolutions, pools, normalisation and activations in a row."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    torch.manual_seed(1)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
        torch.nn.BatchNorm2d(8),
        torch.nn.SiLU(),
        torch.nn.MaxPool2d(3, stride=1, padding=1),
        torch.nn.Conv2d(8, 8, 3, padding=1, groups=8),
        torch.nn.Hardswish(),
        torch.nn.ConvTranspose2d(8, 4, 2, stride=2),
        torch.nn.ReLU(),
        torch.nn.AvgPool2d(2),
        torch.nn.Upsample(scale_factor=2, mode="bilinear"),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 16 * 16, 12),
        torch.nn.LayerNorm(12),
        torch.nn.GELU(),
        torch.nn.Softmax(1),
    ).eval()
    x = torch.randn(1, 3, 16, 16, requires_grad=True)
    v = torch.randn(1, 12)
    (module(x) * v).sum().backward()

    graph = import_model(read_model(module, example=x.detach()))
    [name] = graph.inputs
    made = gradient_graph(graph, layers=(), values=(name,))
    [cotangent] = made.cotangents.values()
    model = to_onnx(made.tape.graph, outputs=[made.values[name]]).SerializeToString()
    feeds = {name: x.detach().numpy(), cotangent: v.numpy()}
    [found] = open_session(model, model_name="gradient").run(None, feeds)
    expected = x.grad.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_gradient_through_time_is_that_of_torch(kind: RecurrenceKind) -> None:
    """An opinion from outside on states, gates and their order."""
    torch = pytest.importorskip("torch")
    steps, hidden, order = 6, HIDDEN, GATE_ORDER[kind]
    graph = recurrent(kind, steps=steps, bias=True, reset_after=kind == "gru", states=False)
    weights = graph.constants
    layer = getattr(torch.nn, kind.upper())(FEATURES, hidden)
    rows = np.concatenate([np.arange(hidden) + gate * hidden for gate in order])
    with torch.no_grad():
        for name, array in (
            ("weight_ih_l0", weights["W"].T),
            ("weight_hh_l0", weights["R"].T),
            ("bias_ih_l0", weights["b"]),
            ("bias_hh_l0", weights["Rb"]),
        ):
            getattr(layer, name).copy_(torch.from_numpy(array[rows].copy()))
    x = torch.randn(steps, 1, FEATURES, requires_grad=True)
    v = torch.randn(steps, 1, CLASSES)
    (layer(x)[0] @ torch.from_numpy(weights["V"].copy()) * v).sum().backward()

    made = gradient_graph(unroll(graph, {}).graph, layers=(), values=("x",))
    [cotangent] = made.cotangents.values()
    model = to_onnx(made.tape.graph, outputs=[made.values["x"]]).SerializeToString()
    feeds = {"x": x.detach().numpy(), cotangent: v.numpy()}
    [found] = open_session(model, model_name="gradient").run(None, feeds)
    np.testing.assert_allclose(found, x.grad.numpy(), atol=1e-5)

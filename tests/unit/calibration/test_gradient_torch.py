"""Gradients are those of PyTorch, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from mquans.baselines.ort_engine import open_session
from mquans.calibration.gradients import gradient_graph
from mquans.importers import import_model, read_model, to_onnx


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

"""People who train in PyTorch hand over the module itself."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from mquans.errors import DependencyError, ModelError
from mquans.onnx import import_model, read_model
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .conftest import relative_error


class Module:
    """Looks like a torch.nn.Module without torch."""

    def state_dict(self) -> None: ...

    def forward(self) -> None: ...


def test_without_torch_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyError, match=r"torch.*pip install"):
        read_model(Module(), example=object())


def test_a_module_is_exported_and_imports_with_the_same_outputs() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    torch.manual_seed(1)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
        torch.nn.BatchNorm2d(8),
        torch.nn.SiLU(),
        torch.nn.Conv2d(8, 8, 3, padding=1, groups=8),
        torch.nn.Hardswish(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 5),
        torch.nn.GELU(),
    )
    module.train()
    example = torch.randn(1, 3, 16, 16)
    graph = import_model(read_model(module, example=example))
    assert module.training
    expected = module.eval()(example).detach().numpy()
    (name,) = graph.inputs
    (found,) = ReferenceNetwork(graph).run({name: example.numpy()}).values()
    assert relative_error(found, expected) < 1e-10
    assert [type(node.op).__name__ for node in graph.reuse_layers()] == ["Conv", "Conv", "Linear"]


def test_without_an_example_it_is_asked_for() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    with pytest.raises(ModelError, match="example"):
        read_model(torch.nn.Linear(2, 2))


def test_what_stops_torch_is_said_in_a_line() -> None:
    """Its own message has tables, stacks and advice on debugging torch."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")

    class Undecided(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x.relu() if x.sum() > 0 else x

    with pytest.raises(ModelError, match="data-dependent") as raised:
        read_model(Undecided(), example=torch.zeros(2, 2))
    assert len(str(raised.value).splitlines()) == 1

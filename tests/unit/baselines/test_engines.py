"""If these break, comparisons are made with engines that compute something else, or are slowed
down by how they are called."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import onnx
import pytest

from mquans.baselines import ENGINES, Engine, open_engine
from mquans.baselines.fixed_model import fixed_model
from mquans.errors import DependencyError, ModelError, MquansError
from mquans.onnx.model_file import ModelFile
from mquans.plan import NetworkOptions

SHAPES = {"x": (1, 3, 8, 8), "gain": (1, 4, 1, 1)}
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None


def cpu_has_bf16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ENGINES)
def test_engine_computes_the_network(
    name: str, threads: int, model: ModelFile, feeds: list[Any], expected: list[Any]
) -> None:
    if name.startswith("openvino") and not HAS_OPENVINO:
        pytest.skip("openvino is not installed")
    if name.endswith("bf16") and not cpu_has_bf16():
        pytest.skip("this CPU has no bf16")
    engine = open_engine(name, model, NetworkOptions(SHAPES), threads=threads, calibration=feeds)
    assert isinstance(engine, Engine)
    assert (engine.name, engine.threads) == (name, threads)
    assert f"{threads} threads" in engine.description
    outputs = [engine.step(feed) for feed in feeds]
    precision = name.split("-")[1] if "-" in name else "fp32"
    tolerance = {"fp32": 1e-5, "bf16": 0.03, "int8": 0.06}[precision]
    for made, right in zip(outputs, expected, strict=True):
        assert list(made) == ["y", "features"]
        for key, value in made.items():
            assert value.dtype == np.float32
            error = np.linalg.norm(value - right[key]) / np.linalg.norm(right[key])
            assert error < tolerance


@pytest.mark.parametrize("name", ["ort-fp32", "openvino-fp32"])
def test_outputs_are_kept_when_the_next_frame_is_computed(
    name: str, model: ModelFile, feeds: list[Any]
) -> None:
    if name.startswith("openvino") and not HAS_OPENVINO:
        pytest.skip("openvino is not installed")
    engine = open_engine(name, model, NetworkOptions(SHAPES))
    first = engine.step(feeds[0])["y"]
    copy = first.copy()
    engine.step(feeds[1])
    assert np.array_equal(first, copy)


def test_weights_listed_as_inputs_become_constants(model: ModelFile) -> None:
    """Engines cannot fold them otherwise: onnxruntime ran one real face detector three times slower
    than it can."""
    fixed = onnx.load_model_from_string(fixed_model(model, NetworkOptions(SHAPES))[0])
    assert [value.name for value in fixed.graph.input] == ["x", "gain"]
    assert len(fixed.graph.initializer) == 5
    onnx.checker.check_model(fixed, full_check=True)


def test_declared_shapes_give_way(model: ModelFile) -> None:
    fixed = onnx.load_model_from_string(fixed_model(model, NetworkOptions(SHAPES))[0])
    dims = [dim.dim_value for dim in fixed.graph.input[0].type.tensor_type.shape.dim]
    assert dims == [1, 3, 8, 8]
    assert not fixed.graph.value_info
    for value in fixed.graph.output:
        assert [dim.WhichOneof("value") for dim in value.type.tensor_type.shape.dim] == [None] * 4


def test_shapes_must_be_those_of_the_inputs(model: ModelFile) -> None:
    with pytest.raises(ModelError, match=r"shapes were given for \['x'\], but the inputs are"):
        open_engine("ort-fp32", model, NetworkOptions({"x": (1, 3, 8, 8)}))


def test_unknown_engine_gets_the_list() -> None:
    with pytest.raises(MquansError, match="Engines are: ort-fp32, ort-int8"):
        open_engine("tensorrt", None, NetworkOptions({}))  # type: ignore[arg-type]


def test_engine_needs_a_thread(model: ModelFile) -> None:
    with pytest.raises(MquansError, match="at least 1 thread"):
        open_engine("ort-fp32", model, NetworkOptions(SHAPES), threads=0)


@pytest.mark.parametrize("name", ["ort-fp32", "openvino-fp32"])
def test_shape_that_does_not_fit_names_the_model(name: str, model: ModelFile) -> None:
    """Engines differ in when they notice; both must say it in one sentence."""
    if name.startswith("openvino") and not HAS_OPENVINO:
        pytest.skip("openvino is not installed")
    shapes = {"x": (1, 5, 8, 8), "gain": (1, 4, 1, 1)}
    feed = {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}
    with pytest.raises(ModelError, match=r"model 'small': \w+ cannot (load|run) it: "):
        open_engine(name, model, NetworkOptions(shapes)).step(feed)
    with pytest.raises(ModelError, match=r"model 'small': \w+ cannot run it: "):
        open_engine(name, model, NetworkOptions(SHAPES)).step(feed)


def test_missing_openvino_names_the_command(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r'pip install "mquans\[openvino\]"'):
        open_engine("openvino-fp32", model, NetworkOptions(SHAPES))


@pytest.mark.skipif(not HAS_OPENVINO, reason="openvino is not installed")
def test_bf16_is_not_faked_where_the_cpu_lacks_it(model: ModelFile) -> None:
    """OpenVINO would silently compute in fp32, and the table would show it as bf16."""
    if cpu_has_bf16():
        pytest.skip("this CPU has bf16")
    with pytest.raises(MquansError, match="no bf16 instructions"):
        open_engine("openvino-bf16", model, NetworkOptions(SHAPES))

"""A broken or unknown file must be refused with a sentence that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from mquans.errors import ModelError
from mquans.onnx import ModelFile, declared_inputs, declared_outputs, import_model, read_model

from .conftest import NEWEST, build, op, values


@pytest.fixture
def model() -> onnx.ModelProto:
    return build([op("MatMul", "x w", "y")], {"x": ("n", 4)}, ["y"], {"w": values(1, 4, 3)})


def test_path_bytes_and_proto_are_the_same_model(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    from_path, from_text = read_model(path), read_model(str(path))
    assert from_path == from_text
    assert from_path.name == "net"
    assert from_path.sha256 == read_model(path.read_bytes()).sha256 == read_model(model).sha256
    assert read_model(from_path) is from_path


def test_declared_shapes(model: onnx.ModelProto) -> None:
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [4, 3])
    )
    file = read_model(model)
    assert declared_inputs(file) == {"x": (None, 4)}
    assert declared_outputs(file) == {"y": ()}


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing\.onnx.*no such file"):
        read_model(tmp_path / "nothing.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        read_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x00" * 100])
def test_what_is_not_onnx_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="not an ONNX model, or the file is cut off"):
        read_model(content)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(model: onnx.ModelProto, share: float) -> None:
    data = model.SerializeToString()
    with pytest.raises(ModelError):
        import_model(read_model(data[: int(len(data) * share)]))


def test_other_objects_are_refused() -> None:
    with pytest.raises(ModelError, match="a dict is not a model"):
        read_model({})


@pytest.mark.parametrize(("opset", "text"), [(6, "opset 7 and newer"), (NEWEST + 1, "Upgrade")])
def test_unknown_opsets_are_refused(opset: int, text: str) -> None:
    model = build([op("Relu", "x", "y")], {"x": (2, 3)}, ["y"], opset=opset)
    with pytest.raises(ModelError, match=text):
        read_model(model)


def external(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    onnx.save_model(
        model, path, save_as_external_data=True, location="net.weights", size_threshold=0
    )
    return path


def test_external_weights_are_read_and_hashed(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = external(model, tmp_path)
    file = read_model(path)
    graph = import_model(file)
    np.testing.assert_array_equal(graph.constants["w"], values(1, 4, 3))
    weights = tmp_path / "net.weights"
    weights.write_bytes(bytes(len(weights.read_bytes())))
    assert read_model(path).sha256 != file.sha256


def test_missing_external_weights_are_named(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = external(model, tmp_path)
    with pytest.raises(ModelError, match=r"net\.weights.*Give the path"):
        read_model(path.read_bytes())
    (tmp_path / "net.weights").unlink()
    with pytest.raises(ModelError, match=r"net\.weights.*missing"):
        read_model(path)


def test_a_node_that_reads_an_unknown_value_is_named() -> None:
    model = build([op("Relu", "ghost", "y")], {"x": (2, 3)}, ["y"])
    with pytest.raises(ModelError, match=r"Relu.*ghost"):
        import_model(read_model(model))


def test_an_output_that_nothing_computes_is_named() -> None:
    model = build([op("Relu", "x", "y")], {"x": (2, 3)}, ["y", "ghost"])
    with pytest.raises(ModelError, match="ghost"):
        import_model(read_model(model))


def test_model_files_are_values() -> None:
    assert ModelFile("a", b"", "0") == ModelFile("a", b"", "0")

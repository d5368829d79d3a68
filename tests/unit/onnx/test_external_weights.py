"""Weights beside a model: all of them belong to it, and a model reads nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from mquans.errors import ModelError
from mquans.onnx import import_model, read_model

from .conftest import build, op, values


def beside(name: str, shape: list[int], **entries: Any) -> TensorProto:
    """A float tensor in a file."""
    tensor = TensorProto(
        name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL
    )
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return tensor


def saved(folder: Path, tensor: TensorProto) -> Path:
    """A model in a folder whose weight is `tensor`."""
    model = build([op("MatMul", "x w", "y")], {"x": (2, 4)}, ["y"])
    model.graph.initializer.append(tensor)
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with weights in it, and a secret beside it."""
    folder = tmp_path / "model"
    (folder / "parts").mkdir(parents=True)
    (folder / "w.bin").write_bytes(values(1, 4, 3).tobytes())
    (folder / "parts" / "w.bin").write_bytes(b"head" + values(1, 4, 3).tobytes() + b"tail")
    (tmp_path / "secret").write_bytes(bytes(48))
    (folder / "link.bin").symlink_to("w.bin")
    (folder / "escape.bin").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "w.bin"},
        {"location": "w.bin", "offset": 0, "length": 48},
        {"location": "parts/w.bin", "offset": 4},
        {"location": "link.bin"},
    ],
)
def test_weights_in_the_folder_are_read(folder: Path, entries: dict[str, Any]) -> None:
    graph = import_model(read_model(saved(folder, beside("w", [4, 3], **entries))))
    np.testing.assert_array_equal(graph.constants["w"], values(1, 4, 3))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "../secret"}, "not a place in the model's folder"),
        ({"location": "parts/../../secret"}, "not a place in the model's folder"),
        ({"location": "..\\secret"}, "not a place in the model's folder"),
        ({"location": "/dev/zero"}, "not a place in the model's folder"),
        ({"location": "C:\\secret"}, "not a place in the model's folder"),
        ({"location": "a\0b"}, "not a place in the model's folder"),
        ({"location": ""}, "not a place in the model's folder"),
        ({}, "not a place in the model's folder"),
        ({"location": "escape.bin"}, "link that leads out"),
        ({"location": "up/secret"}, "link that leads out"),
        ({"location": "pipe"}, "not a plain file"),
        ({"location": "parts"}, "not a plain file"),
        ({"location": "none.bin"}, "missing"),
        ({"location": "w.bin/x"}, "cannot be read"),
        ({"location": "w.bin", "offset": 8}, "does not hold the 48 bytes"),
        ({"location": "w.bin", "offset": -4}, "does not hold the 48 bytes"),
        ({"location": "w.bin", "length": 12}, "does not hold the 48 bytes"),
        ({"location": "w.bin", "offset": "x"}, "does not hold the 48 bytes"),
    ],
)
def test_other_places_are_refused_unread(
    folder: Path, entries: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model from elsewhere must not read this machine's files, and must not hang on a pipe."""
    path = saved(folder, beside("w", [4, 3], **entries))
    data = path.read_bytes()
    monkeypatch.setattr("mquans.onnx.model_file.read_limited", lambda *_, **__: data)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("a file was opened"))
    with pytest.raises(ModelError, match=f"tensor 'w'.*{message}"):
        read_model(path)


@pytest.mark.parametrize("shape", [[-4, 3], [1 << 20, 1 << 20]])
def test_shapes_that_cannot_be_are_refused(folder: Path, shape: list[int]) -> None:
    with pytest.raises(ModelError, match=r"tensor 'w'.*(negative sizes|larger than)"):
        read_model(saved(folder, beside("w", shape, location="w.bin")))


def test_a_weight_file_without_end_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading it for the hash would take for ever; a sparse file of terabytes takes no disk."""
    monkeypatch.setenv("MQUANS_LIMITS", "0.001")
    with (folder / "w.bin").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelError, match="MQUANS_LIMITS"):
        read_model(saved(folder, beside("w", [4, 3], location="w.bin")))


def branch(tensor: TensorProto) -> onnx.GraphProto:
    out = onnx.helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    return onnx.helper.make_graph([op("MatMul", "x w", "o")], "branch", [], [out], [tensor])


def in_branch(tensor: TensorProto) -> onnx.ModelProto:
    then = branch(tensor)
    return build(
        [op("If", "c", "y", then_branch=then, else_branch=then)],
        {"x": (2, 4)}, ["y"], {"c": np.array(True)},
    )  # fmt: skip


def in_nested_branch(tensor: TensorProto) -> onnx.ModelProto:
    out = onnx.helper.make_tensor_value_info("p", TensorProto.FLOAT, None)
    inner = op("If", "c", "p", then_branch=branch(tensor), else_branch=branch(tensor))
    outer = onnx.helper.make_graph([inner], "outer", [], [out])
    return build(
        [op("If", "c", "y", then_branch=outer, else_branch=outer)],
        {"x": (2, 4)}, ["y"], {"c": np.array(True)},
    )  # fmt: skip


def in_attribute(tensor: TensorProto) -> onnx.ModelProto:
    return build(
        [op("Constant", "", "w", value=tensor), op("MatMul", "x w", "y")], {"x": (2, 4)}, ["y"]
    )


def in_function(tensor: TensorProto) -> onnx.ModelProto:
    opsets = [onnx.helper.make_opsetid("", 17)]
    nodes = [op("Constant", "", "w", value=tensor), op("MatMul", "a w", "b")]
    model = build([op("Product", "x", "y", domain="own")], {"x": (2, 4)}, ["y"])
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    model.functions.append(onnx.helper.make_function("own", "Product", ["a"], ["b"], nodes, opsets))
    return model


@pytest.mark.parametrize("place", [in_branch, in_nested_branch, in_attribute, in_function])
def test_weights_anywhere_in_a_model_belong_to_its_hash(folder: Path, place: Any) -> None:
    """Else a plan and saved streams are taken for a model that has other weights by now."""
    path = folder / "net.onnx"
    path.write_bytes(place(beside("w", [4, 3], location="w.bin")).SerializeToString())
    file = read_model(path)
    weights = import_model(file).constants.values()
    assert any(np.array_equal(array, values(1, 4, 3)) for array in weights)
    (folder / "w.bin").write_bytes(values(2, 4, 3).tobytes())
    assert read_model(path).sha256 != file.sha256

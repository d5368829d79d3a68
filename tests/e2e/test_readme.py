"""The README's quickstart does what it says, word for word but for the camera."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ..clips import write_clip
from .conftest import Run

README = (Path(__file__).parents[2] / "README.md").read_text()
QUICKSTART = README[README.index("## Quickstart") : README.index("## Measured")]
CAMERA = "rtsp://camera/stream"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With model.onnx, which takes pictures as `images`, and clip.mp4."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(0, 0.3, (4, 3, 3, 3)), "v": rng.normal(0, 0.3, (2, 4, 1, 1))}
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["a"], "stem", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["y"], "head"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 48])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 32, 48])],
        [
            numpy_helper.from_array(array.astype(np.float32), name)
            for name, array in weights.items()
        ],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(
        helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "model.onnx"
    )
    scene = rng.integers(60, 120, (32, 48, 3), np.uint8)
    pictures = [scene.copy() for _ in range(60)]
    for index, picture in enumerate(pictures):
        picture[8:20, index % 36 : index % 36 + 10] = 230
    write_clip(tmp_path / "clip.mp4", pictures, codec="mpeg4", pixels="yuv420p")
    return tmp_path


def block(kind: str) -> str:
    found = re.search(rf"^```{kind}\n(.*?)^```", QUICKSTART, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1].replace(CAMERA, "clip.mp4")


def test_commands(mquans: Run, folder: Path) -> None:
    lines = [shlex.split(line, comments=True) for line in block("").splitlines()]
    assert [words[1] for words in lines] == ["inspect", "calibrate", "compare", "verify", "run"]
    for words in lines:
        done = mquans(*words[1:])
        assert done.returncode == 0, done.stderr


def test_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names = {"x": np.zeros((1, 3, 32, 48), np.float32)}
    exec(block("python"), names)
    assert (folder / "model.plan.json").is_file()
    assert set(names["outputs"]) == {"y"}  # type: ignore[call-overload]

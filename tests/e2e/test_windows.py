"""A network that sees movement, from clips to its outputs, through the shell."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from .conftest import Run, one_sentence, only_json

av = pytest.importorskip("av")

PICTURES = 30


@pytest.fixture(scope="session")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolution and pooling over windows of any number of pictures, as C3D; 4 scores."""
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        values = rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
        return numpy_helper.from_array(values.astype(np.float32), name)

    conv = {"kernel_shape": [3, 3, 3], "pads": [1] * 6}
    nodes = [
        helper.make_node("Conv", ["clip", "w"], ["a"], **conv),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
        helper.make_node("Conv", ["c", "v"], ["d"], **conv),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["scores"]),
    ]
    shapes = {"clip": [1, 3, "T", 24, 32], "scores": [1, 4]}
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    }
    graph = helper.make_graph(
        nodes, "watcher", [values["clip"]], [values["scores"]],
        [weight("w", 8, 3, 3, 3, 3), weight("v", 4, 8, 3, 3, 3)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("watcher") / "watcher.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two equal videos of a square that moves, and one of 3 pictures in a folder of its own."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "short").mkdir()
    for name, count in (("1.mkv", PICTURES), ("2.mkv", PICTURES), ("short/3.mkv", 3)):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("ffv1", rate=Fraction(10))
            stream.height, stream.width, stream.pix_fmt = 48, 64, "bgr0"
            for t in range(count):
                picture = np.full((48, 64, 3), 90, np.uint8)
                picture[10:30, t : t + 20] = 200
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return folder


def test_windows_are_said_once_when_calibrating(
    mquans: Run, watcher: Path, clips: Path, tmp_path: Path
) -> None:
    """Every later command stacks the same pictures, clip after clip."""
    windows = ("--window", 8, "--hop", 2, "--scale", "1/255")
    made = mquans("calibrate", watcher, "--source", clips, *windows, "-o", "p.json")
    assert made.returncode == 0, made.stderr
    assert "windows of 8, 2 from one to the next, as 'clip' [1, 3, 8, 24, 32]" in made.stdout
    known = (watcher, "--plan", "p.json", "--source", f"{clips}/*.mkv", "--json")
    ran = mquans("run", *known, "--output", "out.npz")
    assert ran.returncode == 0, ran.stderr
    each = (PICTURES - 8) // 2 + 1
    assert only_json(ran)["frames"] == 2 * each
    assert only_json(mquans("verify", *known))["exact"]
    compared = only_json(mquans("compare", *known))
    assert compared["agreement"]["rel_sq_mean"] < 1e-3
    assert compared["macs_done"] < compared["macs_total"]
    with np.load(tmp_path / "out.npz") as outputs:
        assert len(outputs["scores"]) == 2 * each


def test_what_cannot_be_stacked_is_said(mquans: Run, watcher: Path, clips: Path) -> None:
    """One sentence each: an open number of pictures, too few of them."""
    open_number = mquans("calibrate", watcher, "--source", clips / "1.mkv", "-o", "p.json")
    assert "--window N" in one_sentence(open_number)
    short = mquans("calibrate", watcher, "--source", clips / "short", "--window", 8, "-o", "p.json")
    assert "3.mkv: holds 3 pictures, fewer than a window of 8" in one_sentence(short)

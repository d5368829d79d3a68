"""What users meet at the door: options, errors in words, and the face of onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

pytest.importorskip("mquans._native")

from mquans.calibration import calibrate
from mquans.errors import FrameError, MquansError, PlanError
from mquans.onnx import read_model
from mquans.plan import LayerPlan, Plan
from mquans.plan.schema import Provenance
from mquans.runtime.session import Session, available_isas, choose_isa

from ...spots import picture, write_model, write_plan


def model() -> bytes:
    """x [1, 2, 4, 4] -> two 1x1 convolutions -> y, with a branch -> z."""
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    weights = {"w": np.ones((3, 2, 1, 1), np.float32), "v": np.ones((1, 3, 1, 1), np.float32)}
    graph = onnx.helper.make_graph(
        [
            make("Conv", ["x", "w"], ["h"], name="first"),
            make("Conv", ["h", "v"], ["y"], name="second"),
            make("Relu", ["h"], ["z"]),
        ],
        "net",
        [info("x", 1, [1, 2, 4, 4])],
        [info("y", 1, [1, 1, 4, 4]), info("z", 1, [1, 3, 4, 4])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    return bytes(
        onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )


def plan(**changes: object) -> Plan:
    fields = {
        "model": "net.onnx",
        "model_sha256": read_model(model()).sha256,
        "input_shapes": {"x": (1, 2, 4, 4)},
        "layers": (
            LayerPlan(name="first", delta=2.0**-12, bits=12, weight_bits=16),
            LayerPlan(name="second", delta=2.0**-11, bits=12, weight_bits=16),
        ),
        "provenance": Provenance(mquans="0", sources=(), frames=0, created="2020-01-01T00:00:00Z"),
    }
    return Plan(**fields | changes)  # type: ignore[arg-type]


def frame(value: float = 0.5) -> np.ndarray:
    return np.full((1, 2, 4, 4), value, np.float32)


def test_a_session_is_made_of_files_too(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(model())
    plan().save(tmp_path / "net.plan.json")
    session = Session(tmp_path / "net.onnx", tmp_path / "net.plan.json")
    with session.stream() as stream:
        outputs = stream.step(frame())
    np.testing.assert_allclose(outputs["y"], 3.0, rtol=1e-3)
    np.testing.assert_allclose(outputs["z"], 1.0, rtol=1e-3)
    assert session.weights_bytes > 0


def test_other_plans_and_outputs_do_not_read_the_model_again(tmp_path: Path) -> None:
    """Calibration tries hundreds of plans, and a file may have changed or gone by then."""
    path = tmp_path / "model.onnx"
    path.write_bytes(model())
    session = Session(path, plan())
    path.unlink()
    other = session.with_plan(plan())
    assert other.graph is session.graph
    (value,) = (node.outputs[0] for node in session.graph.nodes[:1])
    assert value in session.exposing([value]).stream().step(frame())


def test_it_looks_like_an_onnxruntime_session() -> None:
    session = Session(model(), plan())
    assert [(x.name, x.shape, x.type) for x in session.get_inputs()] == [
        ("x", [1, 2, 4, 4], "tensor(float)")
    ]
    assert [y.name for y in session.get_outputs()] == ["y", "z"]
    both = session.run(None, {"x": frame()})
    [z] = session.run(["z"], {"x": frame()})
    assert [array.shape for array in both] == [(1, 1, 4, 4), (1, 3, 4, 4)]
    np.testing.assert_array_equal(z, both[1])
    with pytest.raises(FrameError, match=r"no output 'q'.*y, z"):
        session.run(["q"], {"x": frame()})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads must be a whole number from 1"),
        ({"threads": 2**40}, "threads must be a whole number from 1"),
        ({"threads": 1.5}, "threads must be a whole number from 1"),
        ({"isa": "mmx"}, "Choose one of: scalar"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(MquansError, match=message):
        Session(model(), plan(), **options)  # type: ignore[arg-type]


def test_the_instruction_set_can_be_chosen_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQUANS_ISA", "scalar")
    assert Session(model(), plan()).isa == "scalar"
    assert choose_isa(available_isas()[-1]) == available_isas()[-1]
    monkeypatch.delenv("MQUANS_ISA")
    assert choose_isa(None) == available_isas()[-1]


def test_a_plan_for_another_model_is_refused() -> None:
    with pytest.raises(PlanError, match="another model"):
        Session(model(), plan(model_sha256="0" * 64))


def test_a_plan_for_a_model_with_other_inputs_names_the_model() -> None:
    """The model is told before what the plan wants of it, which only confuses."""
    for wanted in (
        {"constants": {"sr": 16000.0}},
        {"feedback": {"h": "hn"}},
        {"carry_state": True},
    ):
        with pytest.raises(PlanError, match="another model"):
            Session(model(), plan(model_sha256="ab" * 32, **wanted))


def test_an_input_of_integers_comes_with_frames_or_is_constant() -> None:
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [make("Cast", ["rate"], ["r"], to=1), make("Mul", ["x", "r"], ["y"])]
    graph = onnx.helper.make_graph(
        nodes, "net", [info("x", 1, [1, 2]), info("rate", 7, [])], [info("y", 1, [1, 2])]
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    file = read_model(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8))
    common = {"model_sha256": file.sha256, "layers": ()}
    x = np.ones((1, 2), np.float32)
    session = Session(file, plan(input_shapes={"x": (1, 2), "rate": ()}, **common))
    np.testing.assert_array_equal(session.run(["y"], {"x": x, "rate": np.array(5)})[0], 5 * x)
    session = Session(file, plan(input_shapes={"x": (1, 2)}, constants={"rate": 3.0}, **common))
    for rate in ({}, {"rate": np.array(3)}):
        np.testing.assert_array_equal(session.run(["y"], {"x": x, **rate})[0], 3 * x)
    with pytest.raises(FrameError, match="'rate': the plan was made for 3 only"):
        session.run(None, {"x": x, "rate": np.array(4)})


@pytest.mark.parametrize(
    "outputs",
    [
        ["v", "y"],
        ["y", "z", "w", "y", "w"],
        ["x", "y", "x"],
        ["z", "k", "k"],
    ],
)
def test_outputs_that_are_weights_inputs_or_repeated_are_as_onnxruntime_gives_them(
    outputs: list[str],
) -> None:
    """Exporters list anchors, strides and what a network was fed among its outputs."""
    proto = onnx.load_model_from_string(model())
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.arange(3), "k"))
    given = plan(model_sha256=read_model(proto).sha256)
    if "y" not in outputs:
        given = plan(model_sha256=read_model(proto).sha256, layers=given.layers[:1])
    session = Session(proto, given)
    dense = onnxruntime.InferenceSession(proto.SerializeToString())
    assert [y.name for y in session.get_outputs()] == [y.name for y in dense.get_outputs()]
    for value in (0.5, 0.25):
        feed = {"x": frame(value)}
        for found, expected in zip(session.run(None, feed), dense.run(None, feed), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert session.stream().check() is None


def test_layers_are_asked_for_by_name() -> None:
    stream = Session(model(), plan()).stream()
    stream.step(frame())
    held, accumulators = stream.layer_state("second")
    assert (held.shape, accumulators.shape) == ((4, 4, 3), (4, 4, 1))
    for ask in (stream.layer_state, stream.change_map, lambda name: stream.flip_bit(name, 0, 0)):
        with pytest.raises(MquansError, match="no reuse layer named 'third'"):
            ask("third")


def test_a_closed_stream_says_so() -> None:
    stream = Session(model(), plan()).stream()
    with stream:
        stream.step(frame())
    for use in (lambda: stream.step(frame()), stream.save, stream.clone, stream.check):
        with pytest.raises(MquansError, match="closed"):
            use()
    stream.close()


def test_memory_of_a_stream_is_told() -> None:
    stream = Session(model(), plan()).stream()
    # At least the held values (int16) and accumulators (int32) of both layers.
    assert stream.state_bytes >= 16 * (2 * (2 + 3) + 4 * (3 + 1))


def test_profiling_names_the_layers() -> None:
    stream = Session(model(), plan()).stream()
    assert stream.profile is None
    stream.profile = True
    stream.step(frame())
    assert stream.profile is not None
    assert {"first", "second"} <= stream.profile.keys()
    assert sum(stream.profile.values()) > 0


def test_time_per_layer_is_told_on_request() -> None:
    """Per frame, not since the start; and reading clocks costs those nothing who do not ask."""
    stream = Session(model(), plan()).stream()
    stream.step(frame())
    assert [layer.time_ms for layer in stream.stats.layers] == [None, None]
    stream.profile = True
    spent = np.zeros(2)
    for _ in range(3):
        stream.step(frame())
        spent += [layer.time_ms or 0.0 for layer in stream.stats.layers]
    assert (spent > 0).all()
    total = stream.profile
    assert total is not None
    np.testing.assert_allclose(spent, [total["first"], total["second"]])
    stream.profile = False
    stream.step(frame())
    assert [layer.time_ms for layer in stream.stats.layers] == [None, None]


@pytest.mark.parametrize("by_site", [False, True])
def test_work_in_sums_is_that_of_all_layers(by_site: bool, tmp_path: Path) -> None:
    """A page that shows reuse must not show another number than a report."""
    if by_site:
        network = write_model(tmp_path / "spots.onnx")
        session = Session(network, write_plan(network, tmp_path / "spots.plan.json"))
        frames = [picture(place).transpose(2, 0, 1)[None] for place in (0, 0, 8)]
    else:
        session, frames = Session(model(), plan()), [frame(), frame(), frame()]
        frames[2][..., 0] = 0.7
    reuse = []
    with session.stream() as stream:
        for one in frames:
            stream.step(one)
            work, stats = stream.work, stream.stats
            assert work.reuse == pytest.approx(stats.computation_reuse)
            assert work.input_similarity == pytest.approx(stats.layers[0].similarity)
            reuse.append(work.reuse)
    assert reuse[0] == 0
    assert reuse[1] == 1
    assert 0 < reuse[2] < 1


def test_streams_share_what_never_changes() -> None:
    """Matrices of floats were copied into every stream: 28 MiB of each that heard with wav2vec2."""
    rng = np.random.default_rng(0)
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    weight = onnx.numpy_helper.from_array(rng.normal(size=(2, 300, 400)).astype(np.float32), "w")
    graph = onnx.helper.make_graph(
        [make("MatMul", ["x", "w"], ["y"])],
        "net", [info("x", 1, [2, 8, 300])], [info("y", 1, [2, 8, 400])], [weight],
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", 17)]
    file = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    frames = rng.normal(size=(4, 2, 8, 300)).astype(np.float32)
    session = Session(file, calibrate(file, [{"x": frame} for frame in frames], bits=8))
    matrix = 4 * 2 * 300 * 400
    assert session.weights_bytes >= matrix
    streams = [session.stream(), session.stream()]
    for frame in frames:
        expected = frame.astype(np.float64) @ onnx.numpy_helper.to_array(weight)
        for stream in streams:
            np.testing.assert_allclose(stream.step(frame)["y"], expected, rtol=1e-3, atol=1e-3)
    assert streams[0].state_bytes < matrix / 4


@pytest.mark.parametrize(("layer", "other"), [("a", "b"), ("b", "a")])
def test_layers_read_any_output_of_a_fallback_subgraph(layer: str, other: str) -> None:
    """A subgraph of several operators gives several values, not all of which layers read."""
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        several (float[1,3,8,9] x) => (float[1,4,8,9] y, float[1,3,8,9] z)
        {{ across = Constant<value = int64 {{3}}>()
           a = CumSum(x, across)
           b = CumSum(a, across)
           y = Conv({layer}, w)
           z = Sqrt({other}) }}""")
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 3, 1, 1)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    frames = [rng.random(size=(1, 3, 8, 9)).astype(np.float32) for _ in range(6)]
    data = model.SerializeToString()
    stream = Session(data, calibrate(data, frames, bits=12)).stream()
    for x in frames:
        values = {"a": x.cumsum(axis=3), "b": x.cumsum(axis=3).cumsum(axis=3)}
        expected = np.einsum("bchw,oc->bohw", values[layer], weights[:, :, 0, 0])
        found = stream.step(x)
        assert np.square(found["y"] - expected).sum() < 1e-4 * np.square(expected).sum()
        np.testing.assert_allclose(found["z"], np.sqrt(values[other]), rtol=1e-5)

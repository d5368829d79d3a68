"""Networks that find another number of things in every frame."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mquans
from mquans.baselines import open_reference
from mquans.calibration import calibrate_fully
from mquans.cli.main import run
from mquans.errors import MetricError, MquansError
from mquans.evaluate import compare as compare_engines
from mquans.evaluate.work_map import WorkMap
from mquans.metrics import DetectionLoss, RegressionLoss
from mquans.metrics.agreement import AgreementMeter
from mquans.metrics.scored import inner_values, scored
from mquans.onnx import import_model, read_model
from mquans.plan import Plan

IN_FRONT = {"nms": ("boxes", "scores"), "nonzero": ("above",)}
"""The last values of a known size, by network."""

BUDGET = {"nms": 0.01, "nonzero": 0.1}


def network(*outputs: str) -> bytes:
    """A convolution, of whose result NonZero lists the places above a threshold."""
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(0, 0.3, (2, 3, 3, 3)).astype(np.float32), "t": np.float32(0.3)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], "conv"),
        helper.make_node("Greater", ["y", "t"], ["above"]),
        helper.make_node("NonZero", ["above"], ["places"]),
    ]
    types = {"places": TensorProto.INT64, "y": TensorProto.FLOAT}
    return _model(nodes, constants, {name: types[name] for name in outputs})


def detector() -> bytes:
    """A head of one convolution, NonMaxSuppression over its boxes, and the boxes that are left."""
    rng = np.random.default_rng(2)
    down, right = np.indices((8, 10)).reshape(2, -1)
    corners = np.stack([down, right, down + 2, right + 2], axis=1)
    constants = {
        "w": rng.normal(0, 0.3, (5, 3, 3, 3)).astype(np.float32),
        "cells": corners[None].astype(np.float32),
        "flat": np.array([1, 5, 80]), "sizes": np.array([4, 1]),
        "most": np.array([40]), "iou": np.float32(0.2), "least": np.float32(0.6),
        "picked_at": np.array([2]), "axis": np.array([1]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["head"], "conv", pads=[1] * 4),
        helper.make_node("Reshape", ["head", "flat"], ["rows"]),
        helper.make_node("Split", ["rows", "sizes"], ["shifts", "logits"], axis=1),
        helper.make_node("Transpose", ["shifts"], ["shifts_last"], perm=[0, 2, 1]),
        helper.make_node("Add", ["shifts_last", "cells"], ["boxes"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["all"]),
        helper.make_node("Gather", ["all", "picked_at"], ["column"], axis=1),
        helper.make_node("Squeeze", ["column", "axis"], ["picked"]),
        helper.make_node("Gather", ["boxes", "picked"], ["found"], axis=1),
        helper.make_node("Gather", ["scores", "picked"], ["confidence"], axis=2),
    ]
    outputs = dict.fromkeys(("found", "confidence"), TensorProto.FLOAT)
    return _model(nodes, constants, outputs)


def _model(nodes: list[Any], constants: dict[str, Any], outputs: dict[str, int]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "ragged",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 10])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def ragged(kind: str) -> bytes:
    return detector() if kind == "nms" else network("places")


def frames() -> list[Any]:
    """A picture with a little noise, of which a corner walks."""
    rng = np.random.default_rng(1)
    shape = (24, 1, 3, 8, 10)
    walk = np.broadcast_to(rng.normal(0, 1, shape[1:]), shape) + rng.normal(0, 0.03, shape)
    walk[..., :4, :5] += np.cumsum(rng.normal(0, 0.3, (24, 1, 3, 4, 5)), axis=0)
    return list(np.sin(walk).astype(np.float32))


def decode(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Boxes of the detector, as a user of its file would."""
    assert list(outputs) == ["found", "confidence"]
    corners = outputs["found"][0][:, [1, 0, 3, 2]]
    return np.concatenate([corners, outputs["confidence"][0, 0][:, None]], axis=1)


both = pytest.mark.parametrize("kind", IN_FRONT)


def test_outputs_of_one_shape_speak_for_the_network() -> None:
    """The number of places says nothing that their values do not."""
    model = read_model(network("y", "places"))
    plan = mquans.calibrate(model, frames(), bits=10)
    result = mquans.compare(model, plan, frames())
    assert 0 < result.agreement["mquans"].loss_p95 < 0.01
    assert result.inner_values == ()
    counts = {done.outputs["places"].shape[1] for done in mquans.replay(session(plan), frames())
              if done.outputs is not None}  # fmt: skip
    assert len(counts) > 3


def session(plan: Plan) -> mquans.Session:
    return mquans.Session(read_model(network("y", "places")), plan)


@both
def test_a_loss_is_taken_of_the_last_values_of_a_known_size(kind: str) -> None:
    """What onnxruntime finds in them is no better or worse than they are."""
    model = read_model(ragged(kind))
    assert inner_values(import_model(model), {}) == IN_FRONT[kind]
    result = calibrate_fully(model, frames(), max_loss=BUDGET[kind], stress=False)
    assert result.reached
    assert 0 < result.measured.loss <= BUDGET[kind] < result.frozen_loss
    assert result.as_dict()["inner_values"] == list(IN_FRONT[kind])
    assert result.measured.work.macs_fraction < 0.7
    compared = mquans.compare(model, result.plan, frames(), engines=["ort-int8"])
    assert compared.as_dict()["inner_values"] == list(IN_FRONT[kind])
    assert 0 < compared.agreement["mquans"].loss_p95 < 3 * BUDGET[kind]
    assert "ort-int8" not in compared.agreement  # it only has outputs
    assert mquans.verify(model, result.plan, frames()).exact


def test_criticality_sees_the_values_in_front() -> None:
    """Gradients begin where the loss is taken."""
    result = calibrate_fully(detector(), frames(), max_loss=0.1, stress=False, criticality="fisher")
    assert result.reached
    assert (result.stages.criticality["conv"] > 0).all()


def recurrent() -> bytes:
    """A layer whose results go on as a state, and the places where they are positive."""
    rng = np.random.default_rng(3)
    constants = {
        "w": rng.normal(0, 0.3, (12, 16)).astype(np.float32),
        "u": rng.normal(0, 0.3, (16, 16)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["from_x"], "layer"),
        helper.make_node("MatMul", ["h", "u"], ["from_h"], "state"),
        helper.make_node("Add", ["from_x", "from_h"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["hn"]),
        helper.make_node("Relu", ["hn"], ["positive"]),
        helper.make_node("NonZero", ["positive"], ["places"]),
    ]
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
            for name, size in (("x", 12), ("h", 16))
        ],
        [
            helper.make_tensor_value_info("hn", TensorProto.FLOAT, [1, 16]),
            helper.make_tensor_value_info("places", TensorProto.INT64, None),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_states_do_not_speak_for_what_is_found() -> None:
    """Value by value, with gradients through time, the dense values from the same states."""
    rng = np.random.default_rng(4)
    steps = np.cumsum(rng.normal(0, 0.1, (64, 1, 12)), axis=0)
    clip = [{"x": x} for x in np.sin(steps).astype(np.float32)]
    model, feedback = recurrent(), {"h": "hn"}
    result = calibrate_fully(model, clip, max_loss=0.02, feedback=feedback, stress=False)
    assert result.reached
    assert result.measured.inner_values == ("positive",)
    assert mquans.inspect(model, feedback=feedback).coverage.inner_values == ("positive",)
    assert 0 < mquans.compare(model, result.plan, clip).agreement["mquans"].loss_p95 < 0.1
    found = mquans.Session(model, result.plan)
    dense = open_reference(read_model(model), found.graph, found.plan.options)
    with mquans.Guard(found, budget=0.5, every=8, dense=dense.step) as guard:
        for frame in clip:
            assert list(guard.step(frame)) == ["hn", "places"]
    assert 0 < guard.report.worst < 0.5


def test_work_is_drawn_beside_both_networks() -> None:
    """As the demo does: dense outputs, ours, and where work was done, frame by frame."""
    file = read_model(detector())
    found = mquans.Session(file, mquans.calibrate(file, frames(), bits=4))
    work, counts = WorkMap(found.graph, 8, 10), []

    def watch(stream: mquans.Stream, dense: Any, ours: Any) -> None:
        work.add(stream)
        counts.append((len(decode(dense)), len(decode(ours))))

    compare_engines(found, file, frames(), on_frame=watch)
    assert len(set(counts)) > 3
    assert work.total.any()


def test_inspect_says_where_the_loss_is_measured() -> None:
    assert mquans.inspect(detector()).coverage.inner_values == IN_FRONT["nms"]
    assert mquans.inspect(network("y", "places")).coverage.inner_values == ()


def test_a_metric_is_handed_the_outputs_as_they_are() -> None:
    """F1 of boxes by a decoder of the user's own, which knows the outputs of the file."""

    def weigh(outputs: Any) -> Any:
        raise AssertionError("no single value of such outputs can be weighed")

    metric = DetectionLoss(decode, error_weights=weigh)
    result = calibrate_fully(detector(), frames(), max_loss=0.2, metric=metric, stress=False)
    assert result.reached
    assert result.measured.task is not None
    assert 0 <= result.measured.task <= 0.2
    found = mquans.Session(detector(), result.plan)
    dense = open_reference(read_model(detector()), found.graph, found.plan.options).step
    with mquans.Guard(found, budget=1e-9, every=2, metric=metric, dense=dense) as guard:
        for frame in frames():
            assert list(guard.step(frame)) == ["found", "confidence"]
    assert guard.report.violations > 0


def test_a_metric_of_equal_shapes_says_so() -> None:
    """No broadcast error, and no number from arrays that happen to broadcast."""
    with pytest.raises(MetricError, match="needs outputs of equal shapes") as raised:
        mquans.calibrate(detector(), frames(), bits=4, metric=RegressionLoss())
    assert "output 'found'" in str(raised.value)

    def difference(outputs: Any, dense: Any, label: Any) -> float:
        return float(np.abs(outputs["found"] - dense["found"]).max())

    with pytest.raises(MetricError, match=r"failed with ValueError.*here output 'found' is of"):
        mquans.calibrate(detector(), frames(), bits=4, metric=difference)


@both
@pytest.mark.parametrize("dense", [False, True])
def test_a_guard_watches_the_values_in_front(kind: str, dense: bool) -> None:
    """It acts where they are off, and hands out what the network does."""
    model = read_model(ragged(kind))
    found = mquans.Session(model, mquans.calibrate(model, frames(), bits=2))
    reference = open_reference(model, found.graph, found.plan.options).step if dense else None
    with mquans.Guard(found, budget=1e-6, every=3, dense=reference) as guard:
        for frame in frames():
            outputs = guard.step(frame)
            assert tuple(outputs) == found.graph.outputs
    assert guard.report.checks == 8
    assert guard.report.violations == 2
    assert guard.report.tightenings == 1


def test_a_guard_says_what_a_dense_network_lacks() -> None:
    found = mquans.Session(detector(), mquans.calibrate(detector(), frames(), bits=4))
    guard = mquans.Guard(found, budget=1e-6, every=1, dense=lambda feeds: {"found": np.zeros(1)})
    with pytest.raises(MquansError, match=r"no value 'boxes'.*open_reference"):
        guard.step(frames()[0])


@both
def test_commands_run_such_a_network(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, plan, clip, file = (str(tmp_path / name) for name in ("m.onnx", "p", "c.npy", "o.npz"))
    Path(model).write_bytes(ragged(kind))
    np.save(clip, np.stack(frames()))
    where = "last values of a known size in front of them: " + ", ".join(IN_FRONT[kind])
    on = ["--plan", plan, "--source", clip]

    assert run(["inspect", model, "--source", clip]) == 0
    assert where in " ".join(capsys.readouterr().out.split())
    made = ["--source", clip, "--max-loss", "0.1", "-o", plan, "--best"]
    assert run(["calibrate", model, *made]) == 0
    assert where in " ".join(capsys.readouterr().out.split())
    assert run(["compare", model, *on, "--engines", "ort-int8"]) == 0
    assert where in " ".join(capsys.readouterr().out.split())
    assert run(["verify", model, *on]) == 0
    assert capsys.readouterr().out.startswith("Exact")
    guarded = ["--guard", "4", "--max-loss", "0.1", "--json"]
    assert run(["run", model, *on, "--output", file, *guarded]) == 0
    assert json.loads(capsys.readouterr().out)["guard"]["checks"] == 6
    name = "found" if kind == "nms" else "places"
    with np.load(file) as written:
        assert f"{name}.offsets" in written or f"{name}.shapes" in written


def test_nothing_to_compare_is_said() -> None:
    """Not a broadcast error from the depths of numpy, and no proof over nothing."""
    nodes = [helper.make_node("NonZero", ["x"], ["places"])]
    bare = _model(nodes, {}, {"places": TensorProto.INT64})
    assert scored(import_model(read_model(bare)), {}) == ()
    with pytest.raises(MquansError, match="no output has one shape in all frames"):
        mquans.calibrate(bare, frames(), bits=8)
    with pytest.raises(MquansError, match="no output has one shape"):
        mquans.inspect(bare, frames())
    meter = AgreementMeter(())
    meter.add({"places": np.zeros((4, 3))}, {"places": np.zeros((4, 2))})
    with pytest.raises(MquansError, match="no output has one shape"):
        meter.result()

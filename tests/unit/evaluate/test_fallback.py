"""Networks whose layers all run on onnxruntime: nothing is reused, and nothing may claim it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mquans
from mquans.cli.main import run
from mquans.errors import NothingToVerifyError


def network(kind: str) -> bytes:
    """A layer that has no native form, since its weights are computed from the frame."""
    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {"w": rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)}
    nodes = [helper.make_node("DeformConv", ["x", "w", "offset"], ["y"], "layer", pads=[1] * 4)]
    constants["offset"] = np.zeros((1, 18, 8, 8), np.float32)
    if kind == "conv":
        nodes = [
            helper.make_node("ReduceMean", ["x"], ["m"]),
            helper.make_node("Mul", ["w", "m"], ["v"]),
            helper.make_node("Conv", ["x", "v"], ["y"], "layer", pads=[1] * 4),
        ]
    graph = helper.make_graph(
        nodes,
        "outside",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opset = 22 if kind == "deformable" else 17
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return bytes(model.SerializeToString())


def frames() -> list[np.ndarray]:
    return list(np.random.default_rng(1).normal(size=(12, 1, 3, 8, 8)).astype(np.float32))


@pytest.mark.parametrize("kind", ["conv", "deformable"])
def test_all_macs_count_as_done(kind: str) -> None:
    plan = mquans.calibrate(network(kind), frames(), bits=8)
    work = mquans.compare(network(kind), plan, frames()).work
    assert work.macs_total == 12 * 4 * 64 * 27
    assert work.macs_done == work.macs_total
    assert work.computation_reuse == 0


@pytest.mark.parametrize("kind", ["conv", "deformable"])
def test_a_budget_has_nothing_to_decide(kind: str) -> None:
    """It spoke of outputs that cannot be differentiated, and of a method that fails as well."""
    with pytest.raises(mquans.MquansError, match="no layers with constant weights"):
        mquans.calibrate(network(kind), frames(), max_loss=0.1)


@pytest.mark.parametrize("kind", ["conv", "deformable"])
def test_inspect_says_that_reuse_cannot_help_and_why(kind: str) -> None:
    found = mquans.inspect(network(kind)).coverage
    assert found.reuse_macs_fraction == 0
    assert found.obstacle is not None
    assert "run on onnxruntime" in found.obstacle
    assert ("the weight is computed" if kind == "conv" else "no native operator") in found.obstacle


def test_an_unchanged_frame_leaves_out_what_reads_it() -> None:
    plan = mquans.calibrate(network("conv"), frames(), bits=8)
    stream = mquans.Session(network("conv"), plan).stream()
    stream.step(frames()[0])
    assert stream.stats.computation_reuse == 0
    stream.step(frames()[0])
    assert stream.stats.computation_reuse == 1


def test_there_is_nothing_to_verify() -> None:
    plan = mquans.calibrate(network("conv"), frames(), bits=8)
    with pytest.raises(NothingToVerifyError, match="nothing to verify: no layer"):
        mquans.verify(network("conv"), plan, frames())


def test_the_command_ends_as_if_a_law_were_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, plan, clip = (str(tmp_path / name) for name in ("m.onnx", "p.json", "c.npy"))
    onnx.save(onnx.load_model_from_string(network("conv")), model)
    mquans.calibrate(model, frames(), bits=8).save(plan)
    np.save(clip, np.stack(frames()))
    assert run(["verify", model, "--plan", plan, "--source", clip]) == 2
    assert "nothing to verify" in capsys.readouterr().err
    assert run(["inspect", model]) == 0
    assert capsys.readouterr().out.startswith("Reuse cannot help")
    assert run(["inspect", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["obstacle"]


@pytest.mark.parametrize("kind", ["RandomNormalLike", "Dropout"])
def test_networks_that_draw_numbers_are_not_called_inexact(kind: str) -> None:
    """A model exported in training mode gives other outputs whenever it is asked."""
    drawn = ["c", "ratio", "training"] if kind == "Dropout" else ["c"]
    arrays = {"w": np.ones((2, 1, 3, 3), np.float32), "ratio": np.float32(0.5), "training": True}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node(kind, drawn, ["y"])],
        "drawn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 6, 6])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    imports = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()
    clip = list(np.random.default_rng(0).normal(size=(8, 1, 1, 8, 8)).astype(np.float32))
    plan = mquans.calibrate(model, clip, bits=8)
    with pytest.raises(NothingToVerifyError, match=rf"draws random numbers \({kind}\)"):
        mquans.verify(model, plan, clip)


def test_numbers_that_are_drawn_of_nothing_may_be_added() -> None:
    """An operator without inputs in front of layers in codes ended calibration in a traceback."""
    drawn = helper.make_node("RandomNormal", [], ["r"], shape=[1, 1, 8, 8])
    graph = helper.make_graph(
        [
            drawn,
            helper.make_node("Add", ["x", "r"], ["s"]),
            helper.make_node("Conv", ["s", "w"], ["y"]),
        ],
        "noisy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 6, 6])],
        [numpy_helper.from_array(np.ones((2, 1, 3, 3), np.float32), "w")],
    )
    imports = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()
    clip = list(np.random.default_rng(0).normal(size=(8, 1, 1, 8, 8)).astype(np.float32))
    plan = mquans.calibrate(model, clip, bits=8)
    outputs = mquans.Session(model, plan).stream().step(clip[0])
    assert np.isfinite(outputs["y"]).all()

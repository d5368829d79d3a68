"""What the commands do, from Python: one call each, on a path, a plan and a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import mquans


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 12, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


@pytest.fixture(scope="module")
def clip() -> list[Any]:
    """A square that moves before a still background."""
    rng = np.random.default_rng(1)
    background = rng.integers(0, 256, (12, 16, 3), np.uint8)
    frames = [background.copy() for _ in range(24)]
    for index, frame in enumerate(frames):
        frame[4:7, index % 12 : index % 12 + 3] = 255
    return frames


def test_from_a_clip_to_a_verified_plan(model: Path, clip: list[Any], tmp_path: Path) -> None:
    """The four commands, as a notebook would run them."""
    found = mquans.inspect(model, clip, input={"preset": "unit"})
    assert found.advice is not None
    plan = mquans.calibrate(model, clip, bits=8, input={"preset": "unit"})
    plan.save(tmp_path / "plan.json")
    assert mquans.Plan.load(tmp_path / "plan.json") == plan

    result = mquans.compare(model, tmp_path / "plan.json", clip, frames=10, skip=2)
    assert result.work.frames == 10
    assert 0 < result.work.macs_done < result.work.macs_total
    assert result.agreement["mquans"].loss_p95 < 0.01
    with pytest.raises(mquans.MquansError, match="no engine 'ort-fp8'"):
        mquans.compare(model, plan, clip, engines=["ort-fp8"])

    proof = mquans.verify(model, plan, clip, stride=4)
    assert (proof.exact, proof.frames) == (True, 6)


def test_replay_is_what_a_loop_around_a_stream_does(model: Path, clip: list[Any]) -> None:
    """Notebooks need statistics per frame without writing the loop again."""
    plan = mquans.calibrate(model, clip, bits=8, input={"preset": "unit"})
    session = mquans.Session(model, plan)
    with mquans.open_source(clip, plan.input) as source:
        done = list(mquans.replay(session, source))
    with mquans.open_source(clip, plan.input) as source, session.stream() as stream:
        for frame, expected in zip(source, done, strict=True):
            assert expected.outputs is not None
            np.testing.assert_array_equal(stream.step(frame)["y"], expected.outputs["y"])
            assert stream.stats == expected.stats

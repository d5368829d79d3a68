"""What breaks a step off in the middle costs one frame, and leaves nothing stale behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mquans
from mquans.runtime.session import Session

Feeds = dict[str, Any]


@pytest.fixture(scope="module")
def session() -> Session:
    """A layer, a row looked up in what it made by an index that comes with the frame, a layer."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(0, 0.3, (4, 3, 3, 3)),
        "v": rng.normal(0, 0.3, (4, 4, 3, 3)),
    }
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
                helper.make_node("Gather", ["a", "row"], ["b"], axis=2),
                helper.make_node("Conv", ["b", "v"], ["y"], pads=[1] * 4),
            ],
            "rows",
            [
                helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8]),
                helper.make_tensor_value_info("row", TensorProto.INT64, [2]),
            ],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 2, 8])],
            [numpy_helper.from_array(value.astype("f"), name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    data = onnx.ModelProto.SerializeToString(model)
    plan = mquans.calibrate(data, [frame(seed) for seed in range(4)], bits=8)
    return Session(data, plan)


def frame(seed: int, row: int = 0) -> Feeds:
    x = np.random.default_rng(seed).normal(size=(1, 3, 8, 8)).astype(np.float32)
    return {"x": x, "row": np.array([row, 1])}


def fails(*_: Any) -> Any:
    raise mquans.MquansError("no.")


def test_frames_after_a_step_that_broke_off_are_right(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, whole = session.stream(), session.stream()
    for stream in (broken, whole):
        stream.step(frame(0))
    with monkeypatch.context() as patch:
        patch.setattr(session, "run_fallback", fails)
        with pytest.raises(mquans.MquansError, match="no"):
            broken.step(frame(1))
    for seed in (1, 1, 2):
        first = seed == 1 and broken.frames == 1
        expected = whole.step(frame(seed), keyframe=first)["y"]
        np.testing.assert_array_equal(broken.step(frame(seed))["y"], expected)
    assert broken.check() is None


@pytest.mark.parametrize("ask", ["save", "clone", "outputs", "recompute"])
def test_a_stream_that_broke_off_says_so_until_the_next_frame(session: Session, ask: str) -> None:
    """A state saved then could not be restored."""
    stream = session.stream()
    stream.step(frame(0))
    with pytest.raises(mquans.MquansError, match="out of data bounds"):
        stream.step(frame(1, row=99))
    with pytest.raises(mquans.MquansError, match="broke off"):
        getattr(stream, ask)()
    stream.step(frame(1))
    getattr(stream, ask)()


def test_a_state_that_cannot_be_run_leaves_the_stream_as_it_was(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, other = session.stream(), session.stream()
    before = stream.step(frame(0))["y"]
    other.step(frame(1))
    state = other.save()

    with monkeypatch.context() as patch:
        patch.setattr(session, "run_fallback", fails)
        with pytest.raises(mquans.MquansError, match="no"):
            stream.load(state)
    np.testing.assert_array_equal(stream.outputs()["y"], before)
    stream.load(state)
    np.testing.assert_array_equal(stream.outputs()["y"], other.outputs()["y"])


def test_closing_a_stream_while_it_steps_is_no_fault_of_the_step(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, run = session.stream(), session.run_fallback

    def closing(*arguments: Any) -> Any:
        stream.close()
        return run(*arguments)

    monkeypatch.setattr(session, "run_fallback", closing)
    with pytest.raises(mquans.MquansError, match="is closed"):
        stream.step(frame(0))

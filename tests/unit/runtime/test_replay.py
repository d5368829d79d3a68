"""One loop over frames: where recordings begin, what is refused, in which order labels go."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mquans
from mquans.errors import FrameError, MetricError, RefusedFrameError
from mquans.onnx import read_model
from mquans.runtime.replay import replay, usable
from mquans.sources import FirstFrame

FEATURES, HIDDEN = 4, 6
Frame = dict[str, npt.NDArray[Any]]


@pytest.fixture(scope="module")
def session() -> mquans.Session:
    """x [1, 1, 4], h [1, 1, 6] -> GRU -> y, hn; what it says depends on what it heard."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("GRU", ["x", "w", "r", "", "", "h"], ["y", "hn"], hidden_size=HIDDEN)]
    shapes = {"x": [1, 1, FEATURES], "h": [1, 1, HIDDEN]}
    weights = {
        "w": rng.normal(0, 0.6, (1, 3 * HIDDEN, FEATURES)),
        "r": rng.normal(0, 0.6, (1, 3 * HIDDEN, HIDDEN)),
    }
    graph = helper.make_graph(
        nodes,
        "gru",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", "hn")],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    model = read_model(made.SerializeToString())
    return mquans.Session(model, mquans.calibrate(model, frames(24, 1), bits=10))


def frames(count: int, seed: int) -> list[Frame]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(1, 1, FEATURES)).astype(np.float32)} for _ in range(count)]


def outputs(session: mquans.Session, clip: list[Frame]) -> list[npt.NDArray[Any]]:
    with session.stream() as stream:
        return [stream.step(frame)["y"] for frame in clip]


NAN = {"x": np.full((1, 1, FEATURES), np.nan, np.float32)}


def test_a_stream_begins_anew_with_a_recording(session: mquans.Session) -> None:
    """Else a microphone that is plugged in again goes on with what the other one heard."""
    before, after = frames(5, 2), frames(5, 3)
    found = outputs(session, [*before, FirstFrame(after[0]), *after[1:]])
    np.testing.assert_array_equal(found[5:], outputs(session, after))
    assert not np.array_equal(found[5:], outputs(session, [*before, *after])[5:])


def test_a_refused_beginning_changes_nothing(session: mquans.Session) -> None:
    """A broken first frame must not cost what the stream knows."""
    before, after = frames(5, 2), frames(3, 3)
    with session.stream() as stream:
        for frame in before:
            stream.step(frame)
        with pytest.raises(RefusedFrameError):
            stream.step(FirstFrame(NAN))
        with pytest.raises(FrameError, match="shape"):
            stream.step(FirstFrame({"x": np.zeros((1, 1, 9), np.float32)}))
        assert stream.frames == 5
        found = [stream.step(frame)["y"] for frame in after]
    np.testing.assert_array_equal(found, outputs(session, [*before, *after])[5:])


def test_a_guard_takes_no_states_from_a_refused_beginning(session: mquans.Session) -> None:
    """Its dense frames would set out from other states than the stream's."""
    before, after = frames(5, 2), frames(3, 3)
    with mquans.Guard(session, budget=10.0, every=2) as guard:
        for frame in before:
            guard.step(frame)
        with pytest.raises(RefusedFrameError):
            guard.step(FirstFrame(NAN))
        found = [guard.step(frame)["y"] for frame in after]
    np.testing.assert_array_equal(found, outputs(session, [*before, *after])[5:])


def test_the_frame_behind_a_refused_beginning_begins(session: mquans.Session) -> None:
    """The recording is another one all the same."""
    before, after = frames(4, 2), frames(4, 3)
    clip = [*before, FirstFrame(NAN), *after]
    done = list(replay(session, clip, labels=range(9)))
    assert [frame.index for frame in done] == list(range(9))
    assert [frame.label for frame in done] == list(range(9))
    assert [frame.index for frame in done if frame.refused] == [4]
    assert [frame.index for frame in done if frame.first] == [0, 4, 5]
    made = [frame.outputs["y"] for frame in done[5:] if frame.outputs is not None]
    np.testing.assert_array_equal(made, outputs(session, after))

    refused: list[int] = []
    taken = list(usable(session, clip, refused))
    assert refused == [4]
    assert [(frame.number, frame.first) for frame in taken if frame.first] == [(0, True), (5, True)]
    assert isinstance(taken[4].feeds, FirstFrame)


def test_a_stream_goes_on_in_a_replay(session: mquans.Session) -> None:
    """A restored stream must not lose its states to the loop."""
    clip = frames(8, 4)
    with session.stream() as stream:
        list(replay(session, clip[:4], stream=stream))
        rest = list(replay(session, clip[4:], stream=stream))
    assert not any(frame.first for frame in rest)
    made = [frame.outputs["y"] for frame in rest if frame.outputs is not None]
    np.testing.assert_array_equal(made, outputs(session, clip)[4:])


def test_what_is_wrong_with_a_source_stops_a_replay(session: mquans.Session) -> None:
    """A wrong shape is no bad frame among good ones, and labels that run out are a mistake."""
    with pytest.raises(FrameError, match="shape"):
        list(replay(session, [{"x": np.zeros((1, 2, FEATURES), np.float32)}]))
    with pytest.raises(MetricError, match="only 2 labels"):
        list(replay(session, frames(3, 0), labels=[1, 2]))


def summing() -> mquans.Session:
    """x, h -> h + x, which a large x takes beyond what float32 holds."""
    nodes = [
        helper.make_node("Add", ["x", "h"], ["hn"]),
        helper.make_node("MatMul", ["hn", "w"], ["y"]),
    ]
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, FEATURES])
              for name in ("x", "h", "hn", "y")}  # fmt: skip
    weight = numpy_helper.from_array(np.eye(FEATURES, dtype=np.float32), "w")
    graph = helper.make_graph(
        nodes, "sum", [values["x"], values["h"]], [values["y"], values["hn"]], [weight]
    )
    opsets = [helper.make_opsetid("", 17)]
    model = read_model(
        onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    clip = [{"x": frame["x"][0]} for frame in frames(24, 1)]
    return mquans.Session(model, mquans.calibrate(model, clip, bits=10, feedback={"h": "hn"}))


def test_a_state_that_overflows_refuses_frames_until_the_next_recording() -> None:
    """A run goes on and counts them; where none may be left out, the error says what happened."""
    huge = {"x": np.full((1, FEATURES), 3e38, np.float32)}
    small = {"x": np.ones((1, FEATURES), np.float32)}
    done = list(replay(summing(), [huge, huge, small, small, FirstFrame(small), small]))
    assert [frame.refused for frame in done] == [False, False, True, True, False, False]
    with pytest.raises(RefusedFrameError, match="state 'h' has become NaN or infinite"):
        _ = done[2].made
    outputs, stats = done[4].made
    assert set(outputs) == {"y", "hn"}
    assert stats.macs_total > 0

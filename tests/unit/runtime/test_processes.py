"""Sessions in the processes of a service: forked, pickled, cloned, and ended during a step."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mquans
from mquans.errors import MquansError
from mquans.plan import Plan
from mquans.runtime.session import Session

WAIT_S = 60


@pytest.fixture
def frames(small_frames: Any) -> Any:
    return small_frames[:3, None]


@pytest.fixture(params=[1, 2])
def threaded(small_model: Path, plan: Plan, request: pytest.FixtureRequest) -> Session:
    return Session(small_model, plan, threads=request.param)


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns, or the error that it raises, in a forked child."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    if not (pid := os.fork()):
        try:
            theirs.send(work())
        except BaseException as error:
            theirs.send(error)
        os._exit(0)
    try:
        assert ours.poll(WAIT_S), "the child hangs"
        result = ours.recv()
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    if isinstance(result, BaseException):
        raise result
    return result


def test_a_clone_owns_no_more_than_its_own_state(session: Session, frames: Any) -> None:
    """Else a service that clones its stream now and then runs out of memory."""
    stream = session.stream()
    stream.step(frames[0])
    native = stream._native
    before = sys.getrefcount(native)
    other = stream.clone()
    after = sys.getrefcount(native)
    assert after == before
    expected = stream.step(frames[1])
    del stream, native, session
    gc.collect()
    found = other.step(frames[1])
    assert {name: value.tobytes() for name, value in found.items()} == {
        name: value.tobytes() for name, value in expected.items()
    }


def test_a_child_steps_and_lets_go(threaded: Session, frames: Any) -> None:
    stream = threaded.stream()
    stream.step(frames[0])
    clone = stream.clone()
    expected = [stream.step(frame) for frame in frames]

    def work() -> list[dict[str, Any]]:
        nonlocal stream, clone
        results = [clone.step(frame) for frame in frames]
        del stream, clone
        gc.collect()
        return results

    for found, wanted in zip(in_child(work), expected, strict=True):
        for name in wanted:
            np.testing.assert_array_equal(found[name], wanted[name])


def test_a_child_lets_go_of_a_session_that_it_never_used(small_model: Path, plan: Plan) -> None:
    held = [Session(small_model, plan, threads=3)]

    def work() -> int:
        held.clear()
        return gc.collect()

    in_child(work)


def test_a_child_forked_during_a_step_has_all_but_that_stream(
    threaded: Session, frames: Any
) -> None:
    """A lock that a thread of the parent holds is held for ever in the child."""
    busy, idle = threaded.stream(), threaded.stream()
    expected = idle.step(frames[0])
    with busy._lock, threaded._lock:  # as another thread does that steps

        def use_busy() -> Any:
            return busy.step(frames[0])

        def use_others() -> Any:
            return idle.step(frames[0]), threaded.run(None, {threaded.frame_inputs[0]: frames[0]})

        with pytest.raises(MquansError, match=r"forked.*session\.stream"):
            in_child(use_busy)
        again, by_name = in_child(use_others)
    for name, value in zip(expected, by_name, strict=True):
        np.testing.assert_array_equal(again[name], expected[name])
        np.testing.assert_array_equal(value, expected[name])


def test_children_forked_while_other_threads_step_run(threaded: Session, frames: Any) -> None:
    stop, started = threading.Event(), threading.Event()

    def steps() -> None:
        stream = threaded.stream()
        while not stop.is_set():
            for frame in frames:
                stream.step(frame)
            started.set()

    worker = threading.Thread(target=steps)
    worker.start()
    assert started.wait(WAIT_S)
    try:
        for _ in range(4):
            assert in_child(lambda: len(threaded.stream().step(frames[0]))) == 1
    finally:
        stop.set()
        worker.join()


def test_a_child_of_a_session_with_fallback_subgraphs_runs(value_plan: Any) -> None:
    session, frame = with_fallback(value_plan)
    expected = session.stream().step(frame)

    def work() -> Any:
        result = session.stream().step(frame)["y"]
        session.__dict__.clear()
        gc.collect()
        return result

    np.testing.assert_array_equal(in_child(work), expected["y"])


def with_fallback(value_plan: Any) -> tuple[Session, Any]:
    """A session of two threads whose last operator runs on onnxruntime."""
    import onnx

    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [make("Conv", ["x", "w"], ["c"]), make("Hardmax", ["c"], ["y"], axis=1)],
        "net",
        [info("x", 1, [1, 3, 8, 8])],
        [info("y", 1, None)],
        [onnx.numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w")],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    clip = np.random.default_rng(0).random((4, 1, 3, 8, 8)).astype(np.float32)
    return Session(model, value_plan(model, clip), threads=2), clip[0]


@pytest.mark.parametrize("fallback", [False, True])
def test_the_interpreter_ends_while_daemon_threads_step(fallback: bool) -> None:
    program = f"""
        import threading
        import numpy as np, onnx
        from mquans.onnx import import_model, read_model
        from mquans.plan import LayerPlan, Plan
        from mquans.plan.schema import Provenance
        from mquans import Session

        make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
        last = make({"Hardmax" if fallback else "Relu"!r}, ["c"], ["y"])
        graph = onnx.helper.make_graph(
            [make("Conv", ["x", "w"], ["c"], name="c"), last],
            "net", [info("x", 1, [1, 3, 32, 32])], [info("y", 1, None)],
            [onnx.numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w")],
        )
        opset = [onnx.helper.make_opsetid("", 17)]
        model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
        file = read_model(model)
        made = Provenance(mquans="0", sources=(), frames=0, created="2020-01-01T00:00:00Z")
        layers = (LayerPlan(name="c", delta=2**-8, bits=8, weight_bits=8),)
        plan = Plan(model="m", model_sha256=file.sha256, input_shapes={{"x": (1, 3, 32, 32)}},
                    layers=layers, provenance=made)
        session = Session(file, plan, threads=2)
        frames = np.random.default_rng(0).random((2, 1, 3, 32, 32)).astype(np.float32)
        started = threading.Barrier(4)

        def work():
            stream = session.stream()
            stream.step(frames[0])
            started.wait()
            while True:
                for frame in frames:
                    stream.step(frame)

        for _ in range(3):
            threading.Thread(target=work, daemon=True).start()
        started.wait()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("by", ["path", "bytes"])
def test_a_pickled_session_gives_the_same_outputs(
    by: str, small_model: Path, plan: Plan, frames: Any
) -> None:
    """What multiprocessing sends to workers that are spawned."""
    model = small_model if by == "path" else small_model.read_bytes()
    session = Session(model, plan, threads=2)
    data = pickle.dumps(session)
    again = pickle.loads(data)
    assert again.threads == 2
    if by == "path":
        assert len(data) < 20_000 + len(pickle.dumps(plan))
    one, other = session.stream(), again.stream()
    for frame in frames:
        expected, found = one.step(frame), other.step(frame)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


def test_a_pickled_session_exposes_what_it_did(session: Session, frames: Any) -> None:
    inner = session.graph.nodes[0].outputs[0]
    exposing = session.exposing([inner])
    again = pickle.loads(pickle.dumps(exposing))
    np.testing.assert_array_equal(
        again.stream().step(frames[0])[inner], exposing.stream().step(frames[0])[inner]
    )


def test_a_pickle_of_a_changed_model_is_refused(
    tmp_path: Path, small_model: Path, plan: Plan
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(small_model.read_bytes())
    data = pickle.dumps(Session(path, plan))
    path.unlink()
    with pytest.raises(mquans.MquansError, match="no such file"):
        pickle.loads(data)


def test_a_stream_says_how_it_is_sent(session: Session) -> None:
    with pytest.raises(MquansError, match=r"stream\.save\(\).*restore"):
        pickle.dumps(session.stream())

"""Streams of one session know nothing of each other, and a saved stream goes on as if it had never
stopped: in the same session, another one, or another process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.runtime.session import Session
from mquans.runtime.stream import Stream

from .builders import same_outputs, same_states
from .networks import MODELS, Network, network
from .strategies import examples

CONTINUE = """
import sys
import numpy as np
from mquans.runtime.session import Session

model, plan, state, frames, outputs, isa = sys.argv[1:]
session = Session(model, plan, threads=2, isa=isa)
stream = session.restore(state)
results = {}
with np.load(frames) as inputs:
    for index in range(len(inputs[session.graph.inputs[0]])):
        found = stream.step({name: inputs[name][index] for name in session.graph.inputs})
        results.update({f"{index} {name}": value for name, value in found.items()})
np.savez(outputs, **results)
"""


@pytest.mark.parametrize("name", MODELS)
@examples(5)
@given(seed=st.integers(0, 1000), at=st.integers(0, 6))
def test_saved_and_restored(name: str, seed: int, at: int) -> None:
    net = network(name, "nearest" if seed % 2 else "hold")
    session, other = net.session(), net.session(isa="scalar", threads=2)
    stream = session.stream()
    frames = net.frames(seed, 10)
    for frame in frames[:at]:
        stream.step(frame)
    state = stream.save()
    restored = [session.restore(state), other.restore(state), stream.clone()]
    assert [copy.frames for copy in restored] == [at] * 3
    if at:
        for copy in restored:
            same_outputs(copy.outputs(), stream.outputs())
    assert [copy.save() for copy in restored] == [state] * 3
    for frame in frames[at:]:
        expected = stream.step(frame)
        for copy in restored:
            same_outputs(copy.step(frame), expected)
            same_states(copy, stream)


@pytest.mark.parametrize("name", MODELS)
def test_continued_in_a_new_process(name: str, tmp_path: Path) -> None:
    net = network(name)
    stream = net.session().stream()
    frames = net.frames(3, 9)
    for frame in frames[:4]:
        stream.step(frame)
    (tmp_path / "model.onnx").write_bytes(net.model)
    net.plan.save(tmp_path / "plan.json")
    saved = stream.save(tmp_path / "state")
    assert (tmp_path / "state").read_bytes() == saved
    np.savez(
        tmp_path / "in.npz", **{key: np.stack([f[key] for f in frames[4:]]) for key in net.shapes}
    )
    arguments = [tmp_path / part for part in ("model.onnx", "plan.json", "state", "in.npz")]
    subprocess.run(
        [sys.executable, "-c", CONTINUE, *arguments, tmp_path / "out.npz", "scalar"],
        check=True, timeout=60, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    with np.load(tmp_path / "out.npz") as found:
        for index, frame in enumerate(frames[4:]):
            for key, value in stream.step(frame).items():
                assert found[f"{index} {key}"].tobytes() == value.tobytes(), (index, key)


def alone(session: Session, frames: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    with session.stream() as stream:
        return [stream.step(frame) for frame in frames]


@pytest.mark.parametrize("name", MODELS)
def test_interleaved_streams_are_as_run_apart(name: str) -> None:
    net = network(name)
    session = net.session()
    left, right = net.frames(11, 8), net.frames(12, 8)
    expected = alone(session, left), alone(session, right)
    streams = session.stream(), session.stream()
    for index in range(8):
        for stream, frames, outputs in zip(streams, (left, right), expected, strict=True):
            same_outputs(stream.step(frames[index]), outputs[index])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_streams_in_two_python_threads(name: str, threads: int) -> None:
    net = network(name)
    session = net.session(threads=threads)
    scenes = [net.frames(21, 25), net.frames(22, 25)]
    expected = [alone(session, frames) for frames in scenes]
    found: list[list[dict[str, np.ndarray]]] = [[], []]
    streams = [session.stream(), session.stream()]
    together = threading.Barrier(2)

    def run(which: int) -> None:
        together.wait()
        for frame in scenes[which]:
            found[which].append(streams[which].step(frame))

    workers = [threading.Thread(target=run, args=(which,)) for which in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for mine, theirs in zip(found, expected, strict=True):
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            same_outputs(a, b)
    assert [stream.check() for stream in streams] == [None, None]


def test_a_stream_may_step_while_another_waits_for_an_fallback() -> None:
    """The worst moment for another thread to run, made certain."""
    net = network("fallback")
    session = net.session()
    frames, others = net.frames(31, 8), net.frames(32, 8)
    expected = alone(session, frames)
    stream, other = session.stream(), session.stream()
    run_fallback, pending = session.run_fallback, iter(others)

    def interrupted(node: object, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        # Only the stream under test is interrupted, by one frame of the other.
        session.run_fallback = run_fallback  # type: ignore[method-assign]
        other.step(next(pending))
        return run_fallback(node, feeds)  # type: ignore[arg-type]

    for frame, outputs in zip(frames, expected, strict=True):
        session.run_fallback = interrupted  # type: ignore[method-assign, assignment]
        same_outputs(stream.step(frame), outputs)
        assert stream.check() is None


@pytest.mark.parametrize("name", MODELS)
def test_reset_forgets_everything(name: str) -> None:
    net = network(name)
    session = net.session()
    frames = net.frames(4, 6)
    expected = alone(session, frames)
    stream = session.stream()
    for frame in net.frames(9, 5):
        stream.step(frame)
    stream.reset()
    assert stream.frames == 0
    for frame, outputs in zip(frames, expected, strict=True):
        same_outputs(stream.step(frame), outputs)


@pytest.mark.parametrize("name", MODELS)
def test_a_clone_goes_its_own_way(name: str) -> None:
    net = network(name)
    session = net.session()
    frames, others = net.frames(4, 6), net.frames(5, 4)
    expected = alone(session, frames)
    stream = session.stream()
    for frame in frames[:3]:
        stream.step(frame)
    strayed: Stream = stream.clone()
    for frame in others:
        strayed.step(frame)
    strayed.close()
    for frame, outputs in zip(frames[3:], expected[3:], strict=True):
        same_outputs(stream.step(frame), outputs)


def test_consecutive_runs_are_one_stream() -> None:
    """`Session.run`, the drop-in for onnxruntime."""
    net: Network = network("speech")
    session = net.session()
    frames = net.frames(6, 5)
    expected = alone(session, frames)
    for frame, outputs in zip(frames, expected, strict=True):
        found = session.run(None, frame)
        same_outputs(dict(zip(session.graph.outputs, found, strict=True)), outputs)

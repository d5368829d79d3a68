"""Still frames: a motion gate leaves the stream as if they had never come, and computes all others
as without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.errors import PlanError
from mquans.graph import Conv, Graph, Node
from mquans.onnx import read_model, to_onnx
from mquans.plan import GatePlan, Plan, TensorPlan
from mquans.runtime.session import Session, available_isas
from mquans.runtime.stream import Stream

from .builders import PROVENANCE, same_outputs, typed
from .strategies import SEEDS, examples

NEVER = 2**61


def session(pictures: dict[str, tuple[int, ...]], share: float, **options: Any) -> Session:
    """One 3x3 convolution for each picture, gates in front of all."""
    rng = np.random.default_rng(0)
    nodes, weights, tensors = [], {}, []
    for name, shape in pictures.items():
        conv = Conv((3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, None)
        weights[f"w{name}"] = rng.normal(size=(4, shape[1], 3, 3)).astype(np.float32)
        nodes.append(Node(f"y{name}", conv, (name, f"w{name}"), (f"y{name}",)))
        tensors.append(TensorPlan(name=name, exponents=-12, gate=GatePlan(scale=1.0)))
        tensors.append(TensorPlan(name=f"y{name}", exponents=-9))
    outputs = tuple(f"y{name}" for name in pictures)
    graph = typed(Graph("net", tuple(pictures), outputs, nodes, weights), pictures)
    file = read_model(to_onnx(graph).SerializeToString())
    plan = Plan(
        model="m",
        model_sha256=file.sha256,
        input_shapes=pictures,
        tolerance=0.05,
        motion_gate=share,
        tensors=tuple(tensors),
        layers=(),
        provenance=PROVENANCE,
    )
    return Session(file, plan, **options)


def taken(stream: Stream, frame: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Pixels of a picture that its gate would take, though the frame be like a busy one."""
    probe = stream.clone()
    probe._native.busy_from = NEVER
    probe.step(frame)
    shape = frame[name].shape
    return probe.change_map(f"y{name}").reshape(shape[0], *shape[2:]) > 0


def fullest(pixels: np.ndarray) -> float:
    """Share of the fullest block of 32 by 32, counted one by one; rows of all pictures follow each
    other."""
    rows = pixels.reshape(-1, pixels.shape[-1])
    return max(
        float(rows[y : y + 32, x : x + 32].mean())
        for y in range(0, rows.shape[0], 32)
        for x in range(0, rows.shape[1], 32)
    )


@examples(40)
@given(
    channels=st.integers(1, 4), height=st.integers(1, 45), width=st.integers(1, 140),
    share=st.sampled_from((0.05, 0.3, 0.75)), pictures=st.integers(1, 2), seed=SEEDS,
)  # fmt: skip
def test_still_frames_change_nothing_and_others_are_as_without_a_motion_gate(
    channels: int, height: int, width: int, share: float, pictures: int, seed: int
) -> None:
    """On every instruction set. A frame is still if no block of any picture has changed enough."""
    rng = np.random.default_rng(seed)
    shapes = {f"x{i}": (1, channels, height, width) for i in range(pictures)}
    plain = session(shapes, 0.0, isa="scalar").stream()
    gated = [session(shapes, share, isa=isa, threads=2).stream() for isa in available_isas()]
    frame = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    expected = plain.step(frame)
    for stream in gated:
        same_outputs(stream.step(frame), expected)
    for _ in range(8):
        for name, shape in shapes.items():
            noise = rng.random(shape) < rng.choice((0.0, 0.02, 0.2))
            top, left = rng.integers(0, height), rng.integers(0, width)
            noise[:, :, top : top + rng.integers(1, 33), left : left + rng.integers(1, 33)] = True
            frame[name] = np.where(noise, rng.uniform(-1, 1, shape), frame[name]).astype(np.float32)
        if any(fullest(taken(plain, frame, name)) >= share for name in shapes):
            expected = plain.step(frame)
        for stream in gated:
            same_outputs(stream.step(frame), expected)
            assert stream.check() is None
            stream.recompute()
            same_outputs(stream.outputs(), expected)


def test_small_changes_add_up_until_they_open_it() -> None:
    """Compared with the last frame computed: what moves slowly would else never be seen."""
    stream = session({"x": (1, 1, 32, 32)}, 0.5).stream()
    frame = np.zeros((1, 1, 32, 32), np.float32)
    stream.step(frame)
    done = []
    for row in range(0, 32, 4):
        frame[:, :, row : row + 4] = 1
        stream.step(frame)
        done.append(stream.stats.macs_done > 0)
    assert done == [False, False, False, True, False, False, False, True]


def test_a_keyframe_is_never_still() -> None:
    """It is asked for to end all staleness."""
    stream = session({"x": (1, 1, 32, 32)}, 1.0).stream()
    frame = np.zeros((1, 1, 32, 32), np.float32)
    stream.step(frame)
    frame[0, 0, 5, 5] = 1
    stream.step(frame)
    assert stream.stats.macs_done == 0
    stream.step(frame, keyframe=True)
    assert stream.held("yx").reshape(32, 32)[5, 5] > 0


def test_saved_and_copied_streams_go_on_alike() -> None:
    """The picture that frames are compared with is part of the state."""
    network = session({"x": (1, 3, 40, 40)}, 0.5)
    stream = network.stream()
    rng = np.random.default_rng(3)
    frame = rng.uniform(-1, 1, (1, 3, 40, 40)).astype(np.float32)
    stream.step(frame)
    for light in (0.2, 0.9, -0.4):
        frame[:, :, :20] = light
        others = network.restore(stream.save()), stream.clone()
        expected = stream.step(frame)
        for other in others:
            same_outputs(other.step(frame), expected)


def test_it_is_refused_where_no_picture_is_compared() -> None:
    """It would be believed to save something."""
    with pytest.raises(PlanError, match="no input of the network is a picture"):
        session({"x": (1, 5, 32, 32)}, 0.5)

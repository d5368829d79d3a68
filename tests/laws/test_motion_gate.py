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
EXPONENT = -12
UNIT = 2.0**EXPONENT


def session(
    pictures: dict[str, tuple[int, ...]],
    share: float,
    motion: float = 0,
    tolerance: float = 0.05,
    **options: Any,
) -> Session:
    """One 3x3 convolution for each picture, gates in front of all."""
    rng = np.random.default_rng(0)
    nodes, weights, tensors = [], {}, []
    for name, shape in pictures.items():
        conv = Conv((3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, None)
        weights[f"w{name}"] = rng.normal(size=(4, shape[1], 3, 3)).astype(np.float32)
        nodes.append(Node(f"y{name}", conv, (name, f"w{name}"), (f"y{name}",)))
        tensors.append(TensorPlan(name=name, exponents=EXPONENT, gate=GatePlan(scale=1.0)))
        tensors.append(TensorPlan(name=f"y{name}", exponents=-9))
    outputs = tuple(f"y{name}" for name in pictures)
    graph = typed(Graph("net", tuple(pictures), outputs, nodes, weights), pictures)
    file = read_model(to_onnx(graph).SerializeToString())
    plan = Plan(
        model="m",
        model_sha256=file.sha256,
        input_shapes=pictures,
        tolerance=tolerance,
        motion_gate=share,
        motion_tolerance=motion,
        tensors=tuple(tensors),
        layers=(),
        provenance=PROVENANCE,
    )
    return Session(file, plan, **options)


def moved(probe: Stream, stream: Stream, frame: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Pixels of all pictures that the gates of another plan would take, holding what a stream
    holds, though the frame be like a busy one."""
    shapes = {name: picture.shape for name, picture in frame.items()}
    held = {}
    for name, (count, channels, *size) in shapes.items():
        codes = stream.held(f"y{name}").reshape(count, *size, channels)
        held[name] = np.float32(UNIT) * np.moveaxis(codes, -1, 1)
    probe.step(held, keyframe=True)
    probe._native.busy_from = NEVER
    probe.step(frame)
    return [
        probe.change_map(f"y{name}").reshape(shape[0], *shape[2:]) > 0
        for name, shape in shapes.items()
    ]


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
    share=st.sampled_from((0.05, 0.3, 0.75)), motion=st.sampled_from((0.0, 0.01, 0.4)),
    pictures=st.integers(1, 2), seed=SEEDS,
)  # fmt: skip
def test_still_frames_change_nothing_and_others_are_as_without_a_motion_gate(
    channels: int, height: int, width: int, share: float, motion: float, pictures: int, seed: int
) -> None:
    """On every instruction set. A frame is still if no block of any picture has changed enough,
    by a tolerance of its own if there is one."""
    rng = np.random.default_rng(seed)
    shapes = {f"x{i}": (1, channels, height, width) for i in range(pictures)}
    plain = session(shapes, 0.0, isa="scalar").stream()
    probe = session(shapes, 0.0, tolerance=motion or 0.05, isa="scalar").stream()
    gated = [
        session(shapes, share, motion, isa=isa, threads=2).stream() for isa in available_isas()
    ]
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
        if any(fullest(pixels) >= share for pixels in moved(probe, plain, frame)):
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

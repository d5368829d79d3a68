"""A frame that cannot be used is refused in words, and the stream goes on as if it had never come:
one broken picture from a camera must not poison everything after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.errors import FrameError
from mquans.runtime.stream import Stream

from .builders import same_outputs, same_states
from .networks import MODELS, network
from .strategies import examples

WRONG: dict[str, Any] = {
    "a dimension short": lambda x: x[0],
    "a pixel short": lambda x: x[..., 1:],
    "empty": lambda x: x[..., :0],
    "transposed": lambda x: np.swapaxes(x, -1, -2) if x.shape[-1] != x.shape[-2] else x[0],
    "float64": lambda x: x.astype(np.float64),
    "float16": lambda x: x.astype(np.float16),
    "uint8": lambda x: np.zeros(x.shape, np.uint8),
    "foreign byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "a list": lambda x: x.tolist(),
    "a ragged list": lambda x: [[1.0], [1.0, 2.0]],
    "text": lambda x: "frame",
    "nothing": lambda x: None,
}


def refuses(stream: Stream, frame: Any) -> None:
    with pytest.raises(FrameError):
        stream.step(frame)


@pytest.mark.parametrize("name", MODELS)
@examples(15)
@given(
    seed=st.integers(0, 1000),
    value=st.sampled_from((np.nan, np.inf, -np.inf)),
    at=st.integers(0, 2**31),
    keyframe=st.booleans(),
)
def test_values_that_are_not_finite(
    name: str, seed: int, value: float, at: int, keyframe: bool
) -> None:
    """Also as a first frame, and in the last of several inputs."""
    net = network(name)
    session = net.session()
    stream, plain = session.stream(), session.stream()
    for index, frame in enumerate(net.frames(seed, 5)):
        broken = {key: array * np.float32(0.5) for key, array in frame.items()}
        last = list(broken)[-1]
        broken[last].flat[at % broken[last].size] = value
        with pytest.raises(FrameError, match="NaN or infinite"):
            stream.step(broken, keyframe=keyframe)
        assert stream.frames == index
        same_outputs(stream.step(frame), plain.step(frame))
        same_states(stream, plain)
        assert stream.stats == plain.stats


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", ["mobile", "speech"])
def test_wrong_shapes_and_types(name: str, kind: str) -> None:
    net = network(name)
    session = net.session()
    stream, plain = session.stream(), session.stream()
    for frame in net.frames(1, 3):
        wrong = {key: WRONG[kind](array) for key, array in frame.items()}
        refuses(stream, wrong)
        refuses(stream, next(iter(wrong.values())))
        same_outputs(stream.step(frame), plain.step(frame))
        same_states(stream, plain)


def test_wrong_names() -> None:
    net = network("speech")
    stream, plain = net.session().stream(), net.session().stream()
    for frame in net.frames(1, 3):
        for wrong in ({}, {"x": frame["x"]}, frame | {"extra": frame["x"]}, frame["x"]):
            refuses(stream, wrong)
        same_outputs(stream.step(frame), plain.step(frame))


def test_memory_of_any_order_is_taken() -> None:
    """Views that are not contiguous, and read-only frames, are the same frame."""
    net = network("mobile")
    stream, plain = net.session().stream(), net.session().stream()
    for frame in net.frames(1, 4):
        x = frame["x"]
        view = np.repeat(x, 2, axis=3)[..., ::2]
        reordered = np.asfortranarray(view)
        reordered.flags.writeable = False
        same_outputs(stream.step(reordered), plain.step(x))


def test_the_frame_is_not_kept() -> None:
    """Callers reuse their buffers; results belong to them as well."""
    net = network("mobile")
    stream, plain = net.session().stream(), net.session().stream()
    buffer = np.empty(net.shapes["x"], np.float32)
    kept: list[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]] = []
    for frame in net.frames(1, 4):
        buffer[...] = frame["x"]
        kept.append((stream.step(buffer), plain.step(frame)))
        buffer[...] = np.nan
    for found, expected in kept:
        same_outputs(found, expected)

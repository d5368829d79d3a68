"""`mquans verify` must pass exact runs and name the place of every fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import mquans
from mquans.evaluate import verify

Frames = npt.NDArray[np.float32]


def test_exact_run_passes(session: mquans.Session, small_frames: Frames) -> None:
    """The law holds on an undisturbed stream, whatever its frames."""
    result = verify(session, small_frames[:, None])
    assert result.exact
    assert (result.frames, result.layers, result.refused) == (20, 3, 0)
    assert result.as_dict()["first_violation"] is None


@pytest.mark.parametrize("layer", ["first", "third"])
def test_flipped_bit_is_found_with_layer_and_frame(
    session: mquans.Session, small_frames: Frames, layer: str
) -> None:
    """A verifier that cannot see a planted fault proves nothing."""
    stream = session.stream()

    def sabotaged() -> Iterator[Frames]:
        for index in range(5):
            if index == 3:
                stream.flip_bit(layer, 2, 9)
            yield small_frames[:1]

    result = verify(session, sabotaged(), stream=stream)
    assert not result.exact
    found = result.first_violation
    assert found is not None
    assert (found.layer, found.frame, found.kind) == (layer, 3, "accumulator")
    assert abs(found.expected - found.found) == 2**9
    assert f"accumulator of layer '{layer}'" in str(found)


def test_flipped_code_is_found_as_such(small_model: Path, small_frames: Frames) -> None:
    """Layers over sites have no accumulators."""
    session = mquans.Session(small_model, mquans.calibrate(small_model, small_frames))
    stream = session.stream()

    def sabotaged() -> Iterator[Frames]:
        for index in range(3):
            if index == 2:
                stream.flip_bit("first", 2, 9)
            yield small_frames[:1]

    found = verify(session, sabotaged(), stream=stream).first_violation
    assert found is not None
    assert (found.layer, found.frame, found.kind) == ("b", 2, "code")
    assert "code of tensor 'b'" in str(found)


def test_refused_frame_is_counted_and_the_proof_goes_on(
    session: mquans.Session, small_frames: Frames
) -> None:
    """A camera that stutters once must not end the check."""
    frames = small_frames[:, None].copy()
    frames[4, 0, 1, 2, 3] = np.nan
    result = verify(session, frames)
    assert result.exact
    assert (result.frames, result.refused) == (19, 1)


def test_all_frames_refused_is_no_proof(session: mquans.Session, small_frames: Frames) -> None:
    """`exact: true` over nothing would be a lie."""
    with pytest.raises(mquans.SourceError, match="all were refused"):
        verify(session, small_frames[:2, None] * np.float32(np.inf))


def test_wrong_shape_is_an_error_not_a_refused_frame(session: mquans.Session) -> None:
    """A source for another network must not pass as a series of bad frames."""
    with pytest.raises(mquans.FrameError, match="shape"):
        verify(session, [np.zeros((1, 3, 8, 8), np.float32)])

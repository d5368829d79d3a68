"""The clips of the benchmark are what their names say."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mquans.errors import MquansError


def test_still_camera_differs_by_one_grey_level(shared: Path) -> None:
    """Else it would be too easy, or no still camera."""
    from mquans_studies.cases.networks import load_frames

    frames = [frame["input.1"] for frame in load_frames("fastestdet", "still", 0, 3, shared)[1]]
    steps = np.round((frames[1] - frames[0]) * 255).astype(int)
    assert set(np.unique(steps)) == {-2, -1, 0, 1, 2}
    assert not np.array_equal(frames[1], frames[2])


def test_cuts_are_where_they_are_said_to_be(shared: Path) -> None:
    from mquans_studies.cases.networks import cut_frames, load_frames

    frames = [frame["input"] for frame in load_frames("yunet", "cuts", 0, 20, shared)[1]]
    changes = [np.abs(now - then).mean() for then, now in pairwise(frames)]
    assert [index + 1 for index, change in enumerate(changes) if change > 20] == [6, 12, 18]
    assert cut_frames("cuts", 20) == [6, 12, 18]
    assert cut_frames("vtest", 20) == []


def test_every_shuffled_frame_is_new(shared: Path) -> None:
    from mquans_studies.cases.networks import load_frames

    frames = [frame["x"] for frame in load_frames("pilotnet", "shuffled", 0, 12, shared)[1]]
    assert len(frames) == 12
    assert all((then != now).mean() > 0.5 for then, now in pairwise(frames))


def test_every_network_has_a_clip_and_none_that_it_cannot_see() -> None:
    from mquans_studies.cases.networks import CLIPS, NETWORKS, belongs

    for network in NETWORKS:
        assert any(belongs(network, clip) for clip in CLIPS)
    assert not belongs("yolov8n", "driving")


def test_streams_leave_out_clips_that_are_too_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shared clips differ in length, and the default must run on all of them."""
    import streams

    lengths = dict(zip(streams.FIXED_CAMERAS, (3, 8, 9, 40, 2), strict=True))
    monkeypatch.setattr(
        streams,
        "load_frames",
        lambda _network, clip, _skip, most, _shared: ([], [clip] * min(most, lengths[clip])),
    )
    clips = streams.clips_for("yunet", 5, 8, 0, Path())
    assert [len(clip) for clip in clips] == [8] * 5
    kept = streams.FIXED_CAMERAS[1:4]
    assert [clip[0] for clip in clips] == [*kept, *kept[:2]]
    with pytest.raises(MquansError, match="41 frames"):
        streams.clips_for("yunet", 5, 41, 0, Path())

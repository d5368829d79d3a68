"""If these break, video of older cameras and of television reaches networks as combs."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mquans.plan import InputFormat
from mquans.sources import open_source
from mquans.sources.deinterlacing import Deinterlacer

from .conftest import Picture

av = pytest.importorskip("av")

FORMAT = InputFormat(name="x", width=64, height=48, layout="nhwc")
HALF = InputFormat(name="x", width=32, height=24, layout="nhwc")


def woven_frames(pictures: list[Picture]) -> Iterator[Any]:
    """Frames that are marked as two moments woven line by line."""
    graph = av.filter.Graph()
    height, width = pictures[0].shape[:2]
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat("rgb24"), time_base=Fraction(1, 25)
    )
    marked = graph.add("setfield", "tff"), graph.add("format", "yuv420p"), graph.add("buffersink")
    graph.link_nodes(source, *marked).configure()
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number
        graph.push(frame)
        yield graph.pull()


def write_interlaced(path: Path, pictures: list[Picture], codec: str) -> Path:
    """A lossy, but good, clip of such frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"flags": "+ilme+ildct"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.bit_rate = 8_000_000
        for frame in woven_frames(pictures):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    return path


@pytest.fixture
def still() -> Picture:
    """Stripes of two lines each, of which every field holds one: fields look the same as wholes
    only where lines are averaged as they lie."""
    rows = np.tile(np.array([40, 40, 200, 200], np.uint8), 12)
    return np.repeat(np.repeat(rows[:, None, None], 64, 1), 3, 2)


@pytest.mark.parametrize(("name", "codec"), [("a.mpg", "mpeg2video"), ("a.avi", "mpeg4")])
def test_shrinking_averages_over_areas_not_over_fields(
    tmp_path: Path, still: Picture, name: str, codec: str
) -> None:
    path = write_interlaced(tmp_path / name, [still] * 6, codec)
    frames = np.concatenate(list(open_source(path, HALF)))
    wanted = still.reshape(24, 2, 32, 2, 3).mean((1, 3))
    assert len(frames) == 6
    assert np.abs(frames[1:-1] - wanted).mean() < 4


def test_moments_are_no_longer_woven(tmp_path: Path) -> None:
    """A bar moves by half its width from one field to the next: every other line lags behind."""
    woven = []
    for number in range(8):
        picture = np.full((48, 64, 3), 30, np.uint8)
        for field in (0, 1):
            left = 4 + 4 * (2 * number + field) % 48
            picture[field::2, left : left + 8] = 220
        woven.append(picture)
    path = write_interlaced(tmp_path / "a.mpg", woven, "mpeg2video")
    frames = np.concatenate(list(open_source(path, FORMAT)))
    assert len(frames) == 8

    def combs(pictures: np.ndarray) -> float:
        return float(np.abs(np.diff(pictures[2:-2].astype(float), axis=1)).mean())

    assert combs(frames) < combs(np.stack(woven)) / 4


def test_no_frame_is_lost_where_the_size_changes_and_at_the_end(still: Picture) -> None:
    """Transport streams change it on the way; the filter holds a frame back."""
    whole = Deinterlacer()
    tall = [np.repeat(still, 2, 0)] * 3
    shown = [out for part in ([still] * 4, tall) for frame in woven_frames(part)
             for out in whole.push(frame)]  # fmt: skip
    shown += whole.finish()
    assert [frame.height for frame in shown] == [48] * 4 + [96] * 3
    assert not any(frame.interlaced_frame for frame in shown)


def test_what_is_not_interlaced_passes_as_it_is(still: Picture) -> None:
    """At once, and as the same object: ordinary video costs nothing more."""
    frame = av.VideoFrame.from_ndarray(still, format="rgb24")
    whole = Deinterlacer()
    assert list(whole.push(frame)) == [frame]
    assert list(whole.finish()) == []

"""If these break, HLS streams cannot be watched, show one picture per segment, or end wrongly."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mquans.errors import SourceError
from mquans.plan import InputFormat
from mquans.sources import network, open_source
from mquans.sources.playlist import PlaylistReader
from mquans.sources.selection import Selection

from ...playlist_server import PICTURES, PlaylistServer

FORMAT = InputFormat(name="x", width=48, height=32)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PlaylistServer]:
    server = PlaylistServer(tmp_path)
    yield server
    server.switch_off()


def level(frame: np.ndarray) -> float:
    return float(frame.mean())


def test_finished_playlist_is_a_clip(server: PlaylistServer) -> None:
    """Every picture of it, at once, and its end is no error."""
    server.list(0, 4, ended=True)
    with open_source(server.url, FORMAT) as source, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (source.live, source.length) == (False, 4 * PICTURES)
        levels = [level(frame) for frame in source]
    wanted = [20 * (s + 1) + p for s in range(4) for p in range(PICTURES)]
    np.testing.assert_allclose(levels, wanted, atol=4)


def test_finished_playlist_whose_server_goes_is_cut_off(server: PlaylistServer) -> None:
    server.list(0, 6, ended=True)
    (Path(server._folder) / "4.ts").unlink()
    (Path(server._folder) / "5.ts").unlink()
    with (
        open_source(server.url, FORMAT) as source,
        pytest.warns(UserWarning, match="cut off; 40 of about 60 frames"),
    ):
        assert len(list(source)) == 40


def test_live_playlist_that_is_finished_ends(server: PlaylistServer) -> None:
    """Also without reconnecting: the broadcast is over. New segments are found."""
    server.list(0, 3, ended=False)
    with open_source(server.url, FORMAT, reconnect=False) as source:
        assert (source.live, source.length) == (True, None)
        levels, times = [level(next(source))], []
        server.list(1, 5, ended=True)
        for frame in source:
            levels.append(level(frame))
            times.append(source.time_s)
    assert levels[0] == pytest.approx(20, abs=8)
    assert max(levels) > 100
    assert times == sorted(times)
    # A `LiveReader` drops what comes in bursts; far more are left of four seconds at their pace.
    assert len(levels) > 2 * PICTURES


def test_live_playlist_that_stalls_says_so(
    server: PlaylistServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "PLAYLIST_SILENCE_S", 1.5)
    server.list(0, 1, ended=False)
    with (
        open_source(server.url, FORMAT, reconnect=False) as source,
        pytest.raises(SourceError, match=r"sent nothing for 1\.5 s, after \d+ frames"),
    ):
        list(source)


def test_playlist_whose_server_is_gone_is_no_end(server: PlaylistServer) -> None:
    server.list(0, 1, ended=False)
    with open_source(server.url, FORMAT, reconnect=False) as source:
        next(source)
        server.switch_off()
        with pytest.raises(SourceError, match=r"the stream (ended|broke off) after"):
            list(source)
        server.switch_on()


@pytest.mark.filterwarnings("ignore::mquans.sources.SourceWarning")
def test_stream_goes_on_when_its_server_returns(server: PlaylistServer) -> None:
    server.list(0, 1, ended=False)
    with open_source(server.url, FORMAT) as source:
        next(source)
        server.switch_off()
        server.list(2, 4, ended=False)
        threading.Timer(1.5, server.switch_on).start()
        assert any(level(frame) > 55 for frame in source)


@pytest.mark.filterwarnings("ignore::mquans.sources.SourceWarning")
def test_playlist_that_stays_as_it_is_shows_nothing_twice(
    server: PlaylistServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened again, it lists what was shown: as if the camera were back, for ever."""
    monkeypatch.setattr(network, "PLAYLIST_SILENCE_S", 0.5)
    server.list(0, 1, ended=False)
    with open_source(server.url, FORMAT) as source:
        threading.Timer(3, server.list, (0, 1), {"ended": True}).start()
        times = [source.time_s for _ in source]
    assert len(times) > 1
    assert len(times) == len(set(times))


def test_best_of_several_sizes_is_watched(server: PlaylistServer, tmp_path: Path) -> None:
    server.list(0, 2, ended=True)
    (tmp_path / "all.m3u8").write_text(
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=900000\nlive.m3u8\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=100000\nsmall/none.m3u8\n"
    )
    with open_source(server.url.replace("live", "all"), FORMAT) as source:
        assert len(list(source)) == 2 * PICTURES


def test_playlist_leads_to_no_files(server: PlaylistServer, tmp_path: Path, clip: Path) -> None:
    """A stranger's playlist could name any of them."""
    (tmp_path / "a.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{clip}\n#EXT-X-ENDLIST\n")
    with pytest.raises(SourceError, match=r"a\.m3u8: (cannot be opened|holds no video)"):
        open_source(server.url.replace("live", "a"), FORMAT)


class Picture:
    def __init__(self, time: float | None) -> None:
        self.time = time


class Video:
    """Decoded at once, as segments are."""

    name, live = "video", True

    def __init__(self, *times: float | None) -> None:
        self._pictures = [Picture(time) for time in times]

    def frames(self, selection: Selection) -> Iterator[Picture]:
        yield from self._pictures

    def close(self) -> None:
        pass


def paced(*times: float | None, late_by: dict[int, float] | None = None) -> list[float]:
    """When each of the pictures is handed on, in seconds."""
    now = [100.0]

    def pause(seconds: float) -> bool:
        now[0] += seconds
        return False

    reader = PlaylistReader(
        Video(*times),  # type: ignore[arg-type]
        lambda: None,  # type: ignore[arg-type, return-value]
        pause=pause,
        clock=lambda: now[0],
    )
    handed = []
    for number, _ in enumerate(reader.frames(Selection())):
        handed.append(round(now[0] - 100, 3))
        now[0] += (late_by or {}).get(number, 0.0)
    return handed


def test_pictures_of_a_segment_come_at_their_pace() -> None:
    assert paced(7.0, 7.5, 8.0, 9.0) == [0.0, 0.5, 1.0, 2.0]


def test_what_came_late_is_caught_up() -> None:
    """A hiccup of the network does not delay everything behind it for good."""
    assert paced(0.0, 1.0, 2.0, 3.0, late_by={0: 1.75}) == [0.0, 1.75, 2.0, 3.0]


@pytest.mark.parametrize("jump", [-5000.0, 5000.0])
def test_clock_that_is_set_anew_keeps_nobody_waiting(jump: float) -> None:
    assert paced(9000.0, 9001.0, 9001 + jump, 9002 + jump, None) == [0.0, 1.0, 1.0, 2.0, 2.0]

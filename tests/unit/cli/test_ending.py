"""If these break, whoever stops a camera with Ctrl-C loses what was computed, or cannot stop it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mquans.cli.ending import EndedBySignals
from mquans.sources import Source, open_source
from mquans.sources.live import LiveReader
from mquans.sources.selection import Selection


class Camera:
    """Sends frames for ever."""

    name = "camera"
    total = None

    def frames(self, selection: Selection) -> Iterator[Any]:
        for index in selection.apply(range(1_000_000)):
            yield np.full((1, 2), index, np.float32)

    def close(self) -> None:
        pass


@pytest.fixture
def handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def live_source() -> Source:
    return Source(LiveReader(Camera(), timeout_s=5), Selection(), None, None)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_first_signal_ends_a_live_stream_and_the_second_interrupts(
    sent: signal.Signals, code: int
) -> None:
    with live_source() as source, EndedBySignals(source) as ended:
        next(source)
        os.kill(os.getpid(), sent)
        assert len(list(source)) <= 1  # one may have been waiting
        assert ended.code == code
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), sent)


@pytest.mark.usefixtures("handlers")
def test_signal_before_the_first_frame_interrupts() -> None:
    """There is nothing to keep, and the camera may never answer."""
    with (
        live_source() as source,
        EndedBySignals(source),
        pytest.raises(KeyboardInterrupt),
    ):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("handlers")
def test_clips_are_interrupted_as_ever() -> None:
    """Part of a clip's outputs would be taken for all of them."""
    frames = [np.zeros((1, 2), np.float32)] * 3
    with open_source(frames) as source, EndedBySignals(source):
        next(source)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("handlers")
def test_handlers_are_left_as_they_were() -> None:
    """Also a hangup that nohup ignores."""
    with live_source() as source:
        with EndedBySignals(source):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGINT) != signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler

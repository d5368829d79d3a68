"""If these break, a live network hears gaps, or a missing microphone ends in a traceback.

The microphone is played by a module that stands for sounddevice; sound cards are rare in tests.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mquans.errors import DependencyError, SourceError
from mquans.plan import AudioFormat
from mquans.sources import SourceWarning, begins, microphone, open_source

FORMAT = AudioFormat(name="x", shape=(1, 6), rate=8000, window=6, hop=4, pad=True)


class Device:
    """One input stream; delivers `pieces` when it is started."""

    pieces: tuple[np.ndarray, ...] = ()
    opened: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        if options["device"] == 7:
            raise sys.modules["sounddevice"].PortAudioError("Invalid device")
        Device.opened = options
        self._callback = options["callback"]
        self.closed = False

    def start(self) -> None:
        for piece in Device.pieces:
            self._callback(piece[:, None], len(piece), None, None)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def sounddevice(monkeypatch: pytest.MonkeyPatch) -> type[Device]:
    module: Any = ModuleType("sounddevice")
    module.InputStream = Device
    module.PortAudioError = type("PortAudioError", (Exception,), {})
    module.query_devices = lambda: [
        {"name": "speaker", "max_input_channels": 0},
        {"name": "headset", "max_input_channels": 1},
    ]
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    Device.pieces = tuple(np.full(4, level, np.float32) for level in (0.25, 0.5, 0.75))
    return Device


def test_every_hop_is_heard(sounddevice: type[Device]) -> None:
    with open_source("mic:", FORMAT, frames=3) as source:
        assert (source.name, source.length) == ("microphone", None)
        frames, times = zip(*((frame, source.time_s) for frame in source), strict=True)
    assert times == (4 / 8000, 8 / 8000, 12 / 8000)
    assert [frame["x"][0].tolist() for frame in frames] == [
        [0, 0, 0.25, 0.25, 0.25, 0.25],
        [0.25, 0.25, 0.5, 0.5, 0.5, 0.5],
        [0.5, 0.5, 0.75, 0.75, 0.75, 0.75],
    ]
    assert [begins(frame) for frame in frames] == [True, False, False]
    wanted = {"samplerate": 8000, "blocksize": 4, "device": None, "channels": 1}
    assert wanted.items() <= sounddevice.opened.items()


def test_a_microphone_is_chosen_by_its_index(sounddevice: type[Device]) -> None:
    with open_source("mic:2", FORMAT) as source:
        assert source.name == "microphone 2"
        assert sounddevice.opened["device"] == 2


def test_what_cannot_be_opened_lists_what_there_is(sounddevice: type[Device]) -> None:
    with pytest.raises(SourceError, match=r"microphone 7: cannot be opened.*mic:1 \(headset\)"):
        open_source("mic:7", FORMAT)


def test_a_microphone_that_falls_silent_for_good_is_told(
    sounddevice: type[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unplugged one must not hang a program for ever."""
    monkeypatch.setattr(microphone, "TIMEOUT_S", 0.01)
    with (
        pytest.raises(SourceError, match="sent nothing"),
        open_source("mic:", FORMAT) as source,
    ):
        list(source)


def test_ending_is_noticed_while_it_is_silent(sounddevice: type[Device]) -> None:
    """Ctrl-C ends the run as if the microphone had ended; what was heard is kept."""
    with open_source("mic:", FORMAT) as source:
        assert source.live
        next(source)
        assert source.end()
        assert len(list(source)) <= 2


def test_a_network_that_is_too_slow_is_told(sounddevice: type[Device]) -> None:
    """Then states miss hops; memory must not grow instead."""
    sounddevice.pieces = (np.zeros(4, np.float32),) * 20010
    source = open_source("mic:", FORMAT, frames=1)
    with pytest.warns(SourceWarning, match="10 hops were dropped"):
        source.close()


@pytest.mark.parametrize(
    ("error", "message"),
    [(ImportError, r'"mquans\[microphone\]"'), (OSError, "library PortAudio")],
)
def test_missing_extra_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], message: str
) -> None:
    class Missing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sounddevice":
                raise error(name)

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(DependencyError, match=message):
        open_source("mic:", FORMAT)

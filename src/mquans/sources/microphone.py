"""A microphone of this machine, through PortAudio."""

from __future__ import annotations

import queue
import warnings
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.errors import DependencyError, SourceError
from mquans.plan.audio import AudioFormat
from mquans.sources.audio_frames import AudioFrames, Tensor, time_of
from mquans.sources.frames import FirstFrame, Timed
from mquans.sources.selection import Selection
from mquans.sources.warning import SourceWarning

TIMEOUT_S = 5.0
"""How long the microphone may take to send the next samples."""

_NOTICED_WITHIN_S = 0.2
"""An end that a signal handler has set."""

MOST_WAITING_S = 10.0
"""Of sound, when frames are computed more slowly than they come; then the oldest is dropped."""


class MicrophoneReader:
    """Frames of what a microphone hears. Unlike pictures of a camera, none is left out while the
    network keeps up: states need all of them."""

    total = None

    def __init__(self, index: int | None, format: AudioFormat) -> None:
        sounddevice = _sounddevice()
        self.name = "microphone" if index is None else f"microphone {index}"
        self._format = format
        self._frames = AudioFrames(format)
        self._dropped = 0
        self._ended = False
        self._waiting: queue.Queue[npt.NDArray[np.float32]] = queue.Queue(
            max(2, round(MOST_WAITING_S * format.rate / format.hop))
        )
        try:
            # PortAudio resamples where the device has another rate.
            self._stream = sounddevice.InputStream(
                samplerate=format.rate,
                blocksize=format.hop,
                device=index,
                channels=1,
                dtype="float32",
                callback=self._heard,
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise SourceError(
                f"cannot be opened: {error}.",
                where=self.name,
                hint=f"Devices with an input: {_listed(sounddevice)}.",
            ) from error

    def frames(self, selection: Selection) -> Iterator[Timed]:
        """The network's input by name, as it is heard.

        Raises:
            SourceError: the microphone fell silent for good.
        """
        begun = False
        for frame, time_s in selection.apply(self._every_frame()):
            feeds = {self._format.name: frame}
            yield Timed(feeds if begun else FirstFrame(feeds), time_s)
            begun = True

    def end(self) -> None:
        """Hand over no more, from a signal handler."""
        self._ended = True

    def close(self) -> None:
        self._stream.close()
        if self._dropped:
            warnings.warn(
                f"{self.name}: {self._dropped} hops were dropped, because frames took longer than "
                "they last.",
                SourceWarning,
                stacklevel=2,
            )

    def _every_frame(self) -> Iterator[tuple[Tensor, float]]:
        number, silent_s = count(), 0.0
        while not self._ended:
            try:
                samples = self._waiting.get(timeout=_NOTICED_WITHIN_S)
            except queue.Empty:
                silent_s += _NOTICED_WITHIN_S
                if silent_s >= TIMEOUT_S:
                    raise SourceError(
                        f"sent nothing for {TIMEOUT_S:g} s.", where=self.name
                    ) from None
                continue
            silent_s = 0.0
            dropped_s = self._dropped * self._format.hop / self._format.rate
            for frame in self._frames.push(samples):
                yield frame, time_of(self._format, next(number)) + dropped_s

    def _heard(self, samples: npt.NDArray[np.float32], *_: object) -> None:
        """Called by PortAudio on a thread of its own, which must not wait."""
        if self._waiting.full():
            self._dropped += 1
            with suppress(queue.Empty):
                self._waiting.get_nowait()
        self._waiting.put_nowait(samples[:, 0].copy())


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package without PortAudio
        missing = "package 'sounddevice'" if isinstance(error, ImportError) else "library PortAudio"
        raise DependencyError(
            f"microphones need the {missing}.",
            hint='Install it with: pip install "mquans[microphone]"'
            + (", and PortAudio from your system's packages." if "lib" in missing else ""),
        ) from None
    return sounddevice


def _listed(sounddevice: Any) -> str:
    devices = [
        f"mic:{index} ({device['name']})"
        for index, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"] > 0
    ]
    return ", ".join(devices) or "none"

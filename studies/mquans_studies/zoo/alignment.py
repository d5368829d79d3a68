"""Which phone state every feature frame of a recording belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

import numpy as np

from mquans_studies.zoo.speech import RATE, Recording, resample

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PHONES = (
    "Z IH R OW", "W AH N", "T UW", "TH R IY", "F AO R", "F AY V", "S IH K S", "S EH V AH N",
    "EY T", "N AY N",
)  # fmt: skip
"""Of the words, from the CMU pronouncing dictionary; used by uniform segmentation only."""

SILENCE = "SIL"
STATES_PER_PHONE = 3
ALIGNER_RATE = 16000
"""Of pocketsphinx's English model."""

ALIGNER_FRAMES = 100
"""Per second."""

QUIET = 0.1
"""Seconds of silence on both sides: alignment wants silence around the word."""


@dataclass(frozen=True, slots=True)
class State:
    """A state of a phone, such as `AY.1`, from second `begin` of the recording on."""

    name: str
    begin: float
    end: float


class Alignment:
    """States by name of the recording.

    Attributes:
        states: by recording; those which did not align are absent.
        method: what found them, for people.
        names: of all states, sorted, silence first.
    """

    def __init__(self, states: dict[str, list[State]], method: str) -> None:
        self.states = states
        self.method = method
        found = {state.name for several in states.values() for state in several}
        self.names = [SILENCE, *sorted(found - {SILENCE})]


def align(recordings: Iterable[Recording]) -> Alignment:
    """States by pocketsphinx, where it is installed, else equal shares of the recording."""
    recordings = list(recordings)
    try:
        import_module("pocketsphinx")
    except ImportError:
        shares = {recording.name: _equal_shares(recording) for recording in recordings}
        return Alignment(shares, "equal shares of every recording (pocketsphinx is not installed)")
    method = f"pocketsphinx {metadata.version('pocketsphinx')}, its English model"
    return Alignment(_by_pocketsphinx(recordings), method)


def _by_pocketsphinx(recordings: list[Recording]) -> dict[str, list[State]]:
    pocketsphinx = import_module("pocketsphinx")
    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
    found = {}
    for recording in recordings:
        quiet = np.zeros(round(QUIET * ALIGNER_RATE), np.float32)
        loud = resample(recording.samples, RATE, ALIGNER_RATE)
        samples = np.concatenate([quiet, np.clip(loud, -1, 1), quiet])
        audio = (samples * 32767).astype(np.int16).tobytes()
        try:
            decoder.set_align_text(WORDS[recording.digit])
            _decode(decoder, audio)
            decoder.set_alignment()
            _decode(decoder, audio)
            # Its parts live as long as it does.
            alignment = decoder.get_alignment()
            states = [
                _state(phone.name, number, state.start, state.duration)
                for word in alignment
                for phone in word
                for number, state in enumerate(phone)
            ]
        except (RuntimeError, TypeError):
            continue  # it could not be aligned
        if any(state.name != SILENCE for state in states):
            found[recording.name] = states
    return found


def _state(phone: str, number: int, start: int, duration: int) -> State:
    name = SILENCE if phone == SILENCE else f"{phone}.{number}"
    begin = start / ALIGNER_FRAMES - QUIET
    return State(name, begin, begin + duration / ALIGNER_FRAMES)


def _decode(decoder: Any, audio: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(audio, full_utt=True)
    decoder.end_utt()


def _equal_shares(recording: Recording) -> list[State]:
    names = [
        f"{phone}.{state}"
        for phone in PHONES[recording.digit].split()
        for state in range(STATES_PER_PHONE)
    ]
    edges = np.linspace(0, len(recording.samples) / RATE, len(names) + 1)
    return [State(n, *e) for n, *e in zip(names, edges[:-1], edges[1:], strict=True)]

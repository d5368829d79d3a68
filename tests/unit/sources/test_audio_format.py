"""If these break, users must spell out what a shape tells, or get features that do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from mquans.errors import SourceError
from mquans.sources import FRONT_ENDS, guess_audio_format


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ([1, 1, 161], {"features": "log_power", "window": 320, "hop": 160, "log": "10"}),
        ([None, None, 161], {"features": "log_power", "shape": (1, 1, 161)}),
        ([1, 1, 257], {"features": "magnitude", "window": 512, "hop": 128, "pad": True}),
        ([1, 576], {"features": "samples", "window": 576, "hop": 512, "pad": True}),
        ([None, 576], {"shape": (1, 576)}),
        ([1, 288], {"rate": 8000, "window": 288, "hop": 256}),
    ],
)
def test_known_networks_are_told_by_their_shape(
    shape: list[int | None], expected: dict[str, Any]
) -> None:
    format = guess_audio_format("x", shape)
    assert {name: getattr(format, name) for name in expected} == expected


def test_a_named_front_end_fixes_open_dimensions() -> None:
    """Silero's own file declares [batch, sequence]."""
    assert guess_audio_format("input", [None, None], front_end="silero").shape == (1, 576)


@pytest.mark.parametrize(
    ("shape", "given", "expected"),
    [
        ([1, 1, 40], {"features": "fbank"},
         {"bins": 40, "window": 400, "hop": 160, "fft": 512, "gain": 32768.0, "low": 20.0}),
        ([1, 440], {"features": "fbank", "context": (5, 5), "rate": 8000},
         {"bins": 40, "window": 200, "hop": 80, "fft": 256, "shape": (1, 440)}),
        ([1, 1, 120], {"features": "fbank", "context": (0, 2), "subsample": 3}, {"bins": 40}),
        ([1, 1, 40, 98], {"features": "log_mel", "layout": "ft"}, {"bins": 40, "steps": 98}),
        ([1, 98, 13], {"features": "mfcc"}, {"coefficients": 13, "bins": 23, "steps": 98}),
        ([1, 1, 129], {"features": "power"}, {"window": 256, "fft": 256, "hop": 128}),
        ([1, 1, 129], {"features": "power", "window": 200}, {"fft": 256, "hop": 100}),
        ([None, 1, 16000], {"features": "samples"}, {"window": 16000, "hop": 16000}),
        ([None, None, None], {"features": "log_mel", "bins": 64}, {"shape": (1, 1, 64)}),
        ([1, 1, 80], {"features": "fbank", "gain": 1.0, "window": 320, "hop": 80, "floor": None},
         {"gain": 1.0, "window": 320, "hop": 80, "fft": 512}),
    ],
)  # fmt: skip
def test_features_and_shape_say_the_rest(
    shape: list[int | None], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    format = guess_audio_format("x", shape, **given)
    assert {name: getattr(format, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        ([1, 3, 224, 224], {}, "nothing says how sound becomes input 'x'"),
        ([], {}, "nothing says how"),
        ([1, 1760], {}, "likely a waveform: --features samples, and --sound gain=32768"),
        ([1, 1, 257, 1], {}, "or a --front-end.$"),
        ([1, 100], {"front_end": "siren"}, "no front end 'siren'.*silero"),
        ([1, 100], {"features": "chroma"}, "no features 'chroma'.*log_mel"),
        ([None, None], {"features": "samples"}, "the window of input 'x'.*--window"),
        ([1, 100], {"front_end": "nsnet2"}, "161 features, which do not fill"),
        ([1, 40], {"features": "fbank", "rate": 0}, "Expected `int` >= 1"),
        ([1, 161], {"width": 5}, "width is no part of the preparation of sound"),
        ([1, 40], {"features": "fbank", "hop": 500}, "hop of 500 samples is longer"),
        ([1, 41], {"features": "fbank", "context": (1, 0)}, "do not fill shape"),
    ],
)
def test_what_does_not_fit_is_named(
    shape: list[int | None], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        guess_audio_format("x", shape, **given)


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_every_front_end_can_be_applied(name: str) -> None:
    shape = (None, None, None) if name in ("nsnet2", "dtln") else (None, None)
    assert guess_audio_format("x", shape, front_end=name).steps == 1

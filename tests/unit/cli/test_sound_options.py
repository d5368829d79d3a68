"""What users type for networks that listen, and what they are told when it cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mquans.cli.sound_options import (
    FeaturesName,
    constants,
    sound_fields,
    states,
)
from mquans.errors import MquansError


def fields(**given: Any) -> dict[str, Any]:
    names = ("front_end", "features", "rate", "window", "hop", "bins", "context", "subsample",
             "sound")  # fmt: skip
    return sound_fields(**{**dict.fromkeys(names), **given})


def test_fields_hold_only_what_was_given() -> None:
    """The rest is guessed from the network."""
    assert fields() == {}
    assert fields(front_end="silero-8k") == {"front_end": "silero-8k"}
    assert fields(features=FeaturesName.fbank, rate=8000, context="5", subsample=3) == {
        "features": "fbank",
        "rate": 8000,
        "context": (5, 5),
        "subsample": 3,
    }
    assert fields(context="10,2")["context"] == (10, 2)


def test_any_other_field_is_reached_in_its_own_type() -> None:
    """A plan has more fields than a command should have flags."""
    given = ["gain=32768", "pad=true", "log=10", "coefficients=13", "name=a=b", "low=64.5"]
    assert fields(sound=given) == {
        "gain": 32768.0, "pad": True, "log": "10", "coefficients": 13, "name": "a=b", "low": 64.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        {"shape": [1, 120], "features": "fbank", "bins": 40},
        {"format": "mquans-plan", "audio": {"features": "fbank", "bins": 40}},
        {"name": "gru", "notes": {"audio": {"features": "fbank", "bins": 40}}},
    ],
)
def test_a_front_end_from_a_file(tmp_path: Path, content: dict[str, Any]) -> None:
    """One plan's front end serves the next; forty means are not typed. Flags still win."""
    path = tmp_path / "front.json"
    path.write_text(json.dumps(content))
    assert fields(front_end=str(path)) == {"features": "fbank", "bins": 40}
    assert fields(front_end=str(path), bins=23)["bins"] == 23


@pytest.mark.parametrize(
    "content", ["", "[1]", "{}", '{"notes": 3}', '{"audio": null}', "[" * 9999]
)
def test_a_file_without_a_front_end_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "front.json"
    path.write_text(content)
    with pytest.raises(MquansError, match=r"front\.json: (is not JSON|holds no preparation)"):
        fields(front_end=str(path))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"context": "a"}, "--context 'a'.*like 5"),
        ({"context": "1,2,3"}, "--context"),
        ({"sound": ["gain"]}, "--sound 'gain' is no pair"),
        ({"sound": ["gain=1", "gain=2"]}, "names one twice"),
        ({"sound": ["volume=1"]}, "'volume' is no field.*Fields: name, rate"),
        ({"sound": ["gain=loud"]}, "gain='loud' cannot be read"),
        ({"sound": ["fft=-1"]}, "fft='-1' cannot be read"),
        ({"sound": ["mean=1"]}, "'mean' is no field"),
    ],
)
def test_what_cannot_be_read_says_how_to_write_it(given: dict[str, Any], message: str) -> None:
    """One sentence and a way out."""
    with pytest.raises(MquansError, match=message):
        fields(**given)


def test_constants_and_states_by_name() -> None:
    assert constants(["sr=16000", "x=1/4"]) == {"sr": 16000.0, "x": 0.25}
    assert constants(None) == {}
    assert states(["h=hn", "c=cn"]) == {"h": "hn", "c": "cn"}
    assert states(None) is None
    with pytest.raises(MquansError, match="--constant 'sr'"):
        constants(["sr"])
    with pytest.raises(MquansError, match="--constant sr 'fast' is not a number"):
        constants(["sr=fast"])
    with pytest.raises(MquansError, match="--state '=hn'"):
        states(["=hn"])

"""Options of networks that listen: preparation of sound, constant inputs and states."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from mquans.cli.options import number
from mquans.errors import MquansError
from mquans.files import printable, read_limited

SOUND = "Preparation of sound"
NETWORK = "Inputs that are no frames"

LIMIT_BYTES = 64 * 2**20
"""As of plans."""


class FeaturesName(StrEnum):
    """What is computed of a window."""

    samples = "samples"
    magnitude = "magnitude"
    power = "power"
    log_power = "log_power"
    log_mel = "log_mel"
    mfcc = "mfcc"
    fbank = "fbank"


FrontEnd = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE.json",
        help="Of nsnet2, dtln, silero or silero-8k (default: by shape), or the audio of a plan.",
        rich_help_panel=SOUND,
    ),
]
Features = Annotated[
    FeaturesName | None,
    typer.Option(help="Of every window, for any other network.", rich_help_panel=SOUND),
]
Rate = Annotated[int | None, typer.Option(min=1, help="Hz (default 16000).", rich_help_panel=SOUND)]
Window = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Samples of a window (default by features); pictures, of networks that see movement.",
        rich_help_panel=SOUND,
    ),
]
Hop = Annotated[
    int | None,
    typer.Option(
        min=1, help="Samples, or pictures, from one window to the next.", rich_help_panel=SOUND
    ),
]
Bins = Annotated[
    int | None, typer.Option(min=1, help="Mel bands (default by shape).", rich_help_panel=SOUND)
]
Context = Annotated[
    str | None,
    typer.Option(
        metavar="N|L,R", help="Stack so many windows before and behind.", rich_help_panel=SOUND
    ),
]
Subsample = Annotated[
    int | None, typer.Option(min=1, help="Use every k-th step.", rich_help_panel=SOUND)
]
Sound = Annotated[
    list[str] | None,
    typer.Option(
        "--sound",
        metavar="FIELD=VALUE",
        help="Any other field of the plan's audio, such as gain=32768 or pad=true.",
        rich_help_panel=SOUND,
    ),
]
Constants = Annotated[
    list[str] | None,
    typer.Option(
        "--constant",
        metavar="INPUT=VALUE",
        help="An input that never changes, such as sr=16000.",
        rich_help_panel=NETWORK,
    ),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="INPUT=OUTPUT",
        help="A state input, fed by that output of the last frame (default: by their names).",
        rich_help_panel=NETWORK,
    ),
]
CarryState = Annotated[
    bool,
    typer.Option(
        "--carry-state",
        help="LSTM, GRU and RNN without state inputs go on where the last frame ended.",
        rich_help_panel=NETWORK,
    ),
]


def sound_fields(
    front_end: str | None,
    features: FeaturesName | None,
    rate: int | None,
    window: int | None,
    hop: int | None,
    bins: int | None,
    context: str | None,
    subsample: int | None,
    sound: list[str] | None,
) -> dict[str, Any]:
    """Fields of `AudioFormat`, and `front_end`, that the user gave.

    Raises:
        MquansError: a value that cannot be read.
    """
    stored: dict[str, Any] = {}
    if front_end is not None and Path(front_end).suffix.lower() == ".json":
        stored, front_end = _stored(front_end), None
    fields: dict[str, Any] = {
        "front_end": front_end,
        "features": None if features is None else features.value,
        "rate": rate,
        "window": window,
        "hop": hop,
        "bins": bins,
        "subsample": subsample,
    }
    fields = stored | {name: value for name, value in fields.items() if value is not None}
    if context is not None:
        match = re.fullmatch(r"([0-9]{1,4})(?:,([0-9]{1,4}))?", context)
        if match is None:
            raise MquansError(
                f"--context {context!r} is not a number of windows.",
                hint="Write it like 5, or like 10,2 for ten before and two behind.",
            )
        fields["context"] = (int(match[1]), int(match[2] or match[1]))
    return fields | {name: _field(name, text) for name, text in _pairs("--sound", sound).items()}


def constants(entries: list[str] | None) -> dict[str, float]:
    """`name=number` entries by name.

    Raises:
        MquansError: an entry that is not of this form.
    """
    pairs = _pairs("--constant", entries)
    return {name: number(f"--constant {name}", text) for name, text in pairs.items()}


def states(entries: list[str] | None) -> dict[str, str] | None:
    """`input=output` entries by input; None, for states to be guessed, without any.

    Raises:
        MquansError: an entry that is not of this form.
    """
    return _pairs("--state", entries) or None


def _pairs(flag: str, entries: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for entry in entries or []:
        name, equals, value = entry.partition("=")
        if not (name and equals and value) or name in pairs:
            raise MquansError(
                f"{flag} {entry!r} {'names one twice' if name in pairs else 'is no pair'}.",
                hint="Write it as NAME=VALUE, once for every name.",
            )
        pairs[name] = value
    return pairs


def _stored(path: str) -> dict[str, Any]:
    """The fields of a format of sound in a file: a plan, a card of the zoo, or the format alone.

    Raises:
        MquansError: there is none.
    """
    import json

    where = printable(path)
    try:
        found = json.loads(read_limited(path, LIMIT_BYTES))
    except (ValueError, RecursionError) as error:
        raise MquansError("is not JSON.", where=where) from error
    fields = found if isinstance(found, dict) else {}
    notes = fields.get("notes")
    for holder in (fields, notes if isinstance(notes, dict) else {}):
        if isinstance(holder.get("audio"), dict):
            fields = holder["audio"]
            break
    if "features" not in fields:
        raise MquansError(
            "holds no preparation of sound.",
            where=where,
            hint="Give a plan made from sound, or a JSON file with the fields of its audio.",
        )
    # How long a frame is, is for the network to say.
    return {name: value for name, value in fields.items() if name != "shape"}


def _field(name: str, text: str) -> Any:
    """A field of `AudioFormat` from text.

    Raises:
        MquansError: there is no such field, or it does not take this.
    """
    import msgspec

    from mquans.plan import AudioFormat

    kinds = get_type_hints(AudioFormat, include_extras=True)
    # What has several values has a flag of its own; the shape is the network's.
    plain = [field for field in kinds if field not in ("shape", "mean", "std", "context")]
    if name not in plain:
        raise MquansError(
            f"--sound {name!r} is no field of the plan's audio.",
            hint=f"Fields: {', '.join(plain)}.",
        )
    try:
        return msgspec.convert(text, kinds[name], strict=False)
    except msgspec.ValidationError as error:
        raise MquansError(f"--sound {name}={text!r} cannot be read: {error}.") from None

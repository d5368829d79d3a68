"""Options that several commands share, and what their text means."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mquans.errors import MquansError
from mquans.threads import MOST_THREADS

PREPARATION = "Preparation of pictures"
SELECTION = "Which frames"
BUDGET = "Within a budget"


class RuleName(StrEnum):
    """When a held value is updated."""

    hold = "hold"
    nearest = "nearest"


class RuleChoice(StrEnum):
    """A rule, or the better one under a budget."""

    hold = "hold"
    nearest = "nearest"
    either = "either"


class WeightBits(StrEnum):
    """Width of the integer weights."""

    int8 = "8"
    int16 = "16"


class MethodName(StrEnum):
    """How precision is chosen under a budget."""

    criticality = "criticality"
    approxann = "approxann"
    per_layer = "per_layer"
    uniform = "uniform"
    linear = "linear"
    dorefa = "dorefa"


class CriticalityName(StrEnum):
    """How neurons are weighed."""

    fisher = "fisher"
    taylor = "taylor"
    closed_form = "closed_form"
    perturb = "perturb"


class ObjectiveName(StrEnum):
    """What a plan saves."""

    macs = "macs"
    time = "time"
    energy = "energy"


class ResizeName(StrEnum):
    """How a picture is fitted to the network's input."""

    stretch = "stretch"
    letterbox = "letterbox"


class OnErrorName(StrEnum):
    """What to do about a file of a folder or glob that cannot be read."""

    stop = "stop"
    skip = "skip"


class EngineName(StrEnum):
    """What computes the frames of a server."""

    mquans = "mquans"
    onnxruntime = "onnxruntime"


class AnchorName(StrEnum):
    """Where a picture whose aspect is kept lies in the network's input."""

    centre = "centre"
    top_left = "top_left"


class PresetName(StrEnum):
    """Preparations of pictures that many networks share (`sources.presets`)."""

    pixels = "pixels"
    unit = "unit"
    signed = "signed"
    imagenet = "imagenet"
    caffe = "caffe"
    yolo = "yolo"
    yolox = "yolox"


class ColorName(StrEnum):
    """Order of colour channels."""

    rgb = "rgb"
    bgr = "bgr"
    gray = "gray"
    yuv = "yuv"


class LayoutName(StrEnum):
    """Order of axes of the network's input."""

    nchw = "nchw"
    nhwc = "nhwc"
    ncthw = "ncthw"
    ntchw = "ntchw"
    nthwc = "nthwc"


_SOURCE = (
    "Video file, rtsp:// or http:// URL, camera index, sound file, mic:, - for standard input, "
    "folder or glob of images, videos or sound files, .npy or .npz."
)

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="The network, an ONNX file.")]
PlanFile = Annotated[Path, typer.Option("--plan", help="The plan made by mquans calibrate.")]
SourceOption = Annotated[str, typer.Option("--source", help=_SOURCE)]
Sources = Annotated[
    list[str], typer.Option("--source", help=f"{_SOURCE} May be given several times.")
]
OptionalSource = Annotated[
    str | None, typer.Option("--source", help=f"Also measure reuse on a clip. {_SOURCE}")
]
Frames = Annotated[
    int | None, typer.Option(min=1, help="At most this many frames.", rich_help_panel=SELECTION)
]
Skip = Annotated[
    int, typer.Option(min=0, help="Leave out the first frames.", rich_help_panel=SELECTION)
]
Stride = Annotated[
    int, typer.Option(min=1, help="Take every N-th frame.", rich_help_panel=SELECTION)
]
OnErrorOption = Annotated[
    OnErrorName,
    typer.Option(
        "--on-error",
        help="Stop at a file that cannot be read, or leave it out and count it.",
        rich_help_panel=SELECTION,
    ),
]
Threads = Annotated[
    int, typer.Option(min=1, max=MOST_THREADS, help="Cores that one frame may use.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Metric = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|MODULE:FUNCTION",
        help="A loss of your own, or a ready one such as centerface_f1.",
        rich_help_panel=BUDGET,
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE[:COLUMN]",
        help="One per source: .csv, .npy or .jsonl, a label per frame, or a table of boxes.",
        rich_help_panel=BUDGET,
    ),
]
InputShapes = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        metavar="NAME:D,D,...",
        help="Fix the shape of an input, such as images:1,3,320,320.",
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="WxH", help="Size of the network's pictures.", rich_help_panel=PREPARATION
    ),
]
Resize = Annotated[
    ResizeName | None,
    typer.Option(
        help="Stretch to the size (default), or keep the aspect.", rich_help_panel=PREPARATION
    ),
]
Anchor = Annotated[
    AnchorName | None,
    typer.Option(
        help="Where a letterboxed picture lies (default centre).", rich_help_panel=PREPARATION
    ),
]
Preset = Annotated[
    PresetName | None,
    typer.Option(
        help="Preparation that many networks share; the options below win over it.",
        rich_help_panel=PREPARATION,
    ),
]
Color = Annotated[
    ColorName | None,
    typer.Option(help="Channel order (default rgb or gray).", rich_help_panel=PREPARATION),
]
Layout = Annotated[
    LayoutName | None,
    typer.Option(help="Axis order (default by shape).", rich_help_panel=PREPARATION),
]
Scale = Annotated[
    str | None,
    typer.Option(
        help="In (value * scale - mean) / std; a number or a fraction such as 1/255 (default 1).",
        rich_help_panel=PREPARATION,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="A[,B,C]", help="One for all channels or one each.", rich_help_panel=PREPARATION
    ),
]
Std = Annotated[
    str | None,
    typer.Option(
        metavar="A[,B,C]", help="One for all channels or one each.", rich_help_panel=PREPARATION
    ),
]


def parse_shapes(entries: list[str] | None) -> dict[str, tuple[int, ...]]:
    """`name:1,3,320,320` entries by name. Names may hold colons; the last one counts.

    Raises:
        MquansError: an entry that is not of this form.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for entry in entries or []:
        name, _, dims = entry.rpartition(":")
        if not name or not re.fullmatch(r"[0-9]{1,9}(\s*[,x]\s*[0-9]{1,9})*", dims.strip()):
            raise MquansError(
                f"--input-shape {entry!r} is not a name and a shape.",
                hint="Write it like images:1,3,320,320.",
            )
        shapes[name] = tuple(int(dim) for dim in re.split(r"[,x]", dims))
    return shapes


def width(name: WeightBits | None) -> Literal[8, 16] | None:
    """The width as a number."""
    if name is None:
        return None
    return 16 if name is WeightBits.int16 else 8


def methods(text: str | None) -> tuple[str, ...]:
    """Names of a comma-separated list, or all of them."""
    if text == "all":
        return tuple(method.value for method in MethodName)
    return listed(text or "")


def listed(text: str) -> tuple[str, ...]:
    """Names of a comma-separated list."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def read_labels(paths: list[str] | None, sources: int) -> list[Any] | None:
    """The labels of one source, or a list for each of several.

    Raises:
        MquansError: as many files as sources are needed, or a file cannot be read.
    """
    from mquans.metrics import load_labels

    if not paths:
        return None
    if len(paths) != sources:
        raise MquansError(
            f"--labels is given {len(paths)} times for {sources} sources.",
            hint="Give one file of labels per --source, in the same order.",
        )
    read = [load_labels(path) for path in paths]
    return read[0] if sources == 1 else read


def label_files(paths: list[str] | None) -> list[str]:
    """What --labels may mean: files, or files with a column behind a colon."""
    return [name for path in paths or () for name in (path, path.rpartition(":")[0])]


def preparation(
    size: str | None,
    resize: ResizeName | None,
    anchor: AnchorName | None,
    color: ColorName | None,
    layout: LayoutName | None,
    scale: str | None,
    mean: str | None,
    std: str | None,
    preset: PresetName | None = None,
) -> dict[str, Any]:
    """Fields of `InputFormat` that the user gave, and the preset.

    Raises:
        MquansError: a value that cannot be read.
    """
    fields: dict[str, Any] = {}
    if size is not None:
        match = re.fullmatch(r"([1-9][0-9]{0,5})[xX]([1-9][0-9]{0,5})", size)
        if match is None:
            raise MquansError(f"--size {size!r} is not a size.", hint="Write it like 320x240.")
        fields["width"], fields["height"] = int(match[1]), int(match[2])
    choices = {
        "resize": resize, "anchor": anchor, "color": color, "layout": layout, "preset": preset,
    }  # fmt: skip
    for name, choice in choices.items():
        if choice is not None:
            fields[name] = choice.value
    if scale is not None:
        fields["scale"] = number("--scale", scale)
    for name, text in (("mean", mean), ("std", std)):
        if text is not None:
            fields[name] = tuple(number(f"--{name}", part) for part in text.split(","))
    return fields


def number(flag: str, text: str) -> float:
    """A number or a fraction.

    Raises:
        MquansError: neither.
    """
    above, slash, below = text.partition("/")
    try:
        return float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        raise MquansError(
            f"{flag} {text!r} is not a number.", hint="Write it like 0.5 or 1/255."
        ) from None

"""Labels that are boxes in pixels of the pictures as they were recorded.

Metrics compare in pixels of the network's input, and only a source knows how large its pictures are
and how they are prepared. So such labels stay apart, as `PictureBoxes`, until their frame comes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.errors import SourceError
from mquans.files import printable
from mquans.sources import Source

FRAME, KIND = "frame", "class"
CORNER, SIZE, OPPOSITE = ("left", "top"), ("width", "height"), ("right", "bottom")
"""Columns of a table of boxes: the frame's number and the corner, then one of the other two pairs,
and perhaps a class."""

_BOX = frozenset((*CORNER, *SIZE, *OPPOSITE))

MOST_FRAMES = 10_000_000

Row = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class PictureBoxes:
    """What a frame shows.

    Attributes:
        boxes: float32 [boxes, 4 or 5]: left, top, right, bottom in pixels of the picture before it
            is prepared for the network, and the class where there are several.
    """

    boxes: npt.NDArray[np.float32]


def place_label(label: Any, source: Source) -> Any:
    """The label of the frame that a source gave last, as metrics take it: boxes in pixels of the
    picture become boxes in pixels of the network's input, everything else stays.

    Raises:
        SourceError: boxes, but the source gives no pictures.
    """
    return source.place(label.boxes) if isinstance(label, PictureBoxes) else label


def place_labels(labels: Sequence[Any], source: Source) -> list[Any]:
    """All labels of a clip whose pictures have one size, see `place_label`.

    Args:
        source: just opened; if labels are boxes of pictures, its first frame is taken to learn the
            size.
    """
    if not any(isinstance(label, PictureBoxes) for label in labels):
        return list(labels)
    next(source)
    return [place_label(label, source) for label in labels]


def is_table_of_boxes(columns: Sequence[str]) -> bool:
    """Whether a table with these columns holds a box per row."""
    return {FRAME, *CORNER} <= set(columns) and any(
        set(pair) <= set(columns) for pair in (SIZE, OPPOSITE)
    )


def boxes_by_frame(rows: Sequence[Row], name: str) -> list[PictureBoxes]:
    """Boxes of every frame up to the last that a row names; frames without a row show nothing.

    A row whose cells behind the frame are empty is no box: so a last frame that shows nothing can
    be named.

    Args:
        rows: by column, see `is_table_of_boxes`; frames are counted from 0, in any order.
        name: of the file, for messages.

    Raises:
        SourceError: a cell is no number, or a box has no area (the row is named).
    """
    found: dict[int, list[list[float]]] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{printable(name)}, row {number}"
        frame = _number(row, FRAME, where)
        if not (frame.is_integer() and 0 <= frame < MOST_FRAMES):
            raise SourceError(f"{frame:g} is not the number of a frame.", where=where)
        boxes = found.setdefault(int(frame), [])
        if any((text or "").strip() for key, text in row.items() if key in _BOX):
            boxes.append(_box(row, where))
    width = 5 if rows and KIND in rows[0] else 4
    return [
        PictureBoxes(np.array(found.get(frame, []), np.float32).reshape(-1, width))
        for frame in range(max(found, default=-1) + 1)
    ]


def _box(row: Row, where: str) -> list[float]:
    left, top = (_number(row, column, where) for column in CORNER)
    if set(SIZE) <= set(row):
        width, height = (_number(row, column, where) for column in SIZE)
        right, bottom = left + width, top + height
    else:
        right, bottom = (_number(row, column, where) for column in OPPOSITE)
    if right <= left or bottom <= top:
        raise SourceError("its box has no area.", where=where)
    kind = [_number(row, KIND, where)] if KIND in row else []
    return [left, top, right, bottom, *kind]


def _number(row: Row, column: str, where: str) -> float:
    text = (row[column] or "").strip()
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SourceError(
            f"its {column} {printable(text)!r} is not a number.",
            where=where,
            hint="A table of boxes has the columns frame, left, top, width, height (or right, "
            "bottom) and perhaps class, a number.",
        )
    return number

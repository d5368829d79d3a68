"""Labels of a clip's frames from a file: one per frame, in the frames' order."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mquans.errors import SourceError
from mquans.files import PathLike, printable, read_limited
from mquans.metrics.box_labels import boxes_by_frame, is_table_of_boxes

LIMIT_BYTES = 1 << 30


def load_labels(path: PathLike) -> list[Any]:
    """One label per frame.

    - `.csv`: a column, named behind a colon: `labels.csv:steering`; a file of one column needs no
      name. Numbers become floats, empty cells None, everything else stays text.
    - `.csv` with the columns frame, left, top, width, height (or right, bottom) and perhaps class:
      boxes in pixels of the original pictures, one per row, as `PictureBoxes` by frame. Frames are
      counted from 0; those without a row show nothing.
    - `.npy`: an array, frames first.
    - `.jsonl`: one JSON value per line, such as a list of boxes `[left, top, right, bottom, class]`
      in pixels of the network's input.

    A frame whose label is None (or null) has none.

    Raises:
        SourceError: the file cannot be read, is damaged, or has no such column.
    """
    name, column = str(path), None
    if not Path(name).exists() and ":" in Path(name).name:
        name, _, column = name.rpartition(":")
    kind = Path(name).suffix.lower()
    if kind not in _READERS:
        raise SourceError(
            "is not a file of labels.",
            where=printable(name),
            hint="Labels are read from .csv (FILE.csv:COLUMN), .npy and .jsonl.",
        )
    if column is not None and kind != ".csv":
        raise SourceError("has no columns.", where=printable(name))
    return _READERS[kind](read_limited(name, LIMIT_BYTES, error=SourceError), name, column)


def _csv(data: bytes, name: str, column: str | None) -> list[Any]:
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"is not a CSV file: {error}.", where=printable(name)) from error
    if not rows:
        raise SourceError("has no column of labels: it is empty.", where=printable(name))
    columns = list(rows[0])
    if column is None and is_table_of_boxes(columns):
        return list(boxes_by_frame(rows, name))
    if column is None and len(columns) == 1:
        column = columns[0]
    if column is None or column not in columns:
        listed = ", ".join(printable(str(key)) for key in columns[:10]) or "none"
        raise SourceError(
            "has several columns." if column is None else f"has no column {printable(column)!r}.",
            where=printable(name),
            hint=f"Name one as {printable(Path(name).name)}:COLUMN; there are: {listed}.",
        )
    return [_cell(row, column) for row in rows]


def _cell(row: Mapping[str, str | None], column: str) -> float | str | None:
    text = (row[column] or "").strip()
    try:
        number = float(text)
    except ValueError:
        return text or None
    return None if math.isnan(number) else number


def _npy(data: bytes, name: str, column: str | None) -> list[Any]:
    del column
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise SourceError(
            "is not an array that can be read safely.", where=printable(name)
        ) from error
    if array.ndim == 0:
        raise SourceError("holds a single number, not one per frame.", where=printable(name))
    return list(array)


def _jsonl(data: bytes, name: str, column: str | None) -> list[Any]:
    del column
    labels = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
        try:
            labels.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise SourceError(
                f"line {number} is not JSON.",
                where=printable(name),
                hint="Every frame has a line of its own; one without a label has null.",
            ) from error
    return labels


_READERS: dict[str, Callable[[bytes, str, str | None], list[Any]]] = {
    ".csv": _csv,
    ".npy": _npy,
    ".jsonl": _jsonl,
    ".json": _jsonl,
}

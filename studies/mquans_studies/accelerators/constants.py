"""The constants of an accelerator one by one: shown with sources and ranges, and varied.

python -m mquans_studies.accelerators.constants reuse
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from mquans.errors import MquansError
from mquans_studies.accelerators.accelerator import (
    Accelerator,
    Figure,
    Memory,
    Positive,
    accelerator_names,
    load_accelerator,
)


@dataclass(frozen=True, slots=True)
class Constant:
    """A figure of an accelerator.

    Attributes:
        path: where it stands, such as `energy.multiply` or `memories.dram.read_pj`.
    """

    path: str
    figure: Figure | Positive


def constants(design: Accelerator) -> list[Constant]:
    """All figures of an accelerator, in the order of its file."""
    return list(_constants(design, ""))


def varied(design: Accelerator, path: str, value: float) -> Accelerator:
    """The accelerator with one figure at another value of its range.

    Raises:
        MquansError: there is no such figure, or its range does not hold the value.
    """
    found: Accelerator | None = _set(design, path.split("."), value)
    if found is None:
        raise MquansError(
            f"there is no constant {path!r}.",
            where=design.title,
            hint="`python -m mquans_studies.accelerators.constants NAME` lists them.",
        )
    return found


def _constants(part: Any, path: str) -> Iterator[Constant]:
    for name, child in _children(part):
        below = f"{path}.{name}" if path else name
        if isinstance(child, Figure | Positive):
            yield Constant(below, child)
        else:
            yield from _constants(child, below)


def _children(part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, tuple):
        yield from ((entry.name, entry) for entry in part if isinstance(entry, Memory))
    elif isinstance(part, msgspec.Struct):
        yield from ((name, getattr(part, name)) for name in part.__struct_fields__)


def _set(part: Any, path: list[str], value: float) -> Any:
    """The part with a figure replaced; None where the path leads nowhere."""
    child = dict(_children(part)).get(path[0])
    if isinstance(child, Figure | Positive):
        new = _at(child, value, path) if len(path) == 1 else None
    else:
        new = _set(child, path[1:], value) if child is not None and path[1:] else None
    if new is None:
        return None
    if isinstance(part, tuple):
        return tuple(new if entry is child else entry for entry in part)
    return msgspec.structs.replace(part, **{path[0]: new})


def _at(figure: Figure | Positive, value: float, path: list[str]) -> Figure | Positive:
    low, high = figure.range
    if not low <= value <= high:
        raise MquansError(
            f"{value:g} is not within the range of {path[-1]}, {low:g} to {high:g}.",
            hint="Widen `range` in a copy of the file, with a source.",
        )
    return msgspec.structs.replace(figure, value=value)


def table(design: Accelerator) -> str:
    """All constants as a Markdown table."""
    lines = ["| constant | value | range | source |", "|---|---:|---:|---|"]
    for constant in constants(design):
        figure = constant.figure
        low, high = figure.range
        span = "" if low == high else f"{low:g} to {high:g}"
        lines.append(f"| `{constant.path}` | {figure.value:g} | {span} | {figure.source} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("accelerator", help=f"{', '.join(accelerator_names())}, or a YAML file")
    print(table(load_accelerator(parser.parse_args().accelerator)))


if __name__ == "__main__":
    main()

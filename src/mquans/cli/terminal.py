"""Writing to the terminal: results on stdout, progress and complaints on stderr."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import RenderableType

T = TypeVar("T")

JSON_FORMAT = 2

NARROWEST = 80
"""Columns of tables when stdout is no terminal or a very narrow one."""


class PipeClosedError(Exception):
    """Whoever read our output went away; there is nobody to tell."""


def complain(sentence: str) -> None:
    """An error, on stderr."""
    print(f"mquans: {sentence}", file=sys.stderr)


def write(text: str) -> None:
    """Text on stdout, at once.

    Raises:
        PipeClosedError: nobody reads it.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise PipeClosedError from None


def show(*parts: RenderableType) -> None:
    """Tables and lines of text, in colour on a terminal."""
    from rich.console import Console

    width = max(NARROWEST, shutil.get_terminal_size((120, 24)).columns)
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def show_json(value: dict[str, Any]) -> None:
    """Exactly one JSON object on stdout; keys change only with `format`."""
    write(json.dumps({"format": JSON_FORMAT, **value}, indent=2, allow_nan=False) + "\n")


def track(items: Iterable[T], label: str, total: int | None) -> Iterator[T]:
    """Passes items through under a progress bar on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        for item in items:
            yield item
            progress.advance(task)

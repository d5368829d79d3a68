"""Writing to the terminal: results on stdout, progress and complaints on stderr.

Loaded before the command can meet Ctrl-C, so it loads as little as it can.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, TypeVar

from mquans.errors import MquansError

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
    with suppress(OSError):  # full, or a terminal that was closed: there is no other place
        print(f"mquans: {sentence}", file=sys.stderr)


def prepare_output() -> None:
    """Makes stdout and stderr take any text, as file names may hold what a locale cannot encode.

    Raises:
        MquansError: stdout is closed.
    """
    if sys.stderr is None:
        from pathlib import Path

        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115, it stays open
    if sys.stdout is None:
        raise MquansError(
            "the standard output is closed, so that there is no place for results.",
            hint="Send them to a file, or to /dev/null.",
        )
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """What Python flushes on its way out must not fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def output_error(error: OSError) -> MquansError:
    """Why stdout took nothing."""
    from mquans.files import reason

    discard_output()
    return MquansError(f"the standard output cannot be written: {reason(error)}")


def write(text: str) -> None:
    """Text on stdout, at once.

    Raises:
        PipeClosedError: nobody reads it.
        MquansError: it cannot be written, as on a full disk.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise PipeClosedError from None
    except OSError as error:
        raise output_error(error) from error


def show(*parts: RenderableType) -> None:
    """Tables and lines of text, in colour on a terminal."""
    import shutil

    from rich.console import Console

    width = max(NARROWEST, shutil.get_terminal_size((120, 24)).columns)
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def show_json(value: dict[str, Any]) -> None:
    """Exactly one JSON object on stdout; keys change only with `format`."""
    import json

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

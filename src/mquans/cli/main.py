"""From the shell to a command and back: one sentence per error, documented exit codes.

0 done   1 user error   2 law or threshold broken   3 budget not reachable
130 stopped by Ctrl-C   141 the reader of our output went away   143 terminated
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import Any, TextIO

import typer

from mquans.cli.terminal import PipeClosedError, complain
from mquans.errors import MquansError

INTERRUPTED = 130
PIPE_CLOSED = 141
TERMINATED = 143


def main(args: list[str] | None = None) -> None:
    """Runs one command and ends the process with its exit code."""
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(args: list[str]) -> int:
    """Runs one command; returns its exit code."""
    warnings.showwarning = _show_warning
    # Terminated like interrupted: temporary files are removed on the way out.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        from mquans.cli.commands import app

        code = int(app(args=args, prog_name="mquans", standalone_mode=False) or 0)
    except MquansError as error:
        complain(str(error))
        return 1
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED  # newer versions of typer return it instead
    except (PipeClosedError, BrokenPipeError):
        # What Python flushes on its way out must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except MemoryError:
        complain("there is not enough memory. Use a smaller input size or fewer frames.")
        return 1
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        complain(_usage(error))
        return 1
    if code == INTERRUPTED:
        complain("stopped; nothing was written.")
    return code


def _usage(error: Any) -> str:
    """One sentence for a wrong or missing argument, with the command whose help tells more."""
    message = error.format_message().strip().replace("\n", " ")
    if not message.endswith((".", "?", "!")):
        message += "."
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mquans"
    return f"{message} See: {command} --help"


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Warnings as one line each, without the place in our source."""
    print(f"mquans: warning: {message}", file=file or sys.stderr)


def _terminate(*_: object) -> None:
    sys.exit(TERMINATED)

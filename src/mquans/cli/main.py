"""From the shell to a command and back: one sentence per error, documented exit codes.

0 done   1 user error   2 law or threshold broken   3 budget not reachable
129 the terminal was closed   130 stopped by Ctrl-C   141 the reader of our output went away
143 terminated
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import warnings
from contextlib import suppress
from typing import Any, TextIO

from mquans.cli.terminal import (
    PipeClosedError,
    complain,
    discard_output,
    output_error,
    prepare_output,
)
from mquans.errors import MquansError

INTERRUPTED = 130
PIPE_CLOSED = 141

AGAIN_S = 0.05
"""After so long a signal is sent again whose exception was dropped."""

_ending: list[int] = []
"""Exit codes that signals have asked for."""

_hook = sys.unraisablehook

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def main(args: list[str] | None = None) -> None:
    """Runs one command and ends the process with its exit code."""
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(args: list[str]) -> int:
    """Runs one command; returns its exit code."""
    warnings.showwarning = _show_warning
    # What this command does is nobody else's business, and leaves no files of others behind.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    _ending.clear()
    sys.unraisablehook = _unraisable
    # Terminated like interrupted: temporary files are removed on the way out.
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup leaves it
        signal.signal(signal.SIGHUP, _terminate)
    try:
        prepare_output()
        code = _command(args)
    except MquansError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        code = INTERRUPTED
    except (PipeClosedError, BrokenPipeError):
        discard_output()
        return PIPE_CLOSED
    except MemoryError:
        complain("there is not enough memory. Use a smaller input size or fewer frames.")
        return 1
    except Exception as error:
        if _ending:
            # Libraries make other exceptions of those that signals raise while they are imported.
            code = _ending[-1]
        elif hasattr(error, "format_message"):
            complain(_usage(error))
            return 1
        else:
            raise
    if code == INTERRUPTED:
        complain("stopped; nothing was written.")
    return code


def _command(args: list[str]) -> int:
    """Loads the commands, which takes long enough to be interrupted, and runs one."""
    import typer

    from mquans.cli.commands import app

    try:
        return int(app(args=args, prog_name="mquans", standalone_mode=False) or 0)
    except typer.Abort:
        return INTERRUPTED  # newer versions of typer return it instead
    except OSError as error:
        # Help is printed by typer; files are met where they are read and written.
        if error.filename is None and error.errno in _UNWRITABLE:
            raise output_error(error) from error
        raise


def _usage(error: Any) -> str:
    """One sentence for a wrong or missing argument, with the command whose help tells more."""
    message = error.format_message().strip().replace("\n", " ") or "A command is missing."
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
    with suppress(OSError):  # the terminal was closed
        print(f"mquans: warning: {message}", file=file or sys.stderr)


def _terminate(number: int, _: object) -> None:
    _ending.append(128 + number)
    sys.exit(128 + number)


def _interrupt(number: int, _: object) -> None:
    _ending.append(128 + number)
    raise KeyboardInterrupt


def _unraisable(ignored: sys.UnraisableHookArgs) -> None:
    """Python drops what is raised within a callback of its own, such as the end of the command."""
    if not isinstance(ignored.exc_value, SystemExit | KeyboardInterrupt) or not _ending:
        _hook(ignored)
        return
    again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), _ending[-1] - 128))
    again.daemon = True
    again.start()

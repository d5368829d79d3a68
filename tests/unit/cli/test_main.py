"""Exit codes and messages, without starting a process."""

from __future__ import annotations

import builtins
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from mquans.cli import app
from mquans.cli.main import INTERRUPTED, PIPE_CLOSED, run
from mquans.cli.terminal import PipeClosedError, show, write
from mquans.errors import ModelError


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """The command line owns its process; this one is pytest's."""
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    handlers, show_warning = [signal.getsignal(number) for number in numbers], warnings.showwarning
    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)
    warnings.showwarning = show_warning


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run", "--nonsense"], "--nonsense"),
        (["frobnicate"], "frobnicate"),
        (["run", "m.onnx"], "--plan"),
        (["calibrate", "m.onnx", "--source", "x", "-o", "p", "--bits", "13"], "--bits"),
        (["calibrate", "m.onnx", "--source", "x", "-o", "p", "--rule", "most"], "most"),
        (["inspect"], "MODEL"),
    ],
)
def test_usage_errors_are_one_sentence(
    capsys: pytest.CaptureFixture[str], args: list[str], said: str
) -> None:
    """With exit code 1, not click's 2, which means a broken law here."""
    assert run(args) == 1
    error = capsys.readouterr().err
    assert error.startswith("mquans: ")
    assert said in error
    assert "--help" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (ModelError("the model is odd.", hint="Export it again."), 1),
        (KeyboardInterrupt(), INTERRUPTED),
        (PipeClosedError(), PIPE_CLOSED),
        (MemoryError(), 1),
    ],
)
def test_every_way_out_has_its_code(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
) -> None:
    """Scripts go by it; nobody sees a traceback."""

    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(app, "show_json", fail)
    assert run(["doctor", "--json"]) == code
    assert "Traceback" not in capfd.readouterr().err


def test_interrupt_while_commands_are_loaded_has_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loading them takes longer than many runs."""

    def interrupted(name: str, *rest: Any) -> Any:
        if name == "mquans.cli.commands":
            raise KeyboardInterrupt
        return importing(name, *rest)

    importing = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", interrupted)
    assert run(["doctor"]) == INTERRUPTED
    assert capsys.readouterr().err == "mquans: stopped; nothing was written.\n"


def test_interrupt_that_an_import_makes_an_error_of_has_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As that of onnxruntime does."""

    def interrupted(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError from None

    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(app, "show_json", interrupted)
    assert run(["doctor", "--json"]) == INTERRUPTED
    assert capsys.readouterr().err == "mquans: stopped; nothing was written.\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_within_a_callback_of_python_ends_the_command(number: int, code: int) -> None:
    """What is raised there is dropped, and the command ran on for as long as it liked."""
    script = f"""
import importlib, signal, time, weakref
main = importlib.import_module("mquans.cli.main")

class Thing:
    pass

def command(args):
    thing = Thing()
    callback = weakref.ref(thing, lambda _: signal.raise_signal({int(number)}))
    del thing
    time.sleep(30)

main._command = command
main.main([])
"""
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - began < 20


def test_faults_of_our_own_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug without a traceback cannot be reported."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app, "show_json", fail)
    with pytest.raises(ZeroDivisionError):
        run(["doctor", "--json"])


def test_closed_pipe_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """`mquans run ... | head` ends quietly."""

    class Closed:
        def write(self, text: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Closed())
    with pytest.raises(PipeClosedError):
        write("x")


def test_tables_have_no_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    """They are pasted into issues."""
    show("one", "")
    assert capsys.readouterr().out == "one\n\n"

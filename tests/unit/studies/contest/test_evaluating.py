"""`python -m mquans_studies evaluate`: from trained networks to a record that can be leant on."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mquans.errors import DependencyError, MquansError
from mquans.plan import read_plan
from mquans_studies.__main__ import main
from mquans_studies.accelerators import load_accelerator, simulate
from mquans_studies.contest import evaluating, rules
from mquans_studies.contest.cases import load_case
from mquans_studies.contest.evaluating import evaluate
from mquans_studies.traces.trace_file import load_trace

RULES = """
seed: 0
draws: 200
level: 0.95
chosen_on: reuse
designs: [reuse, cpu2]
schemes:
  one width: {kind: width, rule: nearest, values: [5]}
  half a bit: {kind: width, rule: hold, values: [5.5]}
  mquans: {kind: budget, rule: hold, values: [0.3]}
  sites: {kind: tolerance, values: [1]}
  every n-th: {kind: every, values: [2]}
pairs:
  best: [[mquans], [one width, half a bit]]
networks:
  small: {data: nowhere, frames: [16, 20, 20], published: 4, minutes: 1}
"""


def _lay_out(folder: Path, model: Path, frames: npt.NDArray[np.float32]) -> None:
    """Rules, and the small network as training leaves it."""
    (folder / "rules.yaml").write_text(RULES)
    small = folder / "zoo" / "small"
    small.mkdir(parents=True)
    shutil.copy(model, small / "model.onnx")
    clip = np.concatenate([frames] * 4)[:, None]
    for stream in ("calibration", "test"):
        np.save(small / f"{stream}.npy", clip)
        (small / f"{stream}_labels.jsonl").write_text("\n".join("7" for _ in clip))
        blocks = (json.dumps(str(frame // 5)) for frame in range(len(clip)))
        (small / f"{stream}_blocks.jsonl").write_text("\n".join(blocks))
    (small / "card.json").write_text(json.dumps({"accuracy": {"top1": 0.5}}))


def _evaluate(folder: Path, *, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    rules_file = folder / "rules.yaml"
    return evaluate(folder, folder / "zoo", folder / "table", rules_file=rules_file, say=say)


@pytest.fixture(scope="module")
def record(
    small_model: Path,
    small_frames: npt.NDArray[np.float32],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, Any], Path]:
    """A whole contest, and where it was written."""
    folder = tmp_path_factory.mktemp("contest")
    _lay_out(folder, small_model, small_frames)
    return _evaluate(folder), folder


def _rows(found: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = found["networks"]["small"]["rows"]
    return [row for row in rows if fields.items() <= row.items()]


def test_the_record_names_its_rules(record: tuple[dict[str, Any], Path]) -> None:
    found, folder = record
    assert found["rules_sha256"] == rules.load_rules(folder / "rules.yaml")[1]
    assert json.loads((folder / "table.json").read_text()) == found


def test_every_scheme_stands_on_every_design_with_its_interval(
    record: tuple[dict[str, Any], Path],
) -> None:
    found, _ = record
    for scheme in ("one width", "half a bit", "mquans", "sites", "published width"):
        for falls_back in (False, True):
            rows = _rows(found, scheme=scheme, choice="before", fallback=falls_back)
            assert {row["design"] for row in rows} == {"reuse", "cpu2"}, scheme
            for row in rows:
                for what in ("error", "speed", "energy_saved"):
                    low, high = row[what]["low"], row[what]["high"]
                    assert low <= row[what]["value"] <= high, (scheme, what)


def test_every_second_frame_is_twice_as_fast_anywhere(
    record: tuple[dict[str, Any], Path],
) -> None:
    """Of 19 frames behind the first one 9 are computed."""
    found, _ = record
    for row in _rows(found, scheme="every n-th", choice="before"):
        assert row["speed"]["value"] == pytest.approx(19 / 9)
        assert row["energy_saved"]["value"] == pytest.approx(10 / 19)


def test_pairs_are_the_ratio_of_their_rows(record: tuple[dict[str, Any], Path]) -> None:
    found, _ = record
    network = found["networks"]["small"]
    ours, theirs = (one["scheme"] for one in network["best"])
    assert ours == "mquans"
    for pair in network["pairs"]:
        if pair["choice"] == "before":
            where = {"design": pair["design"], "choice": "before", "fallback": pair["fallback"]}
            (mine,), (other,) = (_rows(found, scheme=name, **where) for name in (ours, theirs))
            wanted = mine["speed"]["value"] / other["speed"]["value"]
            assert pair["speed"]["value"] == pytest.approx(wanted)


def test_plans_tables_and_chart_are_written(record: tuple[dict[str, Any], Path]) -> None:
    found, folder = record
    plan = read_plan(folder / "table-small.mquans.plan.json")
    assert plan.rule == "hold"
    table = (folder / "table.md").read_text()
    assert found["rules_sha256"] in table
    assert "## Mquans over one width on `reuse`" in table
    assert (folder / "table.svg").exists()


def test_the_best_plan_leaves_its_trace(record: tuple[dict[str, Any], Path]) -> None:
    """To vary constants under, without a run of hours."""
    found, folder = record
    trace = load_trace(folder / "table-small.trace.npz")
    best = found["networks"]["small"]["best"][0]["scheme"]
    (row,) = _rows(found, scheme=best, design="reuse", choice="before", fallback=False)
    assert simulate(trace, load_accelerator("reuse")).speedup == pytest.approx(
        row["speed"]["value"]
    )


def test_it_goes_on_where_it_was_ended(record: tuple[dict[str, Any], Path]) -> None:
    """A network in the record is not run again."""
    found, folder = record
    said: list[str] = []
    assert _evaluate(folder, say=said.append) == found
    assert said == ["small: is in the record"]


def test_a_record_of_other_rules_is_not_continued(
    record: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    """Half a table under one choice of budgets and half under another is no contest."""
    _, folder = record
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "rules.yaml").write_text(RULES.replace("seed: 0", "seed: 1"))
    with pytest.raises(MquansError, match="under other rules"):
        _evaluate(tmp_path / "copy")


def test_only_what_is_missing_is_trained_and_its_time_is_told(
    record: tuple[dict[str, Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = record
    shutil.copytree(folder, tmp_path / "copy")
    shutil.move(tmp_path / "copy" / "zoo" / "small", tmp_path / "trained")
    trained: list[str] = []

    def train(name: str, own: Any, data: Path, zoo: Path, *others: Any) -> None:
        trained.append(name)
        shutil.move(tmp_path / "trained", zoo / name)

    monkeypatch.setattr(evaluating, "_train", train)
    said: list[str] = []
    _evaluate(tmp_path / "copy", say=said.append)
    assert trained == ["small"]
    assert said[0] == "to train: small; about 1 minutes of a free core"


def test_without_torch_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("mquans_studies.zoo")]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "rules.yaml").write_text(RULES)
    with pytest.raises(DependencyError, match="needs the package 'torch'"):
        _evaluate(tmp_path)


def test_a_folder_that_is_missing_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    with pytest.raises(MquansError, match="cannot be written: there is no such file or folder"):
        evaluate(
            tmp_path, tmp_path / "zoo", tmp_path / "none/table", rules_file=tmp_path / "rules.yaml"
        )


def test_a_folder_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(MquansError, match="no trained network"):
        load_case(tmp_path, (1, 1, 1))


def test_the_command_names_the_networks_of_the_contest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(tmp_path), "--networks", "alexnet"]
    monkeypatch.setattr("sys.argv", ["mquans_studies", "evaluate", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert "'alexnet'" in said
    assert "autopilot" in said

"""The engine's own layers beside those of the model: the same layers, the same frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mquans
from mquans.errors import MquansError
from mquans.evaluate import energy
from mquans.onnx import read_model
from mquans.plan import write_plan
from mquans_studies.accelerators import SCHEMES, load_accelerator, simulate
from mquans_studies.accelerators.beside_engine import (
    Beside,
    Comparison,
    beside_engine,
    energy_line,
    main,
    table,
)
from mquans_studies.traces.trace import TraceRecorder

CPU = load_accelerator("cpu2")


@pytest.fixture
def gated(small_model: Path, small_frames: npt.NDArray[np.float32]) -> mquans.Session:
    plan = mquans.calibrate(small_model, small_frames[:12], max_loss=0.1, stress=False)
    return mquans.Session(small_model, plan)


def test_every_layer_stands_beside_itself(
    gated: mquans.Session, small_frames: npt.NDArray[np.float32]
) -> None:
    """Names and cycles are those that `simulate` gives for the same frames under the same gates."""
    frames = list(small_frames[:6, None])
    recorder = TraceRecorder(gated)
    with gated.stream() as stream:
        for frame in frames:
            stream.step(frame)
            recorder.add(stream)
    wanted = simulate(recorder.result(), CPU, SCHEMES["sites"])
    found = beside_engine(gated, frames, CPU, repeats=1)
    assert [layer.name for layer in found.layers] == ["first", "second", "third"]
    assert [layer.cycles for layer in found.layers] == [
        pytest.approx(float(cost.cycles.mean())) for cost in wanted.layers
    ]
    for layer in found.layers:
        assert layer.ms_dense > 0
    assert 0 <= found.other_share < 1


def test_dense_times_are_of_keyframes(
    gated: mquans.Session,
    small_frames: npt.NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else both columns would be of frames under gates."""
    asked: list[bool] = []
    step = mquans.Stream.step

    def counted(self: mquans.Stream, frame: Any, *, keyframe: bool = False) -> Any:
        asked.append(keyframe)
        return step(self, frame, keyframe=keyframe)

    monkeypatch.setattr(mquans.Stream, "step", counted)
    beside_engine(gated, list(small_frames[:4, None]), CPU, repeats=2)
    assert asked.count(True) == 2 * 3


def test_shares_add_up_and_what_is_left_is_a_ratio_of_sums(
    gated: mquans.Session, small_frames: npt.NDArray[np.float32]
) -> None:
    simulation = beside_engine(gated, list(small_frames[:3, None]), CPU, repeats=1).simulation
    layers = (Beside("wide", 3.0, 1.0, 60.0, 20.0), Beside("narrow", 1.0, 1.0, 40.0, 30.0))
    found = Comparison(layers, simulation, 0.1, 0.4)
    assert found.left == (0.5, 0.5)
    text = table(found)
    assert "| wide | 75.0 % | 60.0 % | 50.0 % | 40.0 % | 33 % | 33 % |" in text
    assert "rank correlation of time left 1.00" in text
    assert "10 % of the engine's time dense, 40 % gated" in text


def test_plans_without_gates_are_refused(
    small_model: Path, plan: mquans.Plan, small_frames: npt.NDArray[np.float32]
) -> None:
    session = mquans.Session(small_model, plan)
    with pytest.raises(MquansError, match="no gates"):
        beside_engine(session, list(small_frames[:3, None]), CPU)


def test_joules_where_the_machine_counts_them(
    gated: mquans.Session,
    small_model: Path,
    small_frames: npt.NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A folder of counters as the kernel lays them out: a frame of the engine costs 1 mJ, a dense
    one 4 mJ."""
    counter = tmp_path / "intel-rapl:0"
    counter.mkdir()
    for name, text in (("name", "package-0"), ("max_energy_range_uj", "1000000000")):
        (counter / name).write_text(text)
    spent = counter / "energy_uj"
    spent.write_text("0")

    class Spending:
        def __init__(self, microjoules: int) -> None:
            self.microjoules = microjoules

        def step(self, _: object) -> None:
            spent.write_text(str(int(spent.read_text()) + self.microjoules))

    frames, model = list(small_frames[:4, None]), read_model(small_model)
    simulation = beside_engine(gated, frames, CPU, repeats=1).simulation
    assert "not available" in energy_line(gated, model, frames, simulation, tmp_path / "none")
    monkeypatch.setattr(gated, "stream", lambda: Spending(1000))
    monkeypatch.setattr(energy, "open_engine", lambda *_, **__: Spending(4000))
    monkeypatch.setitem(energy.joules_per_call.__kwdefaults__, "least_s", 0.01)
    line = energy_line(gated, model, frames, simulation, tmp_path)
    assert "1.00 mJ per frame, onnxruntime 4.00 mJ, 75 % saved; the model says" in line
    monkeypatch.setattr(energy, "open_engine", lambda *_, **__: Spending(0))
    assert "too little to measure" in energy_line(gated, model, frames, simulation, tmp_path)


def test_the_command_prints_the_table(
    gated: mquans.Session,
    small_model: Path,
    small_frames: npt.NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_plan(gated.plan, tmp_path / "plan.json")
    np.save(tmp_path / "clip.npy", small_frames[:4, None])
    arguments = [str(small_model), "--plan", str(tmp_path / "plan.json")]
    monkeypatch.setattr(
        "sys.argv", ["beside", *arguments, "--source", str(tmp_path / "clip.npy"), "--repeats", "1"]
    )
    main()
    said = capsys.readouterr().out
    assert "| first |" in said
    assert "Energy:" in said
    monkeypatch.setattr("sys.argv", ["beside", *arguments, "--source", str(tmp_path / "none.npy")])
    with pytest.raises(SystemExit, match="none"):
        main()

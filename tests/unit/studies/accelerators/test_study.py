"""Networks under schemes: what `mquans simulate` and the tables are made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import mquans
from mquans.calibration.objectives import LayerEnergy
from mquans.cli.main import run as cli
from mquans.errors import MquansError
from mquans.onnx import read_model
from mquans_studies.accelerators import (
    STUDIED,
    Fallback,
    accelerator_names,
    change_energy,
    dense_layers,
    load_accelerator,
    markdown,
    simulate,
    study,
    widened,
)
from mquans_studies.one_width import one_width
from mquans_studies.traces.trace_file import load_trace

from .layers import conv_geometry, linear_geometry, masks, trace_of, traced

Frames = npt.NDArray[np.float32]
DESIGNS = {name: load_accelerator(name) for name in ("reuse", "eyeriss")}


@pytest.fixture
def clip(small_frames: Frames) -> Frames:
    return small_frames[:, None]


@pytest.fixture
def session(
    small_model: Path, small_frames: Frames, value_plan: Callable[..., mquans.Plan]
) -> mquans.Session:
    return mquans.Session(small_model, value_plan(small_model, small_frames, bits=6))


def test_all_schemes(session: mquans.Session, small_model: Path, clip: Frames) -> None:
    uniform = one_width(session, clip, bits=4)
    assert uniform.rule == "nearest"
    schemes = [scheme for scheme in STUDIED if scheme != "sites"]
    rows = study(
        session, read_model(small_model), lambda: iter(clip), schemes, DESIGNS, uniform=uniform
    )
    assert [(row.scheme, row.accelerator) for row in rows] == [
        (scheme, name) for scheme in schemes for name in DESIGNS
    ]
    found = {row.scheme: row.as_dict() for row in rows if row.accelerator == "reuse"}
    assert found["dense"]["speedup"] == 1
    assert found["dense"]["agreement"] is None
    assert found["reuse"]["cycles"] == found["hold"]["cycles"], "the plan's own rule"
    # A dead band lets pass no more than rounding does, and fewer levels fewer changes.
    assert found["hold"]["similarity"] >= found["nearest"]["similarity"]
    assert found["uniform"]["similarity"] > found["nearest"]["similarity"]
    assert found["uniform"]["agreement"]["loss_p95"] > found["nearest"]["agreement"]["loss_p95"]
    assert found["reuse+repetition"]["energy_pj"] < found["reuse"]["energy_pj"]
    assert found["reuse+repetition"]["dense"]["energy_pj"] == found["dense-int8"]["energy_pj"]
    table = markdown(rows, title="small")
    assert table.count("\n| ") == len(rows) + 1


def test_unknown_scheme(session: mquans.Session, small_model: Path, clip: Frames) -> None:
    for name, message in (("magic", "Choose one of dense"), ("uniform", "needs a plan")):
        with pytest.raises(MquansError, match=message):
            study(session, read_model(small_model), lambda: iter(clip), [name], DESIGNS)


def test_one_width_is_the_linear_quantizer(session: mquans.Session, clip: Frames) -> None:
    """Riera et al.: 2**bits levels from the least to the largest input."""
    plan = one_width(session, clip, bits=5)
    first = plan.layers[0]
    steps = np.array(first.delta) * 2.0 ** (12 - np.array(first.bits))
    spread = float(clip.max() - clip.min())
    assert steps == pytest.approx(spread / 31, rel=1e-6)


@pytest.mark.parametrize("name", accelerator_names())
def test_energy_of_changes(session: mquans.Session, name: str) -> None:
    """The objective `energy`: a change in the layer of more multiplications costs more, and looking
    for changes costs something where there are none."""
    found = change_energy(session.graph, "hold", name)
    assert list(found) == ["first", "second", "third"]
    assert all(min(cost.change, cost.compare, cost.dense) > 0 for cost in found.values())
    if name == "reuse":
        assert found["first"].change > found["second"].change


def test_fixed_costs_of_comparing_count() -> None:
    """A layer that is dearer to compare than to compute is computed: no precision saves there."""
    dear = LayerEnergy(change=1.0, compare=3.0, dense=2.0)
    assert dear.spent(0, 10) == dear.spent(10, 10) == 20
    cheap = LayerEnergy(change=1.0, compare=0.5, dense=2.0)
    assert [cheap.spent(changed, 10) for changed in (0, 4, 10)] == [5, 9, 15]


def test_fallback_stands_beside_the_pure_scheme(
    session: mquans.Session, small_model: Path, clip: Frames
) -> None:
    """Chosen on another clip than the one that is judged."""
    rows = study(
        session, read_model(small_model), lambda: iter(clip), ("dense", "reuse"), DESIGNS,
        fallback=Fallback(lambda: iter(clip[:10])),
    )  # fmt: skip
    assert [(row.label, row.accelerator) for row in rows] == [
        (label, name) for label in ("dense", "reuse", "reuse, fallback") for name in DESIGNS
    ]
    found = {(row.label, row.accelerator): row.simulation for row in rows}
    for name in DESIGNS:
        assert found["reuse, fallback", name].energy_saved > -0.05
        assert found["reuse", name].fallback == ()
    assert "| reuse, fallback |" in markdown(rows, title="small")


def test_widened_keeps_shares() -> None:
    """C3D is trained narrow; its cycles are those of its true width."""
    narrow, wide = conv_geometry(8, 8, 6, 3, 1, 1), conv_geometry(64, 128, 6, 3, 1, 1)
    trace = trace_of(traced(narrow, masks(narrow, 0.25, 3)))
    found = widened(trace, [wide.shape])
    assert found.layers[0].shape is wide.shape
    assert found.similarity == pytest.approx(trace.similarity, abs=0.01)
    assert found.computation_reuse == pytest.approx(trace.computation_reuse, abs=0.01)
    assert sum(found.layers[0].compared) == wide.shape.inputs
    dense = simulate(found, DESIGNS["reuse"]).dense[0]
    assert dense.macs[0] == wide.shape.macs
    with pytest.raises(MquansError, match="more than channels"):
        widened(trace, [linear_geometry(8, 8).shape])


def test_dense_layers_need_no_clip() -> None:
    shape = linear_geometry(32, 16).shape
    (layer,) = dense_layers([shape])
    assert layer.macs.tolist() == [[shape.macs]]


def test_command(
    small_model: Path, small_frames: Frames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, clip = tmp_path / "plan.json", tmp_path / "clip.npy"
    mquans.calibrate(small_model, small_frames, bits=6).save(plan)
    np.save(clip, small_frames)
    common = ["simulate", str(small_model), "--plan", str(plan), "--source", str(clip)]
    trace, table, plot = (tmp_path / name for name in ("t.npz", "t.md", "t.svg"))
    written = ["--save-trace", str(trace), "--markdown", str(table), "--plot", str(plot)]
    assert cli([*common, "--json", "--scheme", "reuse,dense,uniform", *written]) == 0
    found = json.loads(capsys.readouterr().out)
    keys = {"speedup", "energy_saved", "cycles", "energy_pj", "per_layer", "similarity"}
    assert keys | {"computation_reuse", "accuracy", "agreement"} <= found.keys()
    assert [found["scheme"], *(other["scheme"] for other in found["others"])] == [
        "reuse", "dense", "uniform",
    ]  # fmt: skip
    assert load_trace(trace).frames == 20
    assert "| reuse | uniform |" in table.read_text()
    assert plot.read_text().startswith("<?xml")
    assert cli([*common, "--json", "--fallback", str(clip), "--objective", "time"]) == 0
    others = json.loads(capsys.readouterr().out)["others"]
    assert [other["scheme"] for other in others] == ["reuse, fallback"]
    assert cli([*common, "--fallback", str(clip), "--objective", "mood"]) == 1
    assert "Choose energy or time" in capsys.readouterr().err
    assert cli([*common, "--accelerator", "magic"]) == 1
    assert "there is no accelerator 'magic'" in capsys.readouterr().err
    assert cli([*common, "--plot", str(tmp_path / "t.docx")]) == 1
    assert "cannot be written as .docx" in capsys.readouterr().err

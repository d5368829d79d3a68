"""The project's own gates on accelerators: whole sites, one decision each, and no sums kept."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mquans
from mquans.errors import MquansError
from mquans.onnx import read_model
from mquans_studies.accelerators import (
    SCHEMES,
    accelerator_names,
    load_accelerator,
    simulate,
    study,
)
from mquans_studies.accelerators.accelerator import Switch
from mquans_studies.one_width import one_width
from mquans_studies.traces.layer_shape import Geometry

from .layers import conv_geometry, geometries, linear_geometry, masks, trace_of, traced

NAMES = accelerator_names()
DESIGNS = {name: load_accelerator(name) for name in NAMES}
SITES = SCHEMES["sites"]


@settings(deadline=None, derandomize=True)
@given(geometries(), st.sampled_from(NAMES), st.floats(0, 1))
def test_never_more_than_dense_to_compute(geometry: Geometry, name: str, share: float) -> None:
    """Gates add comparisons, never multiplications."""
    trace = trace_of(traced(geometry, masks(geometry, share), by_sites=True))
    found = simulate(trace, DESIGNS[name], SITES)
    mine, dense = found.layers[0], found.dense[0]
    assert mine.compute[0] <= dense.compute[0] * (1 + 1e-12)
    assert mine.macs[0] <= dense.macs[0] * (1 + 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_taken(name: str) -> None:
    """What was computed is compared; nothing behind it is touched."""
    geometry = conv_geometry(16, 16, 12, 3, 1, 1)
    layer = traced(geometry, masks(geometry, 0), computed=16 * 10, by_sites=True)
    found = simulate(trace_of(layer), DESIGNS[name], SITES).layers[0]
    energy = DESIGNS[name].energy
    assert found.compute[0] == found.macs[0] == 0
    assert found.energy_pj["compare"][0] == pytest.approx(10 * energy.compare.value)
    squares = energy.multiply.value + energy.add.value
    assert found.energy_pj["gate"][0] == pytest.approx(160 * squares)


def test_one_site_by_hand() -> None:
    """A 3x3 kernel reads it from nine positions, whose windows are 25 sites. DianNao: nine steps a
    position. No sum is read, and nothing is written but what the next gate takes."""
    geometry = conv_geometry(16, 16, 6, 3, 1, 1)
    mask = np.zeros((6, 6, 16), np.bool_)
    mask[2, 2, 3] = True
    layer = traced(geometry, [mask], computed=16, by_sites=True)
    found = simulate(trace_of(layer), DESIGNS["diannao"], SITES).layers[0]
    assert found.compute[0] == pytest.approx(9 * 9)
    assert found.macs[0] == pytest.approx(9 * 9 * 16 * 16)
    assert found.traffic.read["nbout"][0] == found.traffic.written["nbout"][0] == 0
    read = 2 * (16 + geometry.shape.weights + 25 * 16)
    assert found.traffic.read["dram"][0] == read
    assert found.traffic.written["dram"][0] == 2 * 16


def test_rows_and_channels() -> None:
    """Eyeriss leaves out rows of outputs, NeuFlow nothing but a layer at rest."""
    geometry = conv_geometry(16, 16, 12, 3, 1, 1)
    mask = np.zeros((12, 12, 16), np.bool_)
    mask[5, 5] = True
    trace = trace_of(traced(geometry, [mask], by_sites=True))
    for name, left in (("eyeriss", 3 / 12), ("neuflow", 1.0), ("reuse", 9 / 144)):
        found = simulate(trace, DESIGNS[name], SITES)
        assert found.layers[0].compute[0] == pytest.approx(left * found.dense[0].compute[0]), name


def test_no_sums_are_kept() -> None:
    """Held values fit into DaDianNao's 4 MB, sums of single values' reuse would not."""
    geometry = conv_geometry(32, 128, 200, 1, 1, 0)
    trace = trace_of(traced(geometry, masks(geometry, 0.01), by_sites=True))
    values = trace_of(traced(geometry, masks(geometry, 0.01)))
    design = msgspec.structs.replace(DESIGNS["dadiannao"], spare=Switch(False, "a test"))
    assert simulate(trace, design, SITES).layers[0].traffic.read["dram"][0] == 0
    assert simulate(values, design).layers[0].traffic.read["dram"][0] > 0


def test_layers_value_by_value_stay_so() -> None:
    """Of a plan with gates, linear layers of one site are reused value by value."""
    geometry = linear_geometry(64, 64)
    trace = trace_of(traced(geometry, masks(geometry, 0.1)))
    found = simulate(trace, DESIGNS["reuse"], SITES)
    assert found.energy_pj == simulate(trace, DESIGNS["reuse"]).energy_pj


def test_from_a_plan_with_gates(small_model: Path, small_frames: npt.NDArray[np.float32]) -> None:
    """The plan's own run, beside schemes of single values, on every accelerator."""
    clip = small_frames[:, None]
    gated = mquans.Session(
        small_model, mquans.calibrate(small_model, clip, max_loss=0.3, stress=False)
    )
    values = gated.with_plan(one_width(gated, iter(clip), bits=6))
    model = read_model(small_model)
    rows = study(values, model, lambda: iter(clip), ("reuse", "sites"), DESIGNS, sites=gated)
    found = {row.accelerator: row.as_dict() for row in rows if row.scheme == "sites"}
    assert set(found) == set(NAMES)
    assert 0 < found["reuse"]["computation_reuse"] < 1
    assert found["reuse"]["energy_by"]["gate"] > 0
    with pytest.raises(MquansError, match="needs a plan with gates"):
        study(values, model, lambda: iter(clip), ("sites",), DESIGNS)

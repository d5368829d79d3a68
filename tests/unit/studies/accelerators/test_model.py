"""What must hold on every accelerator, whatever its figures: a table that breaks these is wrong."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mquans.errors import MquansError
from mquans_studies.accelerators import SCHEMES, accelerator_names, load_accelerator, simulate
from mquans_studies.accelerators.accelerator import Switch
from mquans_studies.traces.layer_shape import Geometry

from .layers import (
    conv_geometry,
    geometries,
    linear_geometry,
    masks,
    trace_of,
    traced,
)

NAMES = accelerator_names()
DESIGNS = {name: load_accelerator(name) for name in NAMES}


@settings(deadline=None, derandomize=True)
@given(geometries(), st.sampled_from(NAMES), st.floats(0, 1))
def test_reuse_never_adds_multiplications(geometry: Geometry, name: str, share: float) -> None:
    """A change is worked off at most as often as the dense network would."""
    trace = trace_of(traced(geometry, masks(geometry, share)))
    found = simulate(trace, DESIGNS[name])
    assert found.layers[0].macs[0] <= found.dense[0].macs[0] * (1 + 1e-12)
    assert found.layers[0].compute[0] <= found.dense[0].compute[0] * (1 + 1e-12)


@settings(deadline=None, derandomize=True)
@given(geometries(), st.sampled_from(NAMES))
def test_frame_without_change(geometry: Geometry, name: str) -> None:
    """Only comparing is left: no multiplication, no weight, no output."""
    found = simulate(trace_of(traced(geometry, masks(geometry, 0))), DESIGNS[name]).layers[0]
    assert found.compute[0] == found.macs[0] == 0
    assert found.energy_pj["multiply"][0] == found.energy_pj["add"][0] == 0
    assert found.energy_pj["compare"][0] > 0
    assert found.cycles[0] >= found.overhead[0] > 0
    weights = DESIGNS[name].memory("weights")
    if weights.serves == ("weights",):
        assert found.traffic.read[weights.name][0] == 0


@settings(deadline=None, derandomize=True)
@given(geometries(), st.sampled_from(NAMES))
def test_frame_that_changes_everywhere(geometry: Geometry, name: str) -> None:
    """Reuse then multiplies exactly as the dense network does, and comparing comes on top."""
    found = simulate(trace_of(traced(geometry, masks(geometry, 1.1))), DESIGNS[name])
    reuse, dense = found.layers[0], found.dense[0]
    assert reuse.macs[0] == pytest.approx(dense.macs[0])
    assert reuse.compute[0] == pytest.approx(dense.compute[0])
    assert found.speedup <= 1 + 1e-9
    assert found.energy_saved <= 1e-9


@settings(deadline=None, derandomize=True)
@given(geometries(), st.sampled_from(NAMES), st.sampled_from(list(SCHEMES)), st.floats(0, 1))
def test_energy_is_the_sum_over_events(
    geometry: Geometry, name: str, scheme: str, share: float
) -> None:
    trace = trace_of(traced(geometry, masks(geometry, share, 2)))
    found = simulate(trace, DESIGNS[name], SCHEMES[scheme])
    assert found.energy_pj == pytest.approx(sum(found.energy_by().values()))
    assert found.energy_pj == pytest.approx(
        sum(entry["energy_pj"] for entry in found.as_dict()["per_layer"])
    )
    assert all((spent >= 0).all() for spent in found.layers[0].energy_pj.values())


@settings(deadline=None, derandomize=True)
@given(st.sampled_from(NAMES), st.lists(st.floats(0, 1), min_size=2, max_size=4))
def test_more_changes_never_cost_less(name: str, shares: list[float]) -> None:
    """Nested changes: every frame's changes hold those of the frame before."""
    geometry = conv_geometry(8, 20, 7, 3, 2, 1)
    levels = np.random.default_rng(0).random((7, 7, 8))
    trace = trace_of(traced(geometry, [levels < share for share in sorted(shares)]))
    found = simulate(trace, DESIGNS[name]).layers[0]
    assert (np.diff(found.energy) >= -1e-6).all()
    assert (np.diff(found.cycles) >= -1e-6).all()


@pytest.mark.parametrize("name", NAMES)
def test_dense_design_does_not_see_changes(name: str) -> None:
    geometry = linear_geometry(40, 30)
    found = [
        simulate(trace_of(traced(geometry, masks(geometry, s))), DESIGNS[name], SCHEMES["dense"])
        for s in (0.0, 0.7)
    ]
    assert found[0].cycles == found[1].cycles
    assert found[0].energy_pj == found[1].energy_pj
    assert found[0].speedup == 1
    assert found[0].energy_saved == 0


@pytest.mark.parametrize("name", NAMES)
def test_inputs_that_were_not_made_anew_are_not_looked_at(name: str) -> None:
    """An input whose producer was not computed cannot differ: where most of a picture stands still,
    reading it again to compare would cost more than the whole dense layer."""
    geometry = conv_geometry(16, 16, 12, 3, 1, 1)
    still = traced(geometry, masks(geometry, 0), computed=0)
    found = simulate(trace_of(still), DESIGNS[name]).layers[0]
    assert found.cycles[0] == 0
    assert found.energy[0] == 0


@pytest.mark.parametrize("name", ["diannao", "eyeriss"])
def test_what_a_layer_made_is_compared_without_reading_it(name: str) -> None:
    """The result is at hand where it is written back; only what is held comes from memory. What
    no layer made has to come as well."""
    geometry = conv_geometry(16, 16, 12, 3, 1, 1)
    ways = [traced(geometry, masks(geometry, 0), computed=500, given=given) for given in (0, 500)]
    made, read = (simulate(trace_of(way), DESIGNS[name]).layers[0] for way in ways)
    assert made.traffic.read["dram"][0] == 2 * 500
    assert read.traffic.read["dram"][0] == (2 + 2) * 500


def test_comparing_overlaps_with_the_array() -> None:
    """Results are compared on their way out, while the array goes on; a core of a CPU does one
    thing at a time."""
    geometry = linear_geometry(320, 640)
    trace = trace_of(traced(geometry, masks(geometry, 0.5)))
    for name, design in DESIGNS.items():
        found = simulate(trace, design).layers[0]
        parts = (found.compute[0], found.overhead[0], found.memory[0])
        assert found.cycles[0] == (max(parts) if design.overlap.value else sum(parts)), name


@pytest.mark.parametrize("name", NAMES)
def test_shared_inputs_are_compared_once(name: str) -> None:
    """Two layers behind one tensor share its comparisons and what is held of it."""
    geometry = conv_geometry(16, 16, 12, 3, 1, 1)
    both = [traced(geometry, masks(geometry, 0.1))] * 2
    shared = simulate(trace_of(*both, shared=True), DESIGNS[name])
    apart = simulate(trace_of(*both), DESIGNS[name])
    assert 2 * shared.energy_by()["compare"] == pytest.approx(apart.energy_by()["compare"])
    assert shared.layers[1].overhead[0] == 0
    assert shared.energy_pj < apart.energy_pj


def test_state_lies_in_what_weights_leave_free() -> None:
    """DaDianNao has 32 MB of eDRAM in its tiles: state beyond the 4 MB in the middle went to DRAM
    while nearly all of that lay idle."""
    geometry = conv_geometry(32, 32, 200, 1, 1, 0)
    trace = trace_of(traced(geometry, masks(geometry, 0.1)))
    roomy = DESIGNS["dadiannao"]
    narrow = msgspec.structs.replace(roomy, spare=Switch(False, "a test"))
    found, spilling = (simulate(trace, design).layers[0] for design in (roomy, narrow))
    assert found.traffic.read["dram"][0] == found.traffic.written["dram"][0] == 0
    assert spilling.traffic.read["dram"][0] > 1e6
    assert found.traffic.read["tile_edram"][0] > spilling.traffic.read["tile_edram"][0]
    assert found.energy[0] < spilling.energy[0]
    dense = simulate(trace, roomy, SCHEMES["dense"]).layers[0]
    assert dense.traffic.read["dram"][0] == 0, "dense tensors may lie there as well"


def test_a_cache_holds_weights_or_state() -> None:
    """One memory for all: its bytes were given to weights and once more to state."""
    geometry = linear_geometry(1000, 500)
    trace = trace_of(traced(geometry, masks(geometry, 0)))
    found = simulate(trace, DESIGNS["cpu2"]).layers[0]
    assert found.traffic.read["dram"][0] == 0
    weights = linear_geometry(1000, 600)
    trace = trace_of(traced(weights, masks(weights, 0)))
    found = simulate(trace, DESIGNS["cpu2"]).layers[0]
    assert found.traffic.read["dram"][0] == 2 * 1000


def test_cycles_by_hand() -> None:
    """The reuse design, 32 outputs by 4 tiles: a dense layer of 100 inputs and 64 outputs keeps two
    tiles busy, so 100 cycles; with 10 changes 10, and beside them one for 100 grids and
    compares."""
    geometry = linear_geometry(100, 64)
    mask = np.zeros((1, 1, 100), np.bool_)
    mask[..., :10] = True
    found = simulate(trace_of(traced(geometry, [mask])), DESIGNS["reuse"])
    assert found.dense[0].compute[0] == 100
    assert found.layers[0].compute[0] == 10
    assert found.layers[0].overhead[0] == pytest.approx(100 / 128)
    assert found.layers[0].macs[0] == 640


def test_weights_that_do_not_fit_come_from_outside() -> None:
    """Layers of 40 MB on 36 MB of eDRAM fetch a tenth of the weights that are needed."""
    geometry = linear_geometry(1000, 10_000)
    mask = np.zeros((1, 1, 1000), np.bool_)
    mask[..., :100] = True
    found = simulate(trace_of(traced(geometry, [mask])), DESIGNS["reuse"])
    missing = 1 - 36 * 2**20 / 40e6
    assert found.dense[0].traffic.read["dram"][0] == pytest.approx(40e6 * missing)
    weights = 4e6 * missing
    assert found.layers[0].traffic.read["dram"][0] == pytest.approx(weights, rel=0.01)


def test_first_frames_are_left_out() -> None:
    """They are computed whole under every scheme, and would flatter none and hide the rest."""
    geometry = linear_geometry(10, 10)
    trace = trace_of(traced(geometry, [*masks(geometry, 1.1), *masks(geometry, 0)]))
    trace.begins[0] = 1
    found = simulate(trace, DESIGNS["reuse"])
    assert found.frames == 1
    assert found.layers[0].macs.tolist() == [0]
    trace.begins[:] = 1
    with pytest.raises(MquansError, match="two frames"):
        simulate(trace, DESIGNS["reuse"])


def test_weights_are_read_once_at_least() -> None:
    """Registers share a weight among output positions; a linear layer of one site has no others,
    but read a sixth of its weights on the CPU."""
    for geometry, reads in ((linear_geometry(40, 16), 1), (conv_geometry(16, 16, 12, 1, 1, 0), 24)):
        shape = geometry.shape
        trace = trace_of(traced(geometry, masks(geometry, 1.1)))
        dense = simulate(trace, DESIGNS["cpu2"], SCHEMES["dense"]).layers[0]
        assert dense.traffic.read["cache"][0] == 4 * (reads * shape.weights + shape.inputs)


def test_groups_are_fetched_one_after_the_other() -> None:
    """The fourth convolution of AlexNet on Eyeriss: a group's inputs fit into 108 KB, both groups'
    do not. Weights, inputs and outputs once are 1.6 MB; it was 2.9."""
    geometry = conv_geometry(384, 384, 13, 3, 1, 1, 2)
    trace = trace_of(traced(geometry, masks(geometry, 1.1)))
    traffic = simulate(trace, DESIGNS["eyeriss"], SCHEMES["dense"]).layers[0].traffic
    moved = traffic.read["dram"][0] + traffic.written["dram"][0]
    shape = geometry.shape
    assert moved == 2 * (shape.weights + shape.inputs + shape.outputs)
    assert moved == pytest.approx(1.6e6, rel=0.02)


@pytest.mark.parametrize("name", ["diannao", "dadiannao", "eyeriss", "neuflow"])
def test_kept_sums_do_not_round(name: str) -> None:
    """Words of 2 bytes hold no sum of 16-bit products; sums that changes are added to have 4."""
    geometry = linear_geometry(64, 64)
    mask = np.zeros((1, 1, 64), np.bool_)
    mask[..., :1] = True
    state = traced(geometry, [mask], computed=0)
    found = simulate(trace_of(state), DESIGNS[name]).layers[0].traffic
    outputs = DESIGNS[name].memory("outputs").name
    weights = DESIGNS[name].memory("weights").name
    assert found.written[outputs][0] >= 4 * 64
    assert outputs == weights or found.read[outputs][0] >= 4 * 64


def test_memory_leaves_out_what_the_array_can() -> None:
    """A window that was seen before is an output position: DianNao goes from one to the next,
    Eyeriss works on whole rows of them, NeuFlow streams whole channels."""
    geometry = conv_geometry(16, 16, 12, 3, 1, 1)
    layer = traced(geometry, masks(geometry, 1.1))
    known = replace(layer.activity, repeated=np.array([72]))
    trace = trace_of(replace(layer, activity=known))
    for name, left in (("reuse", 0.5), ("diannao", 0.5), ("eyeriss", 1.0), ("neuflow", 1.0)):
        found = simulate(trace, DESIGNS[name], SCHEMES["memory"])
        assert found.layers[0].compute[0] == left * found.dense[0].compute[0], name
        assert found.layers[0].macs[0] == left * found.dense[0].macs[0], name


def test_memory_needs_its_counts() -> None:
    geometry = linear_geometry(10, 10)
    trace = trace_of(traced(geometry, masks(geometry, 0.5)))
    object.__setattr__(trace, "memory", 0)
    with pytest.raises(MquansError, match="came again"):
        simulate(trace, DESIGNS["reuse"], SCHEMES["memory"])

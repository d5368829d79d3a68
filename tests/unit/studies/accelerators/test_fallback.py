"""Layers left dense: a scheme with them never takes more than the dense network, where chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mquans_studies.accelerators import (
    SCHEMES,
    accelerator_names,
    cheaper_dense,
    load_accelerator,
    simulate,
)
from mquans_studies.accelerators.fallback import Objective
from mquans_studies.traces.trace import Trace

from .layers import conv_geometry, geometries, linear_geometry, masks, trace_of, traced

DESIGNS = {name: load_accelerator(name) for name in accelerator_names()}


@st.composite
def chains(draw: st.DrawFn) -> Trace:
    """Layers one behind the other, or side by side, with any share of changes."""
    layers = []
    for seed in range(draw(st.integers(1, 4))):
        geometry = draw(geometries())
        changed = masks(geometry, draw(st.sampled_from([0.0, 0.05, 0.5, 1.1])), 2, seed)
        least = max(int(mask.sum()) for mask in changed)
        computed = draw(st.integers(least, geometry.shape.inputs))
        layers.append(traced(geometry, changed, computed=computed))
    return trace_of(*layers, shared=draw(st.booleans()))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    chains(), st.sampled_from(list(DESIGNS)), st.sampled_from(list(SCHEMES)),
    st.sampled_from(["energy", "time"]),
)  # fmt: skip
def test_never_worse_than_dense(trace: Trace, name: str, scheme: str, objective: Objective) -> None:
    """In what it was chosen for, on what it was chosen on; nor worse than the pure scheme."""
    design = DESIGNS[name]
    chosen = cheaper_dense(trace, design, SCHEMES[scheme], objective)
    pure = simulate(trace, design, SCHEMES[scheme])
    found = simulate(trace, design, SCHEMES[scheme], fallback=chosen)
    what = "energy_pj" if objective == "energy" else "cycles"
    dense = simulate(trace, design, SCHEMES[SCHEMES[scheme].baseline])
    spent = getattr(found, what)
    assert spent <= getattr(dense, what) * (1 + 1e-9)
    assert spent <= getattr(pure, what) * (1 + 1e-9)


def test_only_what_pays_is_left_dense() -> None:
    """A layer in which all changes, behind one in which hardly anything does."""
    still, busy = conv_geometry(16, 16, 12, 3, 1, 1), conv_geometry(16, 16, 12, 3, 1, 1)
    trace = trace_of(traced(still, masks(still, 0.01), computed=90), traced(busy, masks(busy, 1.1)))
    assert cheaper_dense(trace, DESIGNS["reuse"], SCHEMES["reuse"]) == {"layer1"}


def test_readers_of_a_dense_layer_look_at_everything() -> None:
    """All that it makes is new, whatever the trace saw made anew."""
    geometry = conv_geometry(16, 16, 12, 3, 1, 1)
    still = traced(geometry, masks(geometry, 0), computed=0)
    found = simulate(trace_of(still, still), DESIGNS["reuse"], fallback=frozenset({"layer0"}))
    assert found.layers[1].energy_pj["compare"] > 0
    assert found.as_dict()["fallback"] == ["layer0"]
    assert found.layers[0].macs[0] == geometry.shape.macs


def test_a_dense_layer_is_handed_its_input() -> None:
    """Its producer keeps changes only, so what it made anew is written for it."""
    geometry = conv_geometry(64, 64, 40, 1, 1, 0)
    layers = [traced(geometry, masks(geometry, 0), computed=count) for count in (0, 1000)]
    behind = frozenset({"layer1"})
    design = DESIGNS["eyeriss"]
    found = simulate(trace_of(*layers), design, fallback=behind).layers[1]
    dense = simulate(trace_of(*layers), design, SCHEMES["dense"]).layers[1]
    extra = found.traffic.written["dram"] - dense.traffic.written["dram"]
    assert extra[0] == 2 * 1000


@pytest.mark.parametrize("objective", ["energy", "time"])
def test_a_dense_layer_keeps_no_state(objective: Objective) -> None:
    """Its room goes to others; a linear layer of one site has nothing to share."""
    geometry = linear_geometry(4000, 4000)
    trace = trace_of(*[traced(geometry, masks(geometry, share)) for share in (0.1, 0.1)])
    assert cheaper_dense(trace, DESIGNS["reuse"], SCHEMES["reuse"], objective) == frozenset()
    none = np.zeros(1)
    found = simulate(trace, DESIGNS["reuse"], fallback=frozenset({"layer0", "layer1"}))
    assert found.layers[0].energy_pj["compare"] == none

"""Plans with more bits, as a guard makes them of a plan that was too coarse."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mquans.plan import LayerPlan, Plan, Provenance, finest, tightened
from mquans.plan.file import decode_plan, encode_plan

PROVENANCE = Provenance(mquans="0", sources=(), frames=0, created="")


def plan_of(*layers: tuple[Any, Any]) -> Plan:
    """A plan with layers of (delta, bits)."""
    return Plan(
        model="m",
        model_sha256="0" * 64,
        input_shapes={"x": (1, 4)},
        layers=tuple(
            LayerPlan(name=f"layer {i}", delta=delta, bits=bits)
            for i, (delta, bits) in enumerate(layers)
        ),
        provenance=PROVENANCE,
    )


def bits(plan: Plan) -> list[Any]:
    return [layer.bits for layer in plan.layers]


def test_uniform_bits_grow_together() -> None:
    """Where all neurons have the same steps, none is more critical."""
    plan = plan_of((0.5, 6), ((0.5, 0.25), (6, 5)))  # half the grid unit, so equal steps
    assert bits(tightened(plan, 1)) == [7, (7, 6)]
    assert bits(tightened(plan, 2)) == [7, (7, 6)]
    assert bits(tightened(plan, 3)) == [8, (8, 7)]


def test_more_critical_half_comes_first() -> None:
    """Those that calibration gave small steps."""
    plan = plan_of((0.5, (4, 8, 5, 9)))
    assert bits(tightened(plan, 1)) == [(4, 9, 5, 10)]
    assert bits(tightened(plan, 2)) == [(5, 9, 6, 10)]
    assert bits(tightened(plan, 3)) == [(5, 10, 6, 11)]


plans = st.lists(
    st.lists(st.tuples(st.sampled_from([1.0, 0.5, 0.25, 0.3]), st.integers(1, 12)), min_size=1),
    min_size=1,
    max_size=4,
).map(lambda layers: plan_of(*(tuple(zip(*layer, strict=True)) for layer in layers)))


@settings(deadline=None, derandomize=True)
@given(plans, st.integers(0, 24))
def test_tightened_plans_are_valid_and_never_coarser(plan: Plan, half_steps: int) -> None:
    """A guard goes on under them without anyone looking."""
    tighter, tightest = tightened(plan, half_steps), tightened(plan, half_steps + 1)
    decode_plan(encode_plan(tighter))
    for name in ("model_sha256", "input_shapes", "rule", "grid_bits", "provenance"):
        assert getattr(tighter, name) == getattr(plan, name)
    for before, now, then in zip(plan.layers, tighter.layers, tightest.layers, strict=True):
        rows = zip(spread(before), spread(now, before), spread(then, before), strict=True)
        assert all(a <= b <= c <= 12 for a, b, c in rows)


def spread(layer: LayerPlan, like: LayerPlan | None = None) -> tuple[int, ...]:
    """Bits of every neuron."""
    count = len((like or layer).bits)  # type: ignore[arg-type]
    return layer.bits if isinstance(layer.bits, tuple) else (layer.bits,) * count


def test_enough_half_steps_end_at_the_finest_plan() -> None:
    """Which is the network itself up to the rounding of the grid."""
    plan = plan_of((0.5, (1, 8)), (1.0, 3))
    assert bits(tightened(plan, 24)) == bits(finest(plan)) == [12, 12]
    coarse_grid = msgspec.structs.replace(plan, grid_bits=8)
    assert bits(finest(coarse_grid)) == [8, 8]


def test_gates_follow() -> None:
    """Among them the motion gate, which would keep every frame back from the finer ones."""
    plan = msgspec.structs.replace(
        plan_of((0.5, 6)), tolerance=0.1, motion_gate=0.8, motion_tolerance=0.2
    )
    tighter = tightened(plan, 2)
    assert (tighter.tolerance, tighter.motion_gate, tighter.motion_tolerance) == (0.05, 0.4, 0.1)
    for last in (tightened(plan, 24), finest(plan)):
        assert (last.tolerance, last.motion_gate, last.motion_tolerance) == (0.0, 0.0, 0.0)


def test_plan_is_not_changed_in_place() -> None:
    """Other sessions run under it."""
    plan = plan_of((0.5, 6))
    tightened(plan, 5)
    assert bits(plan) == [6]
    with pytest.raises(AttributeError):
        plan.layers = ()  # type: ignore[misc]

"""If these break, plans are lost, change on the way, or are taken for one another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.errors import PlanError
from mquans.plan import LayerPlan, Plan, plan_fingerprint, read_plan, write_plan
from mquans.plan.checks import MAX_DELTA, MIN_DELTA
from mquans.plan.file import decode_plan, encode_plan

replace = msgspec.structs.replace


def test_plan_survives_the_file_unchanged(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    plan.save(path)
    assert read_plan(path) == plan
    write_plan(read_plan(path), path)
    assert read_plan(str(path)) == plan


bits = st.integers(1, 12)
deltas = st.floats(MIN_DELTA, MAX_DELTA)
layers = st.lists(
    st.builds(
        LayerPlan,
        name=st.text(st.characters(codec="utf-8")),
        delta=deltas | st.lists(deltas, min_size=1, max_size=9).map(tuple),
        bits=bits | st.lists(bits, min_size=1, max_size=9).map(tuple),
        weight_bits=st.sampled_from([8, 16]),
    ),
    unique_by=lambda layer: layer.name,
    max_size=5,
).map(tuple)


@given(layers=layers)
def test_any_plan_survives_encoding_bit_for_bit(
    plan_factory: Callable[[], Plan], layers: tuple[LayerPlan, ...]
) -> None:
    plan = replace(plan_factory(), layers=layers)
    assert decode_plan(encode_plan(plan)) == plan


def test_invalid_plan_is_not_written(plan: Plan, tmp_path: Path) -> None:
    bad = replace(plan, layers=(replace(plan.layers[0], delta=float("nan")),))
    with pytest.raises(PlanError, match="delta"):
        write_plan(bad, tmp_path / "p.json")
    assert list(tmp_path.iterdir()) == []


def test_file_is_readable_with_one_line_per_layer(plan: Plan) -> None:
    lines = encode_plan(plan).decode().splitlines()
    assert [line for line in lines if '"conv"' in line] == [
        '    {"name": "conv", "delta": 0.0078125, "bits": [8, 7, 6], "weight_bits": 16},'
    ]
    assert len(lines) == 15


def test_numpy_numbers_are_written_as_plain_numbers(plan: Plan) -> None:
    layers = (LayerPlan(name="a", delta=np.float64(0.5), bits=(np.int64(3),)),)
    decoded = decode_plan(encode_plan(replace(plan, layers=layers)))
    assert decoded.layers == (LayerPlan(name="a", delta=0.5, bits=(3,)),)


def test_windows_editors_may_add_a_byte_order_mark(plan: Plan) -> None:
    assert decode_plan(b"\xef\xbb\xbf" + encode_plan(plan)) == plan


def test_fingerprint_ignores_what_changes_no_result(plan: Plan) -> None:
    provenance = replace(plan.provenance, created="later", frames=1)
    dense = replace(plan.layers[1], bits=(8,) * 48, delta=(0.1,) * 48)
    same = replace(
        plan, model="renamed.onnx", provenance=provenance, layers=(dense, plan.layers[0])
    )
    assert plan_fingerprint(same) == plan_fingerprint(plan)
    assert plan_fingerprint(decode_plan(encode_plan(plan))) == plan_fingerprint(plan)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: {"rule": "nearest"},
        lambda p: {"grid_bits": 11},
        lambda p: {"model_sha256": "cd" * 32},
        lambda p: {"input_shapes": {"image": (1, 3, 6, 4)}},
        lambda p: {"input": None},
        lambda p: {"input": replace(p.input, fill=0.0)},
        lambda p: {"layers": p.layers[:1]},
        lambda p: {"layers": (replace(p.layers[0], bits=(8, 6, 7)), p.layers[1])},
        lambda p: {"layers": (p.layers[0], replace(p.layers[1], weight_bits=16))},
        lambda p: {"layers": (p.layers[0], replace(p.layers[1], delta=0.10000000000000002))},
    ],
)
def test_fingerprint_tells_apart_what_changes_results(
    plan: Plan, change: Callable[[Plan], dict[str, object]]
) -> None:
    """A stream's state saved under one plan must not be restored under another."""
    assert plan_fingerprint(replace(plan, **change(plan))) != plan_fingerprint(plan)

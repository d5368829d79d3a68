"""Attempts to abuse a plan file. If these break, a file from a stranger can crash or stall the
program, write to the terminal, or be understood differently by two readers."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.errors import PlanError
from mquans.plan import Plan, read_plan
from mquans.plan import file as plan_file
from mquans.plan.file import decode_plan, encode_plan

DEEP = 1_000_000


@pytest.fixture
def text(plan: Plan) -> str:
    """A sound plan in the shortest JSON, so that attacks can replace its parts."""
    return json.dumps(json.loads(encode_plan(plan)), separators=(",", ":"))


def attack(text: str, old: str, new: str) -> bytes:
    assert text.count(old) >= 1
    return text.replace(old, new, 1).encode("utf-8", "surrogatepass")


NUMBERS = [
    "NaN", "Infinity", "-Infinity", "1e999", "-1", "0", "1e-400", "1" * 400, "true", "null", '"1"',
    "[[1]]", "[]", "[-1]", "[1,1e999]", "{}", "0x10", "1_000", "+1", ".5", "01", "1e99999999999999",
    "2" + "0" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: n[:12])
@pytest.mark.parametrize("place", ['"delta":0.0078125', '"weight_bits":16', '"grid_bits":12'])
def test_bad_numbers(text: str, place: str, number: str) -> None:
    with pytest.raises(PlanError):
        decode_plan(attack(text, place, f"{place.partition(':')[0]}:{number}"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"rule":"hold"', '"rule":"never"', "Invalid enum value 'never' at \\$.rule"),
        ('"rule":"hold"', '"rule":"hold","rule":"nearest"', "'rule' appears twice"),
        ('"name":"conv"', '"name":"conv","name":"dense"', "'name' appears twice"),
        ('"image":[1,3,4,6]', '"image":[1,3,4,6],"image":[1]', "'image' appears twice"),
        ('"rule":"hold"', '"rule":"hold","extra":1', "unknown field 'extra'"),
        ('"name":"conv"', '"name":"conv","extra":1', r"unknown field 'extra' at \$.layers\[0\]"),
        ('"rule":"hold"', '"rule":"hold","__class__":"os.system"', "unknown field"),
        ('"name":"dense"', '"name":"conv"', "appears twice"),
        ('"bits":8', '"bits":[]', "bits is empty"),
        ('"bits":8', '"bits":' + "[" * DEEP, "nested too deeply"),
        ('"bits":8', '"bits":[[8]]', r"at \$.layers\[1\].bits\[0\]"),
        ('"rule":"hold"', '"rule":' + '{"a":' * DEEP, "nested too deeply"),
        ('"rule":"hold"', '"x":' + "[" * DEEP, "nested too deeply"),
        ('"bits":8', '"bits":[' + "8," * 3, "not a plan"),
        ('"image":[1,3,4,6]', '"image":[1,' + "1048576," * 9 + "1]", "more than"),
        # Python writes no integers of more than 4300 digits.
        ('"image":[1,3,4,6]', '"image":[1,' + "1048576," * 999 + "1]", "more than"),
        ('"image":[1,3,4,6]', '"image":[-1]', "input_shapes"),
        ('"width":6', '"width":1048576,"height":1048576', "height"),
        ('"width":6', '"width":99999999', "width"),
        ('"width":6', '"width":6,"anchor":"corner"', "anchor"),
        ('"width":6', '"width":6,"window":0', "window"),
        ('"width":6', '"width":6,"window":1e9', "window"),
        ('"width":6', '"width":6,"window":true', "window"),
        ('"width":6', '"width":6,"hop":-1', "hop"),
        ('"width":6', '"width":6,"hop":99999999', "hop"),
        ('"width":6', '"width":6,"window":16', "a layout with an axis t, not nchw"),
        ('"width":6', '"width":6,"hop":2', "a layout with an axis t, not nchw"),
        ('"layout":"nchw"', '"layout":"ncthw","window":9999999', "larger|window"),
        ('"layout":"nchw"', '"layout":"ntthw"', "layout"),
        ('"std":[0.5]', '"std":[0.0]', "std must not be 0"),
        ('"std":[0.5]', '"std":[1,1]', "std has 2 values"),
        ('"version":2', '"version":3', "made by a newer mquans.*Upgrade"),
        ('"version":2', '"version":1', "made by an earlier mquans.*Calibrate again"),
        ('"version":2', '"version":0', "no plan format version 0"),
        ('"version":2', '"version":-1', "no plan format version -1"),
        ('"version":2', '"version":"2"', "version"),
        ('"version":2', '"version":true', "version"),
        ('"version":2', '"version":' + "9" * 30, "."),
        ('"format":"mquans-plan"', '"format":"other"', "not an mquans plan"),
        ('"format":"mquans-plan",', "", "not an mquans plan"),
        ('"format":"mquans-plan"', '"format":["mquans-plan"]', "not an mquans plan"),
        ('"model_sha256":"abab', '"model_sha256":"ABAB', "model_sha256"),
        ('"model_sha256":"abab', '"model_sha256":"abab\\n', "model_sha256"),
        ('"conv"', '"\ud800"', "not a plan"),
        ('"conv"', '"\\ud800"', "not a plan"),
        ('"conv"', '"a\nb"', "not a plan"),
    ],
    ids=lambda value: value[:30],
)  # fmt: skip
def test_bad_values_and_structures(text: str, old: str, new: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        decode_plan(attack(text, old, new))


@pytest.mark.parametrize(
    "data",
    [b"", b" ", b"null", b"[]", b"{}", b"0", b'"mquans-plan"', b"\x00" * 100, b"\xff\xfe{\x00}",
     b"PK\x03\x04", b"[" * DEEP, b'{"a":' * DEEP, b'{"format":"mquans-plan","version":2}',
     b"{} {}", b"/* a */ {}"],
    ids=lambda data: repr(data[:12]),
)  # fmt: skip
def test_files_that_are_no_plan(data: bytes) -> None:
    with pytest.raises(PlanError):
        decode_plan(data)


def test_every_truncation_is_refused(plan: Plan) -> None:
    data = encode_plan(plan).rstrip()
    for length in range(len(data)):
        with pytest.raises(PlanError):
            decode_plan(data[:length])


@given(data=st.data())
def test_damage_gives_a_plan_or_a_plan_error(plan_factory: Callable[[], Plan], data: Any) -> None:
    """No damage of a few bytes leads to any other error, nor to a plan that cannot be written."""
    damaged = bytearray(encode_plan(plan_factory()))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position : position + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"9" * 40, b"[[", b"-", b"e9", b'"', b"}"])
        )
    message = "a plan"
    try:
        plan = decode_plan(bytes(damaged))
        assert decode_plan(encode_plan(plan)) == plan
    except PlanError as error:
        message = str(error)
    assert message.isprintable()


def test_names_cannot_send_commands_to_the_terminal(text: str) -> None:
    evil = "\\u001b]0;owned\\u0007\\nfake line"
    for data in (
        attack(text, '"rule":"hold"', f'"{evil}":1'),
        attack(attack(text, '"conv"', f'"{evil}"').decode(), '"delta":0.0078125', '"delta":1e300'),
        attack(text, '"rule":"hold"', f'"rule":"{evil}"'),
    ):
        with pytest.raises(PlanError) as caught:
            decode_plan(data)
        assert str(caught.value).isprintable()


def test_endless_names_give_short_messages(text: str) -> None:
    with pytest.raises(PlanError) as caught:
        decode_plan(attack(text, '"rule":"hold"', f'"{"n" * DEEP}":1'))
    assert len(str(caught.value)) < 1000


def test_paths_in_a_plan_are_only_text(text: str, tmp_path: Path) -> None:
    """A plan may call its layers and model what it likes; no such file is opened or made."""
    before = set(tmp_path.iterdir())
    data = attack(text, '"faces.onnx"', f'"{tmp_path}/../../etc/passwd"')
    data = attack(data.decode(), '"conv"', f'"{tmp_path}/made"')
    plan = decode_plan(data)
    assert plan.model.endswith("/../../etc/passwd")
    plan.save(tmp_path / "p.json")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "p.json"}


def test_too_large_file_is_refused_before_it_is_parsed(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.json"
    plan.save(path)
    monkeypatch.setattr(plan_file, "MAX_PLAN_BYTES", path.stat().st_size - 1)
    with pytest.raises(PlanError, match="longer than"):
        read_plan(path)


def test_sparse_giant_file_costs_no_more_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    tracemalloc.start()
    try:
        with pytest.raises(PlanError, match="longer than"):
            read_plan(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2.5 * plan_file.MAX_PLAN_BYTES


def test_gigantic_arrays_are_refused_in_seconds_and_bounded_memory(text: str) -> None:
    """Arrays of small items expand most when parsed: a few bytes of text to dozens in memory."""
    for filler in ("8,", "[],", "{},", '"",', "1e9,"):
        data = attack(text, '"bits":8', '"bits":[' + filler * (8 * 2**20 // len(filler)) + '"x"]')
        tracemalloc.start()
        started = time.perf_counter()
        try:
            with pytest.raises(PlanError):
                decode_plan(data)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert time.perf_counter() - started < 5
        assert peak_bytes < 16 * len(data)


def test_error_names_file_and_json_path(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(attack(text, '"bits":8', '"bits":99'))
    with pytest.raises(PlanError, match=r"p\.json: not a valid plan: .*\$\.layers\[1\]\.bits"):
        read_plan(path)

"""If these break, the int8 baseline is weaker than it should be, stale, or made anew every time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
import pytest

from mquans.baselines import int8, open_engine
from mquans.baselines.fixed_model import fixed_model
from mquans.baselines.int8 import quantize
from mquans.errors import MquansError
from mquans.onnx.model_file import ModelFile
from mquans.plan import NetworkOptions

SHAPES = {"x": (1, 3, 8, 8), "gain": (1, 4, 1, 1)}


@pytest.fixture
def data(model: ModelFile) -> bytes:
    return fixed_model(model, NetworkOptions(SHAPES))[0]


def forbid_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: object) -> bytes:
        raise AssertionError("quantized again")

    monkeypatch.setattr(int8, "_quantize", work)


def test_weights_have_a_scale_per_channel_and_batch_norm_is_folded(
    data: bytes, feeds: list[Any]
) -> None:
    """Also from opset 9, in which DequantizeLinear knows one scale only."""
    graph = onnx.load_model_from_string(quantize(data, feeds)).graph
    ops = [node.op_type for node in graph.node]
    assert "BatchNormalization" not in ops
    assert "QuantizeLinear" in ops
    scales = [tuple(t.dims) for t in graph.initializer if t.name.endswith("_scale")]
    assert (4,) in scales


def test_integer_operators_are_another_file_and_cache_entry(
    data: bytes, feeds: list[Any], cache: Path
) -> None:
    """Which of the two forms is faster depends on the network; the table shows the better one."""
    pairs, integers = quantize(data, feeds), quantize(data, feeds, form="QOperator")
    assert "QLinearConv" in {n.op_type for n in onnx.load_model_from_string(integers).graph.node}
    assert "QLinearConv" not in {n.op_type for n in onnx.load_model_from_string(pairs).graph.node}
    assert len(list(cache.iterdir())) == 2


def test_second_time_comes_from_the_cache(
    data: bytes, feeds: list[Any], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = quantize(data, feeds)
    assert len(list(cache.iterdir())) == 1
    forbid_work(monkeypatch)
    assert quantize(data, feeds) == made


def test_other_frames_or_model_are_not_taken_from_the_cache(
    data: bytes, model: ModelFile, feeds: list[Any], cache: Path
) -> None:
    quantize(data, feeds)
    quantize(data, feeds[:3])
    quantize(
        fixed_model(model, NetworkOptions(SHAPES | {"x": (1, 3, 4, 4)}))[0],
        [{"x": feed["x"][:, :, :4, :4], "gain": feed["gain"]} for feed in feeds],
    )
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_damaged_cache_is_made_anew(
    data: bytes, feeds: list[Any], cache: Path, damage: bytes | None
) -> None:
    made = quantize(data, feeds)
    [entry] = cache.iterdir()
    entry.write_bytes(made[: len(made) // 2] if damage is None else damage)
    assert quantize(data, feeds) == made
    assert entry.read_bytes() == made


def test_cache_that_cannot_be_written_does_no_harm(
    model: ModelFile, feeds: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    engine = open_engine("ort-int8", model, NetworkOptions(SHAPES), calibration=feeds)
    assert set(engine.step(feeds[0])) == {"y", "features"}


def test_models_that_were_used_longest_ago_leave_a_full_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every clip and every version of a network would else stay for good."""
    monkeypatch.setattr(int8, "CACHE_BYTES", 25)
    for age, name in enumerate("abcd"):
        path = tmp_path / f"int8-{name}.onnx"
        path.write_bytes(bytes(10))
        os.utime(path, (1000 - age, 1000 - age))
    (tmp_path / "another").write_bytes(bytes(100))
    int8._keep_newest(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "another",
        "int8-a.onnx",
        "int8-b.onnx",
    ]


def test_relative_cache_folder_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert int8._cache_folder() == tmp_path / ".cache" / "mquans"


def test_calibration_frames_are_required(model: ModelFile) -> None:
    with pytest.raises(MquansError, match="calibration frames, and there are none"):
        open_engine("ort-int8", model, NetworkOptions(SHAPES))


def test_the_users_logging_is_left_as_it_was(data: bytes, feeds: list[Any]) -> None:
    import logging

    before = logging.getLogger().level
    quantize(data, feeds)
    assert logging.getLogger().level == before

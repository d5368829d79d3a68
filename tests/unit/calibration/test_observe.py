"""Ranges and change curves from frames that are seen once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from mquans.calibration import Observer
from mquans.calibration.curves import CurveMeter
from mquans.calibration.observe import DenseRun
from mquans.errors import ModelError
from mquans.onnx import import_model, read_model
from mquans.plan import Rule

Frames = npt.NDArray[np.float32]


def played(x: Frames, step: float, rule: Rule) -> tuple[float, float]:
    """(share of values that move, mean squared error) over frames [frames, values] but the first,
    by the definition of the rule."""
    moved, errors, count = 0, 0.0, 0
    held = x[0].copy()
    for now, before in zip(x[1:], x[:-1], strict=True):
        if rule == "hold":
            moves = np.abs(now - held) > step / 2
            held = np.where(moves, now, held)
        else:
            held = step * np.rint(now / np.float32(step))
            moves = held != step * np.rint(before / np.float32(step))
        moved += int(moves.sum())
        errors += float(((now - held).astype(np.float64) ** 2).sum())
        count += now.size
    return moved / count, errors / count


@pytest.mark.parametrize("rule", ["hold", "nearest"])
def test_curves_are_what_the_rules_do(rule: Rule) -> None:
    """Plans are chosen by them."""
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(0, 0.05, (30, 3, 40)), axis=0).astype(np.float32)
    meter = CurveMeter(x[0])
    for frame in x[1:]:
        meter.add(frame)
    found = meter.result()
    for neuron in range(3):
        for rung in (16, 32, 44):
            change, error = played(x[:, neuron], found.steps[rung], rule)
            assert found.change[rule][neuron, rung] == pytest.approx(change, abs=0.02)
            assert found.error[rule][neuron, rung] == pytest.approx(error, rel=0.05)
    at_rungs = found.at(rule, found.steps)
    np.testing.assert_allclose(at_rungs[0], found.change[rule], atol=1e-12)
    np.testing.assert_allclose(at_rungs[1], found.error[rule], atol=1e-12)


def test_coarser_steps_never_change_more_nor_err_less() -> None:
    """Noise in a curve would be mistaken for a bargain."""
    rng = np.random.default_rng(1)
    meter = CurveMeter(rng.normal(0, 1, (2, 30)).astype(np.float32))
    for _ in range(4):
        meter.add(rng.normal(0, 1, (2, 30)).astype(np.float32))
    steps = np.geomspace(1e-3, 4, 50)
    for rule in ("hold", "nearest"):
        change, error = meter.result().at(rule, steps)
        assert (np.diff(change, axis=1) <= 1e-12).all()
        assert (np.diff(error, axis=1) >= -1e-12).all()


def test_first_frame_of_another_clip_is_no_change() -> None:
    """Cuts between clips are ours, not the stream's."""
    meter = CurveMeter(np.zeros((1, 10), np.float32))
    meter.add(np.zeros((1, 10), np.float32))
    meter.restart(np.ones((1, 10), np.float32))
    meter.add(np.ones((1, 10), np.float32))
    assert not meter.result().change["hold"].any()
    assert not meter.result().change["nearest"].any()


def test_ranges_are_those_of_every_layers_input(small_model: Path, small_frames: Frames) -> None:
    """Per neuron, over batch, space and frames, whatever the clips."""
    graph = import_model(read_model(small_model))
    run = DenseRun(graph)
    observer = Observer(graph, rules=())
    observer.add(({"x": frame[None]} for frame in small_frames[:8]), run)
    observer.add(({"x": frame[None]} for frame in small_frames[8:]), run)
    found = observer.result()
    assert found.frames == len(small_frames)
    assert len(found.ranges) == 3
    np.testing.assert_array_equal(found.ranges["x"].low, small_frames.min(axis=(0, 2, 3)))
    np.testing.assert_array_equal(found.ranges["x"].high, small_frames.max(axis=(0, 2, 3)))
    second = list(found.ranges.values())[1]
    assert (second.low >= 0).all()  # behind a ReLU


def test_ids_without_a_word_are_said_to_be_at_fault() -> None:
    """A recording of another tokenizer is a mistake of the user, not of the program."""
    nodes = [
        onnx.helper.make_node("Gather", ["words", "ids"], ["e"]),
        onnx.helper.make_node("MatMul", ["e", "w"], ["y"]),
    ]
    weights = {"words": np.ones((5, 4), np.float32), "w": np.ones((4, 2), np.float32)}
    graph = onnx.helper.make_graph(
        nodes,
        "small",
        [onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, [1, 3])],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    imports = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)
    run = DenseRun(import_model(read_model(model)))
    with pytest.raises(ModelError, match=r"model 'small': onnxruntime cannot run it: indices"):
        run({"ids": np.array([[0, 1, 7]], np.float32)})

"""Shapes and preparation from what the user says, and frames into memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper
from tests.laws.networks import mobile

from mquans.calibration import CalibrationOptions, Clip, calibrate, resolve_inputs
from mquans.calibration.context import open_network
from mquans.calibration.inputs import (
    MOST_LATE,
    MOST_SAMPLED,
    SMALL_FACTOR,
    as_specs,
    read_clip,
)
from mquans.errors import SourceError
from mquans.metrics import load_labels
from mquans.onnx import ModelFile, import_model, read_model
from mquans.plan import AudioFormat, InputFormat
from mquans.sources import Lookahead, SourceWarning, open_source


def relu(*shapes: list[object]) -> ModelFile:
    """A network of one Relu per input."""
    inputs = [
        helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, shape)
        for i, shape in enumerate(shapes)
    ]
    outputs = [
        helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, None) for i in range(len(shapes))
    ]
    nodes = [helper.make_node("Relu", [f"x{i}"], [f"y{i}"]) for i in range(len(shapes))]
    graph = helper.make_graph(nodes, "relu", inputs, outputs)
    return read_model(
        onnx.helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ).SerializeToString()
    )


def test_size_fixes_dynamic_pictures() -> None:
    """`--size` alone must be enough for a network of any size."""
    setup = resolve_inputs(
        relu(["N", 3, "H", "W"]), "clip.mp4", input={"width": 64, "height": 32, "color": "bgr"}
    )
    assert setup.options.input_shapes == {"x0": (1, 3, 32, 64)}
    assert setup.format is not None
    assert setup.format.color == "bgr"


def test_size_overrides_what_the_export_left_behind() -> None:
    """CenterFace declares [10, 3, 32, 32] and takes any size."""
    setup = resolve_inputs(relu([10, 3, 32, 32]), "clip.mp4", input={"width": 64, "height": 96})
    assert setup.options.input_shapes == {"x0": (1, 3, 96, 64)}


def test_pictures_without_a_size_name_the_flag() -> None:
    """The way out is in the message."""
    with pytest.raises(SourceError, match="--size"):
        resolve_inputs(relu(["N", 3, "H", "W"]), "clip.mp4")


def test_contradicting_sizes_are_refused() -> None:
    """Neither may win silently."""
    with pytest.raises(SourceError, match="Give only one"):
        resolve_inputs(
            relu([1, 3, 8, 8]),
            "clip.mp4",
            input_shapes={"x0": (1, 3, 16, 16)},
            input={"width": 32, "height": 32},
        )


def test_ready_tensors_fix_dynamic_dimensions(tmp_path: Path) -> None:
    """A source knows its own shape; nothing is prepared."""
    path = tmp_path / "frames.npy"
    np.save(path, np.zeros((5, 3, 24, 40), np.float32))
    setup = resolve_inputs(relu(["N", 3, "H", "W"]), str(path))
    assert setup.options.input_shapes == {"x0": (1, 3, 24, 40)}
    assert setup.format is None


def test_stored_pictures_are_pictures(tmp_path: Path) -> None:
    """uint8 in .npy goes the way of video."""
    path = tmp_path / "frames.npy"
    np.save(path, np.zeros((5, 24, 40, 3), np.uint8))
    setup = resolve_inputs(relu([1, 3, 24, 40]), str(path))
    assert setup.format is not None
    assert (setup.format.width, setup.format.height) == (40, 24)


def test_several_inputs_need_named_arrays() -> None:
    """A picture cannot feed two inputs."""
    with pytest.raises(SourceError, match="x0, x1"):
        open_network(relu([1, 3, 8, 8], [1, 4]), "clip.mp4", CalibrationOptions(feedback={}))


def test_shapes_without_a_clip() -> None:
    """`inspect --size` works without `--source`."""
    setup = resolve_inputs(relu(["N", 3, "H", "W"]), None, input={"width": 8, "height": 4})
    assert setup.options.input_shapes == {"x0": (1, 3, 4, 8)}
    assert resolve_inputs(relu([1, 3, "H", 8]), None).options.input_shapes == {}


def test_windows_are_of_pictures_where_the_network_sees_movement() -> None:
    """`--window` and `--hop` mean samples for all other networks."""
    model = relu([1, 3, "T", 8, 12])
    for spec in ("clip.mp4", None):
        setup = resolve_inputs(model, spec, input={"window": 16, "hop": 2})
        assert isinstance(setup.format, InputFormat)
        assert (setup.format.window, setup.format.hop) == (16, 2)
        assert setup.options.input_shapes == {"x0": (1, 3, 16, 8, 12)}
    fields = {"features": "samples", "window": 512, "hop": 256}
    assert isinstance(resolve_inputs(relu([1, 512]), None, input=fields).format, AudioFormat)
    # Of a video, its sound: what is said of it fits nothing else.
    for spec in ("a.mp4", "-"):
        found = resolve_inputs(relu([1, 512]), spec, input=fields).format
        assert isinstance(found, AudioFormat)
    with pytest.raises(SourceError, match="a layout with an axis t"):
        resolve_inputs(relu([1, 3, 8, 12]), "clip.mp4", input={"window": 16})


def read(frames: npt.NDArray[np.float32], **options: Any) -> tuple[Clip, list[Any]]:
    """(the clip, what was yielded) for a network of 4x4 pictures."""
    setup = resolve_inputs(relu([1, 3, 4, 4]), frames)
    with open_source(frames, setup.format, input_shapes={"x0": (1, 3, 4, 4)}) as source:
        clip = Clip(source.name)
        given = {"late": 0.25, "expected": len(frames), **options}
        early = list(read_clip(clip, source, {"x0": (1, 3, 4, 4)}, **given))
    return clip, [feeds["x0"].flat[0] for feeds in early]


def counted(count: int) -> npt.NDArray[np.float32]:
    """Frames that hold their own number."""
    return np.full((count, 3, 4, 4), np.arange(count)[:, None, None, None], np.float32)


def test_labels_in_pixels_of_the_picture_arrive_in_pixels_of_the_input(tmp_path: Path) -> None:
    """`--labels boxes.csv` beside pictures four times as large: by the number of the frame."""
    (tmp_path / "boxes.csv").write_text("frame,left,top,width,height\n7,4,8,8,4\n")
    pictures = np.zeros((8, 16, 16, 3), np.uint8)
    setup = resolve_inputs(relu([1, 3, 4, 4]), pictures)
    labels = load_labels(tmp_path / "boxes.csv")
    with open_source(pictures, setup.format) as source:
        clip = Clip(source.name)
        given: dict[str, Any] = {"late": 0.25, "expected": 8, "labels": labels}
        list(read_clip(clip, source, {"x0": (1, 3, 4, 4)}, **given))
    assert [label.tolist() for _, label in clip.late] == [[], [[1, 2, 3, 3]]]


def test_frames_with_nan_are_left_out_with_a_warning() -> None:
    """One bad frame must not spoil all ranges."""
    frames = counted(8)
    frames[3] = np.nan
    with pytest.warns(SourceWarning, match="1 frames"):
        clip, early = read(frames)
    assert (clip.frames, early) == (7, [0, 1, 2, 4, 5])


def test_clip_of_another_shape_is_refused() -> None:
    """With both shapes in the message."""
    with pytest.raises(SourceError, match=r"\[1, 3, 4, 6\].*\[1, 3, 4, 4\]"):
        read(np.zeros((8, 3, 4, 6), np.float32))


def test_too_short_clip_is_refused() -> None:
    """Nothing would be left to measure on."""
    with pytest.raises(SourceError, match="at least 4"):
        read(counted(3))


@pytest.mark.parametrize("expected", [10, 100, 4])
def test_late_frames_are_the_last_ones_whatever_length_was_promised(expected: int) -> None:
    """Containers lie about their length, and live sources have none."""
    clip, early = read(counted(10), expected=expected)
    assert early == list(range(10 - len(clip.late)))
    assert [feeds["x0"].flat[0] for feeds, _ in clip.late] == list(range(len(early), 10))
    assert 2 <= len(clip.late) <= 3


def test_memory_does_not_grow_with_the_clip() -> None:
    """A day of video must not fill it."""
    clip, early = read(counted(10000), late=0.4)
    assert len(clip.late) == SMALL_FACTOR * MOST_LATE
    assert len(clip.sample) <= MOST_SAMPLED
    numbers = [feeds["x0"].flat[0] for feeds, _ in clip.sample]
    assert numbers[-1] > 0.9 * len(early)
    assert len(set(np.diff(numbers))) == 1  # spread evenly


def test_labels_follow_their_frames() -> None:
    """Through selection: the third frame of a source stays the third."""
    clip, _ = read(counted(8), labels=list("abcdefghijklmnopq"), number=lambda index: 1 + 2 * index)
    assert [label for _, label in clip.late] == ["n", "p"]
    with pytest.raises(SourceError, match="no label for frame 2"):
        read(counted(8), labels=["a", "b"])


def test_lists_of_paths_are_several_clips_and_lists_of_arrays_one() -> None:
    """`mquans.calibrate(model, [a.mp4, b.mp4])`."""
    assert as_specs(["a.mp4", Path("b.mp4")]) == ["a.mp4", Path("b.mp4")]
    assert as_specs("a.mp4") == ["a.mp4"]
    assert len(as_specs([np.zeros(3), np.zeros(3)])) == 1
    assert len(as_specs(np.zeros(3) for _ in range(5))) == 1


def test_an_iterable_may_give_the_same_memory_again() -> None:
    """As readers of cameras do; all frames would be the last one."""

    def filling() -> Iterator[Any]:
        array, named = np.zeros(2, np.float32), {"x": np.zeros(1, np.float32)}
        for i in range(3):
            array[:] = i
            named["x"][:] = i
            yield array if i < 2 else named

    (frames,) = as_specs(filling())
    assert isinstance(frames, Lookahead)
    np.testing.assert_array_equal(frames.first, [0, 0])
    first, second, third = frames
    np.testing.assert_array_equal([first, second], [[0, 0], [1, 1]])
    assert third["x"] == 2


def test_no_more_of_an_iterable_is_taken_than_is_used() -> None:
    """A camera would be waited for, and its pictures kept."""
    model = mobile()
    graph = import_model(read_model(model))
    (name,) = graph.inputs
    rng = np.random.default_rng(0)
    taken = itertools.count()

    def live() -> Iterator[Any]:
        while next(taken) < 1000:
            yield rng.normal(size=graph.shape(name)).astype(np.float32)

    plan = calibrate(model, live(), bits=8, frames=7, stride=2)
    assert plan.provenance.frames == 7
    assert next(taken) == 13


def test_arrays_that_are_no_inputs_are_named() -> None:
    """It was called a fault of the model, in onnxruntime's words."""
    model = mobile()
    (name,) = import_model(read_model(model)).inputs
    shape = import_model(read_model(model)).shape(name)
    frames = [{name: np.zeros(shape, np.float32), "z": np.zeros(1, np.float32)}]
    with pytest.raises(SourceError, match=rf"'z', which is no input.*{name}"):
        calibrate(model, frames * 4, bits=8)

"""Decoders of known detectors, and the F1 and IoU that budgets can be stated in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mquans
from mquans.baselines import open_engine
from mquans.errors import MquansError
from mquans.metrics import (
    DECODERS,
    READY,
    DetectionLoss,
    PictureBoxes,
    decode_fastestdet,
    decode_yolov8,
    decode_yolox,
    decode_yunet,
    new_meter,
)
from mquans.metrics.detections import DetectionScore, suppress
from mquans.onnx import read_model
from mquans.plan import NetworkOptions

BOX = [20.0, 40.0, 60.0, 120.0]


def direct(outputs: dict[str, np.ndarray]) -> np.ndarray:
    """Decodes outputs that are boxes already."""
    return np.asarray(outputs["boxes"], np.float32).reshape(-1, 6)


def boxes(*found: list[float], kind: float = 0) -> dict[str, np.ndarray]:
    return {"boxes": np.array([[*box, 0.9, kind] for box in found], np.float32)}


def shifted(box: list[float], by: float) -> list[float]:
    return [box[0] + by, box[1], box[2] + by, box[3]]


def test_yolov8_box_worked_out_by_hand() -> None:
    """Two classes, three anchors, of which one is too faint."""
    head = np.zeros((1, 6, 3), np.float32)
    head[0, :, 0] = [40, 80, 40, 80, 0.1, 0.8]
    head[0, :, 1] = [41, 80, 40, 80, 0.1, 0.7]  # the same object once more
    head[0, :, 2] = [200, 80, 40, 80, 0.2, 0.1]
    found = decode_yolov8({"output0": head})
    np.testing.assert_allclose(found, [[*BOX, 0.8, 1]], rtol=1e-6)


def test_two_classes_in_one_place_are_two_objects() -> None:
    """Suppression is per class: a person on a bicycle."""
    head = np.zeros((1, 6, 2), np.float32)
    head[0, :, 0] = [40, 80, 40, 80, 0.1, 0.8]
    head[0, :, 1] = [40, 80, 40, 80, 0.7, 0.1]
    assert decode_yolov8({"output0": head})[:, 5].tolist() == [1, 0]


def test_fastestdet_box_worked_out_by_hand() -> None:
    """Cell (4, 3) of 22 x 22, centre a little right of its corner, half the picture wide."""
    cells = np.zeros((1, 85, 22, 22), np.float32)
    cells[0, :5, 4, 3] = [0.9, np.arctanh(0.5), 0.0, 0.0, np.log(1 / 3)]
    cells[0, 5 + 17, 4, 3] = 0.8
    (box,) = decode_fastestdet({"out": cells})
    centre_x, centre_y, width, height = 3.5 * 16, 4 * 16, 352 / 2, 352 / 4
    corners = [centre_x - width / 2, centre_y - height / 2]
    corners += [centre_x + width / 2, centre_y + height / 2]
    np.testing.assert_allclose(box, [*corners, 0.9**0.6 * 0.8**0.4, 17], rtol=1e-5)


def yunet_outputs(size: int = 64) -> dict[str, np.ndarray]:
    outputs = {}
    for stride in (8, 16, 32):
        cells = (size // stride) ** 2
        for name, width in (("cls", 1), ("obj", 1), ("bbox", 4)):
            outputs[f"{name}_{stride}"] = np.zeros((1, cells, width), np.float32)
    return outputs


def test_yunet_box_worked_out_by_hand() -> None:
    """Row 1, column 2 of the 4 x 4 cells of stride 16; scores above 1 count as 1."""
    outputs = yunet_outputs()
    outputs["cls_16"][0, 6] = 1.2
    outputs["obj_16"][0, 6] = 0.81
    outputs["bbox_16"][0, 6] = [0.5, 0.25, np.log(2), np.log(3)]
    (box,) = decode_yunet(outputs)
    np.testing.assert_allclose(box, [40 - 16, 20 - 24, 40 + 16, 20 + 24, 0.9], rtol=1e-5)


def test_yunet_of_a_wide_picture_needs_its_width() -> None:
    """The number of cells alone does not tell where rows end."""
    outputs = {name: value[:, : value.shape[1] // 2] for name, value in yunet_outputs().items()}
    with pytest.raises(MquansError, match="width"):
        decode_yunet(outputs)
    assert decode_yunet(outputs, width=64).shape == (0, 5)


def yolox_output(width: int = 64, height: int = 64, classes: int = 3) -> np.ndarray:
    cells = sum((width // stride) * (height // stride) for stride in (8, 16, 32))
    return np.zeros((1, cells, 5 + classes), np.float32)


def test_yolox_boxes_of_all_strides_worked_out_by_hand() -> None:
    """64 x 64 pixels have 8 x 8, then 4 x 4, then 2 x 2 cells. A grid read column by column, or
    strides in another order, would put boxes where nothing is."""
    head = yolox_output()
    # Row 2, column 5 of stride 8; row 1, column 3 of stride 16; row 1, column 0 of stride 32.
    head[0, 2 * 8 + 5] = [0.5, 0.25, np.log(2), np.log(3), 0.9, 0.1, 0.8, 0.0]
    head[0, 64 + 1 * 4 + 3] = [0.0, 0.5, 0.0, np.log(2), 0.8, 0.75, 0.0, 0.0]
    head[0, 80 + 1 * 2 + 0] = [1.0, 0.0, np.log(0.5), 0.0, 0.5, 0.0, 0.0, 1.0]
    wanted = [
        [44 - 8, 18 - 12, 44 + 8, 18 + 12, 0.72, 1],
        [48 - 8, 24 - 16, 48 + 8, 24 + 16, 0.6, 0],
        [32 - 8, 32 - 16, 32 + 8, 32 + 16, 0.5, 2],
    ]
    np.testing.assert_allclose(decode_yolox({"output": head}), wanted, rtol=1e-5)


def test_yolox_score_is_objectness_times_class() -> None:
    """Either alone is high in many cells that show nothing."""
    head = yolox_output()
    head[0, 0, 4:6] = 0.9, 0.3
    head[0, 40, 4:6] = 0.3, 0.9
    assert len(decode_yolox({"output": head})) == 0
    assert len(decode_yolox({"output": head}, threshold=0.25)) == 2


def test_yolox_drops_what_overlaps_a_better_box_by_more_than_0_45() -> None:
    """Neighbouring cells see the same person: counted twice, every second box would be wrong."""
    head = yolox_output()
    for cell, right, score in ((8, 0.0, 0.9), (9, -0.5, 0.8), (10, 1.2, 0.7)):
        # Squares of 4 cells, 0.5 and 3.2 cells beside the best one: IoU 0.78 and 0.11.
        head[0, cell, :6] = [right, 0.0, np.log(4), np.log(4), 1.0, score]
    assert decode_yolox({"output": head})[:, 4].tolist() == pytest.approx([0.9, 0.7])


def test_yolox_of_a_wide_picture_needs_its_width() -> None:
    """The number of cells alone does not tell where rows end."""
    head = yolox_output(width=128)
    with pytest.raises(MquansError, match="width"):
        decode_yolox({"output": head})
    head[0, 1 * 16 + 15, 4:6] = 1.0  # row 1, column 15
    [box] = decode_yolox({"output": head}, width=128)
    assert box[:4].tolist() == [116, 4, 124, 12]
    with pytest.raises(MquansError, match="96 pixels wide"):
        decode_yolox({"output": head}, width=96)


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_outputs_without_objects_decode_to_no_boxes(name: str) -> None:
    """Most frames of most cameras."""
    outputs = {
        "centerface": {str(i): np.zeros((1, c, 8, 8), np.float32) for i, c in enumerate((1, 2, 2))},
        "fastestdet": {"out": np.zeros((1, 85, 22, 22), np.float32)},
        "yolov8": {"out": np.zeros((1, 84, 100), np.float32)},
        "yolox": {"out": yolox_output()},
        "yunet": yunet_outputs(),
    }[name]
    found = DECODERS[name](outputs)
    assert len(found) == 0
    meter = new_meter(READY[f"{name}_f1"])
    meter.add(outputs, outputs, None)
    assert meter.result() == 0


def test_f1_and_iou_against_the_dense_network() -> None:
    """Two frames: one box a fourth of its width aside (IoU 0.6), one missed and one invented."""
    for score, loss in (("f1", 0.5), ("mean_iou", 1 - 0.6 / 3)):
        meter = DetectionLoss(direct, score=score)  # type: ignore[arg-type]
        meter.add(boxes(shifted(BOX, 10)), boxes(BOX), None)
        meter.add(boxes(shifted(BOX, 300)), boxes(BOX), None)
        assert meter.result() == pytest.approx(loss)
        assert len(meter.per_frame) == 2
    assert meter.per_frame == pytest.approx([0.4, 1.0])


def test_labels_replace_the_dense_boxes() -> None:
    """The loss is what is lost of the dense network's F1: 2/3 of it here, 0 where we are better."""
    label = [BOX, shifted(BOX, 100)]
    meter = DetectionLoss(direct)
    meter.add(boxes(), boxes(BOX), label)
    assert meter.result() == pytest.approx(2 / 3)
    meter = DetectionLoss(direct)
    meter.add(boxes(*label), boxes(BOX), label)
    assert meter.result() == 0


def test_class_counts_where_the_label_has_one() -> None:
    """[left, top, right, bottom] is any class, a fifth number is the class."""
    for label, loss in (([BOX], 0), ([[*BOX, 2]], 0), ([[*BOX, 3]], 1)):
        meter = DetectionLoss(direct)
        meter.add(boxes(BOX, kind=2), boxes(BOX, kind=label[0][4] if loss else 2), label)
        assert meter.result() == loss


def test_boxes_of_the_picture_are_not_taken_for_those_of_the_input() -> None:
    """They would be compared at the wrong scale, and every network would look bad."""
    label = PictureBoxes(np.array([BOX], np.float32))
    with pytest.raises(MquansError, match="place_labels"):
        DetectionLoss(direct).add(boxes(), boxes(), label)


@pytest.mark.parametrize("label", ["face", [1, 2, 3, 4], [[1, 2, 3]], 0.5])
def test_label_that_is_no_box_is_refused(label: Any) -> None:
    """A file of steering angles for a detector."""
    with pytest.raises(MquansError, match="list of boxes"):
        DetectionLoss(direct).add(boxes(), boxes(), label)


def test_matching_prefers_better_boxes_and_each_box_once() -> None:
    """Two found boxes over one wanted: one hit, one invented."""
    score = DetectionScore()
    found = np.array([[*shifted(BOX, 5), 0.6], [*BOX, 0.9]], np.float32)
    score.add(np.array([[*BOX, 1]], np.float32), found)
    assert (score.matched, score.missed, score.invented, score.overlaps) == (1, 0, 1, 1.0)


def test_suppression_keeps_shape_without_boxes() -> None:
    """Columns are there even when rows are not."""
    assert suppress(np.zeros((0, 6), np.float32)).shape == (0, 6)


def frames(clip: Path, name: str, size: int, **fields: Any) -> list[dict[str, np.ndarray]]:
    form = mquans.InputFormat(name=name, width=size, height=size, color="bgr", **fields)
    with mquans.open_source(clip, form, stride=5, frames=4) as source:
        return [{name: frame} for frame in source]


def test_yunet_finds_the_face_before_a_webcam(shared: Path) -> None:
    """One in every frame, of plausible size: coordinates are read the right way round."""
    model = read_model(shared / "models/yunet/yunet_n_320_320.onnx")
    engine = open_engine("ort-fp32", model, NetworkOptions({"input": (1, 3, 320, 320)}))
    for feeds in frames(shared / "data/video/asl_gestures/again.mkv", "input", 320):
        ((left, top, right, bottom, _),) = decode_yunet(engine.step(feeds))
        assert 20 < right - left < 160
        assert 0.7 < (bottom - top) / (right - left) < 2


def test_fastestdet_finds_people_in_a_street(shared: Path) -> None:
    """Class 0 is a person."""
    model = read_model(shared / "models/fastestdet/FastestDet.onnx")
    engine = open_engine("ort-fp32", model, NetworkOptions({"input.1": (1, 3, 352, 352)}))
    for feeds in frames(shared / "data/video/vtest.avi", "input.1", 352, scale=1 / 255):
        found = decode_fastestdet(engine.step(feeds))
        assert len(found) >= 2
        assert (found[:, 5] == 0).mean() > 0.5

"""Tables of boxes in pixels of the recorded pictures, and how they reach the network's input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mquans.errors import SourceError
from mquans.metrics import PictureBoxes, load_labels, place_label, place_labels
from mquans.plan import InputFormat
from mquans.sources import open_source

TITLE = "frame,person,left,top,width,height\n"


def load(folder: Path, text: str) -> list[Any]:
    (folder / "boxes.csv").write_text(text)
    return [label.boxes.tolist() for label in load_labels(folder / "boxes.csv")]


def test_boxes_by_frame(tmp_path: Path) -> None:
    """Rows in any order, several per frame; a frame without a row shows nothing, and is not one
    without a label, in which whatever the dense network finds would be right."""
    found = load(tmp_path, TITLE + "2,1,10,20,5,8\n0,1,1,2,3,4\n2,2,0.5,-1,1.5,2\n")
    assert found == [[[1, 2, 4, 6]], [], [[10, 20, 15, 28], [0.5, -1, 2, 1]]]
    assert load_labels(tmp_path / "boxes.csv")[1].boxes.shape == (0, 4)


def test_corners_and_classes(tmp_path: Path) -> None:
    """The other usual way to write boxes; classes are kept."""
    text = "class,right,bottom,left,top,frame\n7,30,40,10,20,0\n"
    assert load(tmp_path, text) == [[[10, 20, 30, 40, 7]]]


def test_empty_cells_name_a_frame_that_shows_nothing(tmp_path: Path) -> None:
    """A clip that ends with an empty street would have too few labels."""
    assert load(tmp_path, TITLE + "0,1,1,2,3,4\n2,,,,,\n") == [[[1, 2, 4, 6]], [], []]


def test_named_column_of_a_table_of_boxes_is_still_a_column(tmp_path: Path) -> None:
    """Labels go by rows there."""
    (tmp_path / "boxes.csv").write_text(TITLE + "2,1,10,20,5,8\n")
    assert load_labels(f"{tmp_path / 'boxes.csv'}:left") == [10.0]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1,1,a,2,3,4", "row 2: its left 'a' is not a number"),
        ("1,1,1,2,3", "row 2: its height '' is not a number"),
        ("1,1,nan,2,3,4", "its left 'nan'"),
        ("x,1,1,2,3,4", "its frame 'x'"),
        ("-1,1,1,2,3,4", "-1 is not the number of a frame"),
        ("0.5,1,1,2,3,4", "0.5 is not the number of a frame"),
        ("1e15,1,1,2,3,4", "is not the number of a frame"),
        ("1,1,1,2,0,4", "no area"),
        ("1,1,1,2,3,-4", "no area"),
    ],
)
def test_damaged_row_is_named(tmp_path: Path, row: str, words: str) -> None:
    """And a frame far out does not fill the memory."""
    with pytest.raises(SourceError, match=words):
        load(tmp_path, f"{TITLE}0,1,1,2,3,4\n{row}\n")


FORMAT = InputFormat(name="x", width=40, height=40, resize="letterbox")


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_every_picture_places_its_own_boxes(tmp_path: Path, kind: str) -> None:
    """Pictures of a folder differ in size; a scale of the first for all would be wrong. JPEG comes
    in YUV, as video does, and is resized on another way."""
    for number, size in enumerate([(80, 40), (20, 40)]):
        Image.new("RGB", size).save(tmp_path / f"{number}.{kind}")
    label = PictureBoxes(np.array([[0, 0, 20, 40]], np.float32))
    with open_source(tmp_path, FORMAT) as source:
        placed = [place_label(label, source).tolist() for _ in source]
    assert placed == [[[0, 10, 10, 30]], [[10, 0, 30, 40]]]


def test_labels_of_a_clip_are_placed_at_once() -> None:
    """For functions that take frames without knowing where they come from."""
    pictures = np.zeros((3, 40, 80, 3), np.uint8)
    label = PictureBoxes(np.array([[0, 0, 80, 40, 2]], np.float32))
    with open_source(pictures, FORMAT) as source:
        placed = place_labels([label, None, [[1, 2, 3, 4]]], source)
    assert placed[0].tolist() == [[0, 10, 40, 30, 2]]
    assert placed[1:] == [None, [[1, 2, 3, 4]]]


def test_other_labels_take_no_frame_of_the_source() -> None:
    """A microphone's would be lost."""
    with open_source(np.zeros((1, 40, 80, 3), np.uint8), FORMAT) as source:
        assert place_labels([0.5, None], source) == [0.5, None]
        assert len(list(source)) == 1


def test_boxes_beside_ready_tensors_are_explained() -> None:
    """Nothing says how large their pictures were."""
    label = PictureBoxes(np.zeros((1, 4), np.float32))
    with open_source(np.zeros((2, 3, 40, 40), np.float32), FORMAT) as source:
        next(source)
        with pytest.raises(SourceError, match="pixels of the network's input"):
            place_label(label, source)

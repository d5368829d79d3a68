"""What users type, and what they are told when it cannot be read."""

from __future__ import annotations

import pytest

from mquans.cli.options import AnchorName, ColorName, number, parse_shapes, preparation
from mquans.errors import MquansError


def test_shapes_of_inputs() -> None:
    """Names of ONNX inputs may hold colons and dots."""
    assert parse_shapes(["input.1:1,3,32,64", "serving:0:1x8"]) == {
        "input.1": (1, 3, 32, 64),
        "serving:0": (1, 8),
    }
    assert parse_shapes(None) == {}


@pytest.mark.parametrize("text", ["1,3,32,32", "x:", "x:1,,3", "x:-1,3", ":1,3", "x:a"])
def test_unreadable_shape_shows_how_to_write_it(text: str) -> None:
    """One sentence and a way out."""
    with pytest.raises(MquansError, match="images:1,3,320,320"):
        parse_shapes([text])


def test_preparation_holds_only_what_was_given() -> None:
    """The rest is guessed from the model."""
    assert preparation(None, None, None, None, None, None, None, None) == {}
    given = preparation(
        "320x240", None, AnchorName.top_left, ColorName.bgr, None, "1/255", "0.5", "1,2,3"
    )
    assert given == {
        "width": 320,
        "height": 240,
        "anchor": "top_left",
        "color": "bgr",
        "scale": 1 / 255,
        "mean": (0.5,),
        "std": (1.0, 2.0, 3.0),
    }


@pytest.mark.parametrize("text", ["320", "0x240", "320x", "axb", "320x240x3"])
def test_unreadable_size_shows_how_to_write_it(text: str) -> None:
    """One sentence and a way out."""
    with pytest.raises(MquansError, match="320x240"):
        preparation(text, None, None, None, None, None, None, None)


@pytest.mark.parametrize("text", ["", "a", "1/0", "1/2/3"])
def test_unreadable_number_names_its_flag(text: str) -> None:
    """There are three flags that take numbers."""
    with pytest.raises(MquansError, match="--scale"):
        number("--scale", text)

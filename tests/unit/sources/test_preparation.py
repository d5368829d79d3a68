"""If these break, networks are fed colours, sizes or scales that they were not trained on."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mquans.errors import SourceError
from mquans.plan import InputFormat, pixel_values
from mquans.sources import guess_format, place_boxes, placement, prepare
from mquans.sources.preparation import Preparation

Picture = npt.NDArray[np.uint8]


def noise(height: int, width: int) -> Picture:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make(**fields: Any) -> InputFormat:
    return InputFormat(**({"name": "x", "width": 8, "height": 6} | fields))


def test_picture_of_the_right_size_keeps_its_exact_values() -> None:
    picture = noise(6, 8)
    expected = picture.astype(np.float32)
    assert np.array_equal(prepare(picture, make())[0], expected.transpose(2, 0, 1))
    assert np.array_equal(
        prepare(picture, make(color="bgr"))[0], expected[..., ::-1].transpose(2, 0, 1)
    )
    assert np.array_equal(prepare(picture, make(layout="nhwc"))[0], expected)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_normalisation_follows_the_colour_order_handed_over(layout: str) -> None:
    """mean[0] belongs to the network's first channel: blue when it takes BGR."""
    picture = noise(6, 8)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    format = make(color="bgr", scale=1 / 255, mean=mean, std=std, layout=layout)
    expected = (picture[..., ::-1] / 255 - np.array(mean)) / np.array(std)
    made = prepare(picture, format)[0]
    made = made.transpose(1, 2, 0) if layout == "nchw" else made
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, atol=2e-6)


def test_yuv_and_gray_are_those_of_opencv() -> None:
    """Values of cv2.cvtColor(..., COLOR_RGB2YUV) and COLOR_RGB2GRAY for pure colours."""
    colors = np.array(
        [[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [120, 120, 120]],
        np.uint8,
    )
    yuv = [[255, 128, 128], [0, 128, 128], [76, 91, 255], [150, 54, 0], [29, 239, 103],
           [120, 128, 128]]  # fmt: skip
    made = prepare(colors[None], make(width=6, height=1, color="yuv", layout="nhwc"))
    np.testing.assert_allclose(made[0, 0], yuv, atol=1)
    gray = prepare(colors[None], make(width=6, height=1, color="gray"))
    np.testing.assert_array_equal(gray[0, 0, 0], [255, 0, 76, 150, 29, 120])


def test_gray_picture_has_equal_channels() -> None:
    picture = noise(12, 16)[..., 0]
    made = prepare(picture, make())
    assert made.shape == (1, 3, 6, 8)
    assert np.array_equal(made[0, 0], made[0, 1])
    exact = prepare(picture[:6, :8], make(color="gray"))[0, 0]
    assert np.array_equal(exact, picture[:6, :8])


def test_shrinking_averages_areas() -> None:
    """Picking single pixels would turn camera noise into changes and lose small things."""
    picture = noise(24, 32)
    expected = picture.reshape(6, 4, 8, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(prepare(picture, make())[0], expected, atol=1)


def test_enlarging_keeps_flat_colour_and_range() -> None:
    flat = np.full((3, 4, 3), (10, 130, 250), np.uint8)
    made = prepare(flat, make(width=64, height=48))[0]
    assert np.array_equal(made, np.broadcast_to([[[10]], [[130]], [[250]]], made.shape))


@pytest.mark.parametrize("width", [1, 7, 33, 321])
def test_widths_that_are_no_multiple_of_the_memory_alignment(width: int) -> None:
    """Rows of decoded pictures are padded in memory; reading the padding shears the picture."""
    picture = np.repeat(noise(20, 1), width * 2, axis=1)
    made = prepare(picture, make(width=width, height=20))[0]
    np.testing.assert_allclose(made, np.repeat(picture[:, :1], width, 1).transpose(2, 0, 1), atol=1)


def test_letterbox_keeps_the_aspect_and_fills_the_border() -> None:
    picture = np.full((10, 40, 3), 200, np.uint8)
    made = prepare(picture, make(width=16, height=12, resize="letterbox", scale=0.5, mean=(7.0,)))
    assert (made[0, :, 4:8] == 200 * 0.5 - 7).all()
    border = np.delete(made[0], np.s_[4:8], axis=1)
    assert (border == 114 * 0.5 - 7).all()


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 640), st.integers(1, 640))
def test_letterbox_lies_inside_touches_two_sides_and_is_centred(
    width: int, height: int, to_width: int, to_height: int
) -> None:
    format = make(width=to_width, height=to_height, resize="letterbox")
    place = placement(format, width, height)
    right = to_width - place.left - place.width
    bottom = to_height - place.top - place.height
    assert 0 <= right - place.left <= 1
    assert 0 <= bottom - place.top <= 1
    assert place.width >= 1
    assert place.height >= 1
    assert place.width == to_width or place.height == to_height


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 640), st.integers(1, 640))
def test_letterbox_in_the_top_left_corner_is_as_large(
    width: int, height: int, to_width: int, to_height: int
) -> None:
    """YOLOX was trained with all of the border to the right and below: centred pictures shift
    every box."""
    format = make(width=to_width, height=to_height, resize="letterbox")
    centred = placement(format, width, height)
    corner = placement(msgspec.structs.replace(format, anchor="top_left"), width, height)
    assert (corner.left, corner.top) == (0, 0)
    assert (corner.width, corner.height) == (centred.width, centred.height)


def test_border_of_a_picture_in_the_corner_is_filled() -> None:
    """To the right of a tall picture, below a wide one."""
    form = make(width=16, height=16, resize="letterbox", anchor="top_left")
    wide, tall = np.full((10, 40, 3), 200, np.uint8), np.full((40, 10, 3), 200, np.uint8)
    for made in (prepare(wide, form)[0], prepare(tall, form)[0].transpose(0, 2, 1)):
        assert (made[:, :4] == 200).all()
        assert (made[:, 4:] == 114).all()


@pytest.mark.parametrize(
    ("fields", "placed"),
    [
        ({"width": 40, "height": 60}, [4, 12, 8, 36]),
        ({"resize": "letterbox", "width": 40, "height": 60}, [4, 24, 8, 32]),
        (
            {"resize": "letterbox", "anchor": "top_left", "width": 40, "height": 60},
            [4, 4, 8, 12],
        ),
    ],
)
def test_boxes_go_where_the_picture_goes(fields: dict[str, Any], placed: list[float]) -> None:
    """Of a picture of 80 x 40 pixels. Else labels lie beside what they name."""
    boxes = np.array([[8, 8, 16, 24, 3]], np.float32)
    assert place_boxes(boxes, make(**fields), 80, 40).tolist() == [[*placed, 3]]
    assert boxes[0, 0] == 8


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(1, 40),
    st.sampled_from(["rgb", "bgr", "gray", "yuv"]), st.sampled_from(["stretch", "letterbox"]),
    st.sampled_from(["nchw", "nhwc"]),
)  # fmt: skip
def test_any_size_gives_the_promised_shape_and_range(
    width: int, height: int, to_width: int, to_height: int, color: Any, resize: Any, layout: Any
) -> None:
    format = make(width=to_width, height=to_height, color=color, resize=resize, layout=layout)
    made = prepare(noise(height, width), format)
    channels = 1 if color == "gray" else 3
    space = (to_height, to_width)
    assert made.shape == ((1, channels, *space) if layout == "nchw" else (1, *space, channels))
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    assert made.flags.writeable
    assert made.min() >= 0
    assert made.max() <= 255


@pytest.mark.parametrize(
    "picture",
    [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8),
     np.zeros(4, np.uint8), np.zeros((1, 4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.int64)],
)  # fmt: skip
def test_what_is_no_picture_is_refused_with_its_shape(picture: npt.NDArray[Any]) -> None:
    with pytest.raises(SourceError, match=r"a picture must be uint8 .* not \w+ \["):
        prepare(picture, make())


def test_format_that_cannot_be_applied_is_refused() -> None:
    with pytest.raises(SourceError, match="std must not be 0"):
        prepare(noise(4, 4), make(std=(0.0,)))


@pytest.mark.parametrize(
    ("shape", "overrides", "expected"),
    [
        ([1, 3, 240, 320], {}, {"width": 320, "height": 240, "color": "rgb", "layout": "nchw"}),
        ([1, 240, 320, 3], {}, {"width": 320, "height": 240, "color": "rgb", "layout": "nhwc"}),
        ([1, 1, 28, 30], {}, {"width": 30, "height": 28, "color": "gray", "layout": "nchw"}),
        ([1, 3, 3, 3], {}, {"layout": "nchw"}),
        ([1, 3, 3, 3], {"layout": "nhwc"}, {"layout": "nhwc"}),
        ([1, 3, 16, 112, 96], {},
         {"width": 96, "height": 112, "layout": "ncthw", "window": 16, "hop": 1}),
        ([1, 8, 3, 24, 32], {"hop": 4}, {"width": 32, "layout": "ntchw", "window": 8, "hop": 4}),
        ([1, 8, 24, 32, 1], {}, {"height": 24, "layout": "nthwc", "window": 8, "color": "gray"}),
        ([1, 3, 3, 24, 32], {}, {"layout": "ncthw"}),
        ([1, 3, None, 24, 32], {"window": 5}, {"window": 5}),
        ([None, 3, None, None], {"width": 64, "height": 32}, {"width": 64, "height": 32}),
        ([1, 3, 8, 8], {"color": None, "scale": 1 / 255, "mean": [1, 2, 3]},
         {"color": "rgb", "scale": 1 / 255, "mean": (1.0, 2.0, 3.0)}),
    ],
)  # fmt: skip
def test_format_is_guessed_from_the_shape(
    shape: list[int | None], overrides: dict[str, Any], expected: dict[str, Any]
) -> None:
    format = guess_format("x", shape, **overrides)
    assert {name: getattr(format, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("shape", "overrides", "message"),
    [
        ([1, 40], {}, "does not take pictures"),
        ([1, 16, 8, 8], {}, "no axis of 1 or 3 colour channels"),
        ([1, 3, 8, 8], {"layout": "nhwc"}, "where the layout puts it"),
        ([1, 3, 8, 8], {"layout": "chw"}, "there is no layout 'chw'"),
        ([1, 3, None, 8], {}, r"has shape \[1, 3, \?, 8\].*--size"),
        ([1, 3, 8, 8], {"color": "gray"}, "takes 3 channels, but gray pictures have 1"),
        ([1, 3, 8, 8], {"color": "hsv"}, "Invalid enum value 'hsv'"),
        ([1, 3, 8, 8], {"std": (0.0,)}, "std must not be 0"),
        ([1, 3, 8, 8], {"mean": (1.0, 2.0)}, "mean has 2 values"),
        ([1, 3, 8, 8], {"width": 0}, "width"),
        ([1, 3, 8, 8], {"window": 4}, "a layout with an axis t, not nchw"),
        ([1, 3, 8, 8], {"layout": "ncthw"}, "no layout 'ncthw' for 4 axes. Use nchw or nhwc"),
        ([1, 3, 4, 8, 8], {"layout": "nchw"}, "no layout 'nchw' for 5 axes. .* ntchw or nthwc"),
        ([1, 4, 4, 8, 8], {}, "no axis of 1 or 3 colour channels"),
        ([1, 3, None, 8, 8], {}, r"number of pictures is open.* --window N"),
        ([1, 3, 4, 8, 8], {"hop": 0}, "hop"),
        ([1, 3, 1 << 20, 800, 800], {}, "1048576 pictures of 800x800 are larger"),
    ],
)
def test_input_that_cannot_take_pictures_is_named(
    shape: list[int | None], overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        guess_format("x", shape, **overrides)


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray", "yuv"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_pixels_are_the_same_picture_before_scale_mean_and_std(color: str, layout: str) -> None:
    """With a border, too: streams that take pixels would else see another picture."""
    scaled = {"scale": 1 / 255, "mean": (0.5,), "std": (0.25,)}
    format = make(color=color, layout=layout, resize="letterbox", **scaled)
    picture = noise(20, 20)
    pixels = Preparation(format, pixels=True).picture(picture)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixel_values(pixels, format), prepare(picture, format))


def test_a_border_between_two_pixels_needs_floats() -> None:
    format = make(resize="letterbox", fill=113.5)
    picture = noise(20, 20)
    made = Preparation(format, pixels=True).picture(picture)
    np.testing.assert_array_equal(made, prepare(picture, format))

"""Pictures into network inputs: resize, colour order, normalisation, layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from mquans.errors import SourceError
from mquans.plan import pixel_scale
from mquans.plan.checks import problem_with
from mquans.plan.schema import InputFormat
from mquans.sources.orientation import UPRIGHT, matrix_of, upright
from mquans.sources.presets import preset

if TYPE_CHECKING:
    import av

Picture = npt.NDArray[np.uint8]
Tensor = npt.NDArray[np.float32]

WITH_PROFILES = ("png", "apng")
"""Decoders whose frames hold colour profiles by name. PyAV (18.1) frees such a name twice once a
frame was asked what lies beside its pixels, which ends the process."""

LAYOUTS = ("nchw", "nhwc", "ncthw", "ntchw", "nthwc")
"""Where several suit a shape, the first does."""

_LUMA = (0.299, 0.587, 0.114)
# Rows give Y, U, V of RGB; U = 0.492 (B - Y), V = 0.877 (R - Y), as OpenCV rounds the factors.
_YUV = np.array(
    [
        _LUMA,
        [-0.492 * 0.299, -0.492 * 0.587, 0.492 * (1 - 0.114)],
        [0.877 * (1 - 0.299), -0.877 * 0.587, -0.877 * 0.114],
    ],
    dtype=np.float32,
)
_YUV_CENTRE = np.array([0.0, 128.0, 128.0], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a resized picture lies in the network's input, in pixels."""

    left: int
    top: int
    width: int
    height: int


def placement(format: InputFormat, width: int, height: int) -> Placement:
    """Where a picture of `width` x `height` pixels ends up in the network's input.

    `stretch` fills it; `letterbox` keeps the aspect and centres, the odd pixel of border going to
    the right and to the bottom, or leaves all of the border there (`anchor`). The inverse maps
    detections back onto the picture.
    """
    if format.resize == "stretch":
        return Placement(0, 0, format.width, format.height)
    ratio = min(format.width / width, format.height / height)
    inner_width = max(1, min(format.width, round(width * ratio)))
    inner_height = max(1, min(format.height, round(height * ratio)))
    if format.anchor == "top_left":
        return Placement(0, 0, inner_width, inner_height)
    left = (format.width - inner_width) // 2
    top = (format.height - inner_height) // 2
    return Placement(left, top, inner_width, inner_height)


def place_boxes(boxes: Tensor, format: InputFormat, width: int, height: int) -> Tensor:
    """Boxes in pixels of a picture of `width` x `height`, in pixels of the network's input.

    Args:
        boxes: [boxes, 4 or more]: left, top, right, bottom; what follows stays as it is.

    >>> format = InputFormat(name="x", width=40, height=40, resize="letterbox")
    >>> place_boxes(np.array([[0, 0, 80, 40]], np.float32), format, 80, 40).tolist()
    [[0.0, 10.0, 40.0, 30.0]]
    """
    place = placement(format, width, height)
    factor = np.array([place.width / width, place.height / height] * 2)
    placed = np.array(boxes, np.float32)
    placed[:, :4] = boxes[:, :4] * factor + [place.left, place.top, place.left, place.top]
    return placed


class Preparation:
    """A picture format made ready to be applied to many pictures.

    Resizing averages over areas when it shrinks a picture (no aliasing, and camera noise is
    averaged away with it) and interpolates linearly when it enlarges one. Pictures in YUV, as video
    is, are resized and converted to RGB in one step; pictures in RGB are resized plane by plane, so
    that a picture which has the right size already keeps its exact values.

    Holds resampler state: use one instance per thread.

    Args:
        pixels: leave scale, mean and std to the engine, which reads 8 bits faster than floats: what
            is prepared is uint8. Without effect where a border is no whole number.

    Attributes:
        picture_size: width and height of the picture that was prepared last, held upright.
    """

    def __init__(self, format: InputFormat, *, pixels: bool = False) -> None:
        import av

        if problem := problem_with(format):
            raise SourceError(problem, where="input preparation")
        self.format = format
        self.picture_size: tuple[int, int] | None = None
        self._pixels = pixels and float(format.fill).is_integer()
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._plane_reformatter = av.video.reformatter.VideoReformatter()
        self._factor, self._offset = pixel_scale(format)
        # Of one picture; those of a window are put together along the axis t.
        self._axes = format.layout.replace("t", "")
        sizes = zip(format.layout, format.shape, strict=True)
        self._shape = tuple(size for axis, size in sizes if axis != "t")

    def picture(self, picture: Picture) -> Tensor:
        """Prepare uint8 [H, W, 3] in RGB, or [H, W] in gray.

        Returns:
            float32, or uint8 of pixels, [1, C, H', W'] or [1, H', W', C], newly allocated: one of a
            window's, if the format is of windows.

        Raises:
            SourceError: not a picture.
        """
        check_picture(picture)
        height, width = picture.shape[:2]
        self.picture_size = width, height
        place = placement(self.format, width, height)
        if (width, height) == (place.width, place.height):
            planes = [picture] * 3 if picture.ndim == 2 else [picture[..., c] for c in range(3)]
        elif picture.ndim == 2:
            planes = [self._resize_plane(picture, place)] * 3
        else:
            planes = [self._resize_plane(picture[..., c], place) for c in range(3)]
        return self._normalise(planes, place)

    def frame(self, frame: av.VideoFrame) -> Tensor:
        """Prepare a decoded frame; as `picture`, without the detour over RGB at full size."""
        if frame.format.is_rgb or len(frame.format.components) < 3 or matrix_of(frame) != UPRIGHT:
            return self.picture(frame_to_rgb(frame, self._reformatter))
        import av

        flags = av.video.reformatter.Interpolation
        self.picture_size = frame.width, frame.height
        place = placement(self.format, *self.picture_size)
        resized = self._reformatter.reformat(
            frame,
            width=place.width,
            height=place.height,
            format="gbrp",
            # Without accurate rounding, colours come out one level too dark on average.
            interpolation=flags.AREA | flags.ACCURATE_RND,
            dst_color_range="JPEG",
            threads=1,
        )
        green, blue, red = (_pixels(plane, place) for plane in resized.planes)
        return self._normalise([red, green, blue], place)

    def window(self, pictures: Sequence[Tensor]) -> Tensor:
        """Prepared pictures, as many as a window has, as the network's input."""
        return np.stack(pictures, axis=self.format.layout.index("t"))

    def _resize_plane(self, plane: Picture, place: Placement) -> Picture:
        import av

        source = av.VideoFrame.from_ndarray(np.ascontiguousarray(plane), format="gray")
        resized = self._plane_reformatter.reformat(
            source, width=place.width, height=place.height, interpolation="AREA", threads=1
        )
        # The plane's memory is the next call's to reuse.
        return _pixels(resized.planes[0], place).copy()

    def _normalise(self, rgb: Sequence[Picture], place: Placement) -> Tensor:
        """Planes [h, w] in R, G, B order -> the network's input."""
        format = self.format
        planes: Sequence[npt.NDArray[Any]]
        match format.color:
            case "rgb":
                planes = rgb
            case "bgr":
                planes = rgb[::-1]
            case "gray":
                planes = [np.rint(_mix(rgb, _LUMA))]
            case "yuv":
                planes = [
                    np.clip(np.rint(_mix(rgb, row) + centre), 0, 255)
                    for row, centre in zip(_YUV, _YUV_CENTRE, strict=True)
                ]
        output = np.empty(self._shape, np.uint8 if self._pixels else np.float32)
        channels = output[0] if self._axes == "nchw" else output[0].transpose(2, 0, 1)
        covered = (place.width, place.height) == (format.width, format.height)
        rows = slice(place.top, place.top + place.height)
        columns = slice(place.left, place.left + place.width)
        if self._pixels:
            if not covered:
                output[...] = int(format.fill)
            for channel, plane in zip(channels, planes, strict=True):
                np.copyto(channel[rows, columns], plane, casting="unsafe")
            return output
        for channel, plane, factor, offset in zip(
            channels, planes, self._factor, self._offset, strict=True
        ):
            if not covered:
                channel[...] = np.float32(format.fill) * factor + offset
            target = channel[rows, columns]
            if factor == 1:
                np.copyto(target, plane)
            else:
                np.multiply(plane, factor, out=target)
            if offset:
                np.add(target, offset, out=target)
        return output


def prepare(picture: Picture, format: InputFormat) -> Tensor:
    """A picture as the network's input, or as one of a window's.

    Args:
        picture: uint8 [H, W, 3] in RGB, or [H, W] in gray.

    Returns:
        float32 [1, C, H', W'] (nchw, ncthw, ntchw) or [1, H', W', C] (nhwc, nthwc).

    Raises:
        SourceError: not a picture, or a format that cannot be applied.

    >>> format = InputFormat(name="x", width=4, height=2, scale=1 / 255)
    >>> prepare(np.full((20, 40, 3), 255, np.uint8), format).shape
    (1, 3, 2, 4)
    """
    return Preparation(format).picture(picture)


def frame_to_rgb(frame: av.VideoFrame, reformatter: Any) -> Picture:
    """A decoded frame as uint8 [H, W, 3] in RGB, upright if the file says how it was held."""
    return upright(stored_rgb(frame, reformatter), matrix_of(frame))


def stored_rgb(frame: av.VideoFrame, reformatter: Any) -> Picture:
    """A decoded frame as uint8 [H, W, 3] in RGB, as it lies in the file."""
    import av

    flags = av.video.reformatter.Interpolation
    converted = reformatter.reformat(
        frame,
        format="rgb24",
        interpolation=flags.BILINEAR | flags.ACCURATE_RND | flags.FULL_CHR_H_INT,
        dst_color_range="JPEG",
        threads=1,
    )
    picture: Picture = converted.to_ndarray()
    return picture


def without_profile(frame: av.VideoFrame, reformatter: Any) -> av.VideoFrame:
    """The pixels of a frame in RGB and when it is shown, nothing else."""
    import av

    bare = av.VideoFrame.from_ndarray(stored_rgb(frame, reformatter), format="rgb24")
    bare.pts, bare.time_base = frame.pts, frame.time_base
    return bare


def check_picture(picture: npt.NDArray[Any]) -> None:
    """Refuse arrays that are not uint8 [H, W, 3] or [H, W] with at least one pixel.

    Raises:
        SourceError
    """
    shape = picture.shape
    proper = picture.ndim == 2 or (picture.ndim == 3 and shape[2] == 3)
    if picture.dtype != np.uint8 or not proper or picture.size == 0:
        raise SourceError(
            f"a picture must be uint8 [height, width, 3] in RGB or [height, width] in gray, not "
            f"{picture.dtype} {list(shape)}.",
            hint="Ready network inputs are float32 arrays.",
        )


def guess_format(input_name: str, shape: Sequence[int | None], **overrides: Any) -> InputFormat:
    """The picture format that suits a network input, as far as its shape tells.

    Layout, size and window come from the shape; gray for one channel, else RGB; values stay 0 to
    255.
    What the shape cannot tell (colour order, scale, mean, std) comes from whoever exported the
    network and is given by `overrides`, fields of `InputFormat`, or `preset`, the name of one of
    `sources.presets`, which these win over; None values are ignored.

    Raises:
        SourceError: the input does not look like a picture, or an override does not fit it.

    >>> guess_format("x", [1, 3, 240, 320]).width
    320
    >>> guess_format("x", [1, 3, 16, 112, 112]).window
    16
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if "preset" in given:
        given = preset(given.pop("preset")) | given
    if foreign := [name for name in given if name not in InputFormat.__struct_fields__]:
        raise SourceError(
            f"{foreign[0]} is no part of the preparation of pictures.",
            hint=f"Its parts are: {', '.join(InputFormat.__struct_fields__)}.",
        )
    known = [name for name in LAYOUTS if len(name) == len(shape)]
    if not known:
        raise SourceError(
            f"input {input_name!r} of shape {_shown(shape)} does not take pictures.",
            hint="Give ready tensors (.npy, .npz) as the source.",
        )
    layouts = [name for name in known if given.get("layout", name) == name]
    if not layouts:
        raise SourceError(
            f"there is no layout {given['layout']!r} for {len(shape)} axes.",
            hint=f"Use {', '.join(known[:-1])} or {known[-1]}.",
        )
    layout = next((name for name in layouts if shape[name.index("c")] in (1, 3)), None)
    if layout is None:
        raise SourceError(
            f"input {input_name!r} of shape {_shown(shape)} has no axis of 1 or 3 colour channels"
            f"{' where the layout puts it' if 'layout' in given else ''}.",
            hint="Give the layout with --layout, or ready tensors as the source.",
        )
    sizes = dict(zip(layout, shape, strict=True))
    fields: dict[str, Any] = {
        "width": sizes["w"],
        "height": sizes["h"],
        "layout": layout,
        "color": "gray" if sizes["c"] == 1 else "rgb",
        "window": sizes.get("t", 1),
        **given,
    }
    if fields["width"] is None or fields["height"] is None:
        raise SourceError(
            f"the picture size is open: input {input_name!r} has shape {_shown(shape)}.",
            hint="Give it with --size WxH.",
        )
    if fields["window"] is None:
        raise SourceError(
            f"the number of pictures is open: input {input_name!r} has shape {_shown(shape)}.",
            hint="Give it with --window N.",
        )
    try:
        format = msgspec.convert({"name": input_name, **fields}, InputFormat)
    except msgspec.ValidationError as error:
        raise SourceError(f"{error}.", where="input preparation") from error
    if format.channels != sizes["c"]:
        raise SourceError(
            f"input {input_name!r} takes {sizes['c']} channels, but {format.color} pictures have "
            f"{format.channels}.",
            hint="Choose another --color.",
        )
    if problem := problem_with(format):
        raise SourceError(problem, where="input preparation")
    return format


def _pixels(plane: Any, place: Placement) -> Picture:
    """View of an 8-bit plane of a decoded frame without the padding behind its rows."""
    rows: Picture = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: place.height, : place.width]


def _mix(rgb: Sequence[Picture], weights: Sequence[float] | npt.NDArray[np.float32]) -> Tensor:
    """Weighted sum of three planes, float32 [h, w]."""
    total = rgb[0] * np.float32(weights[0])
    for plane, weight in zip(rgb[1:], weights[1:], strict=True):
        total += plane * np.float32(weight)
    return total


def _shown(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"

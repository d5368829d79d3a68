"""How a picture was held: turned by quarters, mirrored, or both, as its file says."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import av

Matrix = tuple[int, int, int, int]
"""(a, b, c, d): what is stored at column x and row y is shown at column `a x + c y` and row
`b x + d y`, each counted from the other side where it is negative."""

UPRIGHT: Matrix = (1, 0, 0, 1)

_EXIF: dict[int, Matrix] = {
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
_EXIF_ORIENTATION = 0x0112
_EXIF_MARKS = (b"Exif\0\0", b"EXIF", b"eXIf", b"Raw profile type exif")


def matrix_of(frame: av.VideoFrame) -> Matrix:
    """The display matrix of a decoded frame, to the nearest quarter turn."""
    try:
        stored: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # beside it lies a kind of data that PyAV has no name for
        turn = round(frame.rotation / 90) % 4
        return (UPRIGHT, (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))[turn]
    if stored is None:
        return UPRIGHT
    a, b, _, c, d = (int(value) for value in np.frombuffer(stored, np.int32)[:5])
    if abs(a) < abs(b):
        return 0, _sign(b), _sign(c), 0
    return _sign(a), 0, 0, _sign(d)


def exif_matrix(data: bytes) -> Matrix:
    """What the EXIF data in a JPEG, PNG or WebP file say; upright without any."""
    # Pillow decodes all of a PNG to learn that it holds none.
    if not any(mark in data for mark in _EXIF_MARKS):
        return UPRIGHT
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(data)) as image:
                return _EXIF.get(image.getexif().get(_EXIF_ORIENTATION, 1), UPRIGHT)
    except Exception:  # of many kinds; damaged EXIF data say nothing
        return UPRIGHT


def upright(picture: npt.NDArray[Any], matrix: Matrix) -> npt.NDArray[Any]:
    """A picture [H, W, ...] as it is to be shown; a view where nothing is to be done."""
    a, b, c, d = matrix
    if b:
        picture, a, d = picture.swapaxes(0, 1), c, b
    return np.ascontiguousarray(picture[::d, ::a])


def _sign(value: int) -> int:
    return -1 if value < 0 else 1

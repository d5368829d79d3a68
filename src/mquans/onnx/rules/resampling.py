"""Rules for Resize and Upsample."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mquans.graph import Resize
from mquans.onnx.call import Call, Refused, Rule, normalise

COORDINATES: frozenset[str] = frozenset({
    "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric",
})  # fmt: skip


def upsample(call: Call) -> None:
    """Upsample (to opset 9), and Resize of opset 10: asymmetric coordinates.

    These opsets do not define how the nearest value is found; onnxruntime rounds down when an axis
    grows and up when it shrinks.
    """
    given = call.attribute("scales") or call.constant(1, "the scales").reshape(-1)
    scales = [float(scale) for scale in given]
    sizes = tuple(_scaled(size, scale) for size, scale in zip(call.shape(), scales, strict=True))
    shrinks, grows = min(scales) < 1.0, max(scales) > 1.0
    if shrinks and grows and call.attribute("mode", "nearest") == "nearest":
        raise Refused("nearest resampling that shrinks one axis and grows another")
    rounding = "ceil" if shrinks else "floor"
    _finish(call, tuple(scales), sizes, coordinates="asymmetric", rounding=rounding)


def resize(call: Call) -> None:
    if call.opset < 11:
        upsample(call)
        return
    coordinates = call.attribute("coordinate_transformation_mode", "half_pixel")
    if coordinates not in COORDINATES:
        raise Refused(f"coordinate mode {coordinates!r}")
    if call.attribute("antialias", 0):
        raise Refused("antialiasing")
    shape = call.shape()
    axes = call.attribute("axes")
    axes = [normalise(a, len(shape)) for a in axes] if axes is not None else range(len(shape))
    scales, sizes = [1.0] * len(shape), list(shape)
    if call.has(3) and (call.is_constant(3) and call.constant(3).size):
        if call.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise Refused("keeping the aspect ratio")
        for axis, size in zip(axes, call.integers("sizes", 3) or (), strict=True):
            sizes[axis], scales[axis] = size, size / shape[axis]
    else:
        for axis, scale in zip(axes, call.constant(2, "the scales").reshape(-1), strict=True):
            scales[axis] = float(scale)
            sizes[axis] = _scaled(shape[axis], float(scale))
    rounding = call.attribute("nearest_mode", "round_prefer_floor")
    _finish(call, tuple(scales), tuple(sizes), coordinates=coordinates, rounding=rounding)


def _scaled(size: int, scale: float) -> int:
    """In float32, as onnxruntime multiplies: 10 * 0.7 is 7 there, but 6.99... in float64."""
    return math.floor(np.float32(size) * np.float32(scale))


def _finish(
    call: Call,
    scales: tuple[float, ...],
    sizes: tuple[int, ...],
    *,
    coordinates: Any,
    rounding: Any,
) -> None:
    mode = call.attribute("mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        raise Refused(f"resampling mode {mode!r}")
    grid = call.grid_of(call.value())
    if mode != "nearest" and not call.dtype().startswith("float"):
        raise Refused("interpolation between integers")
    op = Resize(
        mode=mode,
        coordinates=coordinates,
        rounding=rounding,
        scales=scales,
        sizes=sizes,
        cubic_coeff=float(call.attribute("cubic_coeff_a", -0.75)),
        exclude_outside=bool(call.attribute("exclude_outside", 0)),
    )
    call.finish(op, call.value())
    if grid is not None and mode == "nearest":
        call.declare(call.dtype(), grid)


RULES: dict[str, Rule] = {"Resize": resize, "Upsample": upsample}

"""Where the values of a Resize come from: source positions and weights along one axis."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans.graph.operators import Resize

Indices = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]

TIE = 1e-6
"""Positions this close to a half are ties, as onnxruntime 1.32 treats them: float32 division rarely
lands on the half itself."""


def axis_taps(op: Resize, axis: int, size: int) -> tuple[Indices, Weights]:
    """Taps of every output position along one axis.

    Args:
        size: of the input on that axis.

    Returns:
        (indices [out, taps], weights [out, taps]): `y[o] = sum_t weights[o, t] * x[indices[o, t]]`;
        1 tap for nearest, 2 for linear, 4 for cubic. Source: ONNX operator Resize, versions 11 to
        19; coordinates are computed in float32, as onnxruntime does, since rounding at ties depends
        on it.
    """
    position = source_positions(op, axis, size)
    if op.mode == "nearest":
        index = np.clip(_round(position, op.rounding), 0, size - 1)[:, None]
        return index, np.ones(index.shape)
    if op.mode == "linear":
        position = np.clip(position, 0, size - 1)
        low = np.floor(position).astype(np.int64)
        share = (position - low).astype(np.float64)
        indices = np.stack([low, np.minimum(low + 1, size - 1)], axis=1)
        return indices, np.stack([1.0 - share, share], axis=1)
    return _cubic(op, position, size)


def source_positions(op: Resize, axis: int, size: int) -> npt.NDArray[np.float32]:
    """Input coordinate of every output position: float32 [out], not clipped to the input."""
    out, scale = op.sizes[axis], np.float32(op.scales[axis])
    x = np.arange(out, dtype=np.float32)
    half = np.float32(0.5)
    if scale == 1 and out == size:
        return x
    match op.coordinates:
        case "asymmetric":
            return x / scale
        case "align_corners":
            return x * np.float32(size - 1) / np.float32(out - 1) if out > 1 else np.zeros_like(x)
        case "pytorch_half_pixel" if out == 1:
            return np.zeros_like(x)
        case "half_pixel_symmetric":
            adjustment = np.float32(out) / (scale * np.float32(size))
            offset = np.float32(size / 2) * (1 - adjustment)
            return offset + (x + half) / scale - half
        case _:
            return (x + half) / scale - half


def _round(position: npt.NDArray[np.float32], rounding: str) -> Indices:
    if rounding in ("floor", "ceil"):
        whole = np.floor(position) if rounding == "floor" else np.ceil(position)
        return whole.astype(np.int64)
    low = np.floor(position)
    share = position - low
    up = share > 0.5
    up[np.abs(share - np.float32(0.5)) < TIE] = rounding == "round_prefer_ceil"
    return low.astype(np.int64) + up


def _cubic(op: Resize, position: npt.NDArray[np.float32], size: int) -> tuple[Indices, Weights]:
    base = np.floor(position).astype(np.int64)
    share = (position - base).astype(np.float64)[:, None]
    distance = np.abs(share - np.arange(-1, 3))
    a = op.cubic_coeff
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    indices = base[:, None] + np.arange(-1, 3)
    if op.exclude_outside:
        weights = weights * ((indices >= 0) & (indices < size))
        weights = weights / weights.sum(axis=1, keepdims=True)
    return np.clip(indices, 0, size - 1), weights

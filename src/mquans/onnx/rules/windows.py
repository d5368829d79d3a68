"""Kernel geometry shared by convolutions and pools: strides, dilations, auto_pad."""

from __future__ import annotations

from dataclasses import dataclass

from mquans.graph import Conv, window_span
from mquans.onnx.call import Call, Refused

Ints = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Windows:
    """Resolved attributes, one entry per spatial axis; pads: all begins, then all ends."""

    kernel: Ints
    strides: Ints
    dilations: Ints
    pads: Ints


def read_windows(call: Call, kernel: Ints) -> Windows:
    """The geometry of a convolution or pool over its first input.

    Raises:
        Refused: attributes of a wrong length, or negative pads.
    """
    axes = len(kernel)
    strides = _ints(call, "strides", axes, 1)
    dilations = _ints(call, "dilations", axes, 1)
    for name, sizes in (("kernel_shape", kernel), ("strides", strides), ("dilations", dilations)):
        call.require(min(sizes) >= 1, f"its {name} {list(sizes)} are not all positive")
    pads = _ints(call, "pads", 2 * axes, 0)
    # Other modes than the first say what pads are.
    mode = call.attribute("auto_pad", "NOTSET")
    if mode == "VALID":
        pads = (0,) * (2 * axes)
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        pads = _same(call.shape()[2:], kernel, strides, dilations, upper=mode == "SAME_UPPER")
    elif mode != "NOTSET":
        raise Refused(f"auto_pad {mode!r} is unknown")
    if min(pads, default=0) < 0:
        raise Refused("negative pads")
    return Windows(kernel, strides, dilations, pads)


def read_convolution(call: Call, kernel: Ints) -> Conv:
    """The convolution that a node's attributes describe.

    Raises:
        Refused: as `read_windows`.
    """
    windows = read_windows(call, kernel)
    return Conv(
        kernel=windows.kernel,
        strides=windows.strides,
        pads=windows.pads,
        dilations=windows.dilations,
        groups=int(call.attribute("group", 1)),
    )


def split_padding(total: int, *, upper: bool) -> tuple[int, int]:
    """Padding before and after; the odd one goes behind for SAME_UPPER."""
    small = total // 2
    return (small, total - small) if upper else (total - small, small)


def _same(space: Ints, kernel: Ints, strides: Ints, dilations: Ints, *, upper: bool) -> Ints:
    begins, ends = [], []
    for size, width, stride, dilation in zip(space, kernel, strides, dilations, strict=True):
        count = -(-size // stride)
        total = max(0, (count - 1) * stride + window_span(width, dilation) - size)
        begin, end = split_padding(total, upper=upper)
        begins.append(begin)
        ends.append(end)
    return (*begins, *ends)


def _ints(call: Call, name: str, count: int, default: int) -> Ints:
    values = tuple(call.attribute(name) or (default,) * count)
    if len(values) != count:
        raise Refused(f"{name} has {len(values)} entries instead of {count}")
    return values

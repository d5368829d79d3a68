"""Fourier transforms as products with constant waves.

They take as many multiplications as a layer of that size, and the values that sound needs a
logarithm of come out as exactly as by any other way: where codes are too coarse for them, see
`graph.float_layers`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans.graph import Conv, Linear, Pad, Reshape, Slice, Transpose
from mquans.onnx.call import Call, Refused, Rule, normalise

MOST_SAMPLES = 4096
"""Of one transform: products of more take longer than a fast transform."""

Reals = npt.NDArray[np.float64]


def stft(call: Call) -> None:
    """Windows of a signal [B, N] or [B, N, 1] to [B, windows, bins, 2]: a convolution over time."""
    shape = call.shape()
    if len(shape) not in (2, 3) or shape[2:] not in ((), (1,)):
        raise Refused("the spectrum of a signal that is not real")
    step = int(call.constant(1, "the step").reshape(-1)[0])
    call.require(step >= 1, f"its frame_step {step} is not positive")
    window = call.constant(2, "the window").astype(np.float64) if call.has(2) else None
    length = _length(call, 3) or (0 if window is None else len(window))
    call.require(length >= 1, "neither a window nor frame_length says how long a frame is")
    _check_length(length)
    if window is None:
        window = np.ones(length)
    if window.shape != (length,) or length > shape[1]:
        raise Refused("a window of another length than its frame, or longer than the signal")
    bins = length // 2 + 1 if call.attribute("onesided", 1) else length
    call.count_computed(2 * bins * length)
    # [bins, 2, length], one filter for each part of each bin.
    waves = _waves(length, bins)[:, 0].T * window
    weight = call.add_constant("waves", waves.reshape(2 * bins, 1, length))
    row = call.emit("signal", Reshape((shape[0], 1, shape[1])), call.value())
    spectrum = call.emit("spectrum", Conv((length,), (step,), (0, 0), (1,)), row, weight)
    frames = call.shape_of(spectrum)[2]
    rows = call.emit("rows", Transpose((0, 2, 1)), spectrum)
    call.finish(Reshape((shape[0], frames, bins, 2)), rows)


def dft(call: Call) -> None:
    """Along one axis of real values [..., 1] or complex ones [..., 2]: a linear layer."""
    shape, inverse = call.shape(), bool(call.attribute("inverse", 0))
    if call.opset >= 20:
        given = call.constant(2, "the axis").reshape(-1)[0] if call.has(2) else -2
    else:
        given = call.attribute("axis", 1)
    axis, last = normalise(int(given), len(shape)), len(shape) - 1
    if axis == last or shape[-1] not in (1, 2):
        raise Refused("a transform over the parts of complex numbers")
    onesided = bool(call.attribute("onesided", 0))
    if onesided and (inverse or shape[-1] == 2):
        raise Refused("half of a spectrum of complex values")
    length = _length(call, 1) or shape[axis]
    _check_length(length)
    bins = length // 2 + 1 if onesided else length
    call.count_computed(2 * bins * length * shape[-1])
    waves = _waves(length, bins)[:, : shape[-1]]
    if inverse:
        # The waves turn the other way.
        waves = waves * np.array([[1, -1], [-1, 1]])[: shape[-1], :, None] / length
    value = _of_length(call, axis, length)
    order = (*(i for i in range(last) if i != axis), axis, last)
    others = tuple(shape[i] for i in order[:-2])
    turned = call.emit("turned", Transpose(order), value)
    rows = call.emit("rows", Reshape((*others, length * shape[-1])), turned)
    # [samples, parts, parts of the result, bins] to [samples * parts, bins * parts].
    matrix = np.moveaxis(waves, 3, 2).reshape(length * shape[-1], 2 * bins)
    made = call.emit("product", Linear(), rows, call.add_constant("waves", matrix))
    apart = call.emit("apart", Reshape((*others, bins, 2)), made)
    call.finish(Transpose(tuple(np.argsort(order).tolist())), apart)


def _length(call: Call, index: int) -> int:
    """A length that may be given; 0 if it is not."""
    if not call.has(index):
        return 0
    return int(call.constant(index, "the length").reshape(-1)[0])


def _check_length(length: int) -> None:
    if not 1 <= length <= MOST_SAMPLES:
        raise Refused(f"a transform of {length} samples")


def _waves(length: int, bins: int) -> Reals:
    """[samples, part of the sample, part of the result, bins] of exp(-2 pi i n k / length)."""
    # Whole turns are taken off first: they cost digits.
    turns = np.outer(np.arange(length), np.arange(bins)) % length / length
    cosine, sine = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
    return np.stack([np.stack([cosine, -sine], 1), np.stack([sine, cosine], 1)], 1)


def _of_length(call: Call, axis: int, length: int) -> str:
    """The input with an axis cut off, or filled up with zeros."""
    shape, value = call.shape(), call.value()
    if shape[axis] > length:
        starts, steps = (0,) * len(shape), (1,) * len(shape)
        sizes = tuple(length if i == axis else size for i, size in enumerate(shape))
        return call.emit("cut", Slice(starts, sizes, steps), value)
    if shape[axis] < length:
        pads = [0] * (2 * len(shape))
        pads[len(shape) + axis] = length - shape[axis]
        return call.emit("filled", Pad(tuple(pads)), value)
    return value


RULES: dict[str, Rule] = {"STFT": stft, "DFT": dft}

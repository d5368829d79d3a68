"""Random reuse layers, precisions and streams for hypothesis: odd shapes first."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from mquans.graph import Conv, ConvTranspose, Linear
from mquans.plan import LayerPlan

from .builders import MOVES, Layer, Precision, make_layer

CHANNELS = (1, 3, 5, 17, 24, 33)
OUTPUTS = (1, 3, 5, 8, 17, 24, 33, 40, 72, 100)
SEEDS = st.integers(0, 2**32 - 1)
KINDS = st.fixed_dictionaries(
    {"spiky": st.booleans(), "silent": st.booleans(), "bias": st.booleans()}
)


def examples(count: int) -> settings:
    """The same examples in every run."""
    return settings(
        derandomize=True, deadline=None, max_examples=count,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip


@st.composite
def channels(draw: st.DrawFn) -> tuple[int, int, int]:
    """(inputs, outputs, groups): plain, depthwise, channel multiplier, or grouped."""
    kind = draw(st.sampled_from(("plain", "plain", "depthwise", "multiplier", "grouped")))
    if kind == "plain":
        return draw(st.sampled_from(CHANNELS)), draw(st.sampled_from(OUTPUTS)), 1
    if kind == "grouped":
        groups = draw(st.integers(2, 3))
        inputs, outputs = (
            draw(st.sampled_from((1, 3, 5, 17))),
            draw(st.sampled_from((1, 2, 17, 33))),
        )
        return groups * inputs, groups * outputs, groups
    groups = draw(st.sampled_from((2, 3, 5, 17, 33, 40)))
    return groups, groups * (1 if kind == "depthwise" else draw(st.integers(2, 3))), groups


def _size(draw: st.DrawFn, least: int, wide: bool) -> int:
    """One spatial size; a wide axis may cross the 64 pixels of a mask word."""
    extra = st.integers(0, 7)
    if wide:
        extra = st.one_of(extra, extra, st.integers(55, 75))
    return max(1, least) + draw(extra)


@st.composite
def convolutions(draw: st.DrawFn) -> Layer:
    """Conv over 1 to 3 axes."""
    axes = draw(st.sampled_from((1, 2, 2, 2, 3)))
    inputs, outputs, groups = draw(channels())
    kernel = _many(draw, axes, 1, 5 if axes < 3 else 3)
    strides, dilations = _many(draw, axes, 1, 3), _many(draw, axes, 1, 2)
    pads = _many(draw, 2 * axes, 0, 3)
    space = [
        _size(draw, d * (k - 1) + 1 - pads[i] - pads[i + axes], axes < 3 and i == axes - 1)
        for i, (k, d) in enumerate(zip(kernel, dilations, strict=True))
    ]
    shape = (draw(st.integers(1, 2)), inputs, *space)
    op = Conv(kernel, strides, pads, dilations, groups)
    return make_layer(op, shape, outputs, draw(SEEDS), **draw(KINDS))


@st.composite
def transposed_convolutions(draw: st.DrawFn) -> Layer:
    """ConvTranspose over 1 or 2 axes, with output padding."""
    axes = draw(st.sampled_from((1, 2, 2)))
    inputs, outputs, groups = draw(channels())
    kernel = _many(draw, axes, 1, 4)
    strides, dilations = _many(draw, axes, 1, 3), _many(draw, axes, 1, 2)
    extra = tuple(
        draw(st.integers(0, max(s, d) - 1)) for s, d in zip(strides, dilations, strict=True)
    )
    space = tuple(draw(st.integers(1, 6)) for _ in range(axes))
    spans = [
        (n - 1) * s + d * (k - 1) + 1 + e
        for n, s, d, k, e in zip(space, strides, dilations, kernel, extra, strict=True)
    ]
    begins = [draw(st.integers(0, min(2, span - 1))) for span in spans]
    ends = [
        draw(st.integers(0, min(2, span - 1 - begin)))
        for span, begin in zip(spans, begins, strict=True)
    ]
    op = ConvTranspose(kernel, strides, (*begins, *ends), dilations, extra, groups)
    shape = (draw(st.integers(1, 2)), inputs, *space)
    return make_layer(op, shape, outputs, draw(SEEDS), **draw(KINDS))


@st.composite
def linears(draw: st.DrawFn) -> Layer:
    """Linear on rows, or on sequences."""
    outer = draw(st.lists(st.integers(1, 9), min_size=1, max_size=2))
    inputs = draw(st.sampled_from((*CHANNELS, 64, 100)))
    shape = (*outer, inputs)
    return make_layer(Linear(), shape, draw(st.sampled_from(OUTPUTS)), draw(SEEDS), **draw(KINDS))


@st.composite
def precisions(draw: st.DrawFn, neurons: int, name: str = "y") -> Precision:
    """Any plan entry for a layer with so many neurons."""
    grid_bits = draw(st.sampled_from((12, 12, 12, 9, 4)))
    # Powers of two put frames exactly on the borders of rounding.
    delta = st.one_of(
        st.integers(-10, 3).map(lambda e: 2.0**e), st.floats(1e-4, 10.0, allow_subnormal=False)
    )
    bits = st.integers(1, grid_bits)

    def several(one: st.SearchStrategy) -> object:
        # Few different numbers, dealt out: long lists would only slow shrinking down.
        if draw(st.booleans()):
            return draw(one)
        few: Sequence = draw(st.lists(one, min_size=1, max_size=4))
        return tuple(few[(i * i) % len(few)] for i in range(neurons))

    layer = LayerPlan(
        name=name, delta=several(delta), bits=several(bits),
        weight_bits=draw(st.sampled_from((8, 16))),
    )  # fmt: skip
    return Precision(layer, draw(st.sampled_from(("hold", "nearest"))), grid_bits)


MOVE_LISTS = st.lists(st.sampled_from(MOVES), min_size=2, max_size=6)


def _many(draw: st.DrawFn, count: int, low: int, high: int) -> tuple[int, ...]:
    return tuple(draw(st.integers(low, high)) for _ in range(count))

"""An accumulator that overflowed would be wrong for ever after: packing the weights must make it
impossible, whatever the weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.graph import Linear
from mquans.plan import LayerPlan
from mquans.runtime.lowering.quantization import grid_limit, quantize_weights

from .builders import Precision, layer_session, make_layer
from .strategies import SEEDS, examples

KINDS = (
    "normal", "equal", "alternating", "one", "spiky", "halves", "tiny", "huge", "zero", "mixed",
)  # fmt: skip


def adversarial(kind: str, outputs: int, inputs: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(outputs, inputs))
    if kind == "equal":
        weight[:] = rng.choice([1.0, 3.0, 0.1])
    elif kind == "alternating":
        weight = np.where(np.arange(inputs) % 2, 1.0, -1.0) * np.ones((outputs, 1))
    elif kind == "one":
        weight[:] = 0.0
        weight[:, rng.integers(inputs)] = 1.0
    elif kind == "spiky":
        weight[:, 0] *= 1e6
    elif kind == "halves":
        # Everything rounds up: the sum grows by half a unit per weight.
        weight = np.full((outputs, inputs), 0.5 + 1e-9)
        weight[:, 0] = 127.0
    elif kind == "tiny":
        weight *= 1e-300
    elif kind == "huge":
        weight *= 1e300
    elif kind == "zero":
        weight[:] = 0.0
    elif kind == "mixed":
        weight[rng.random(weight.shape) < 0.5] = 0.0
        weight[0] = 0.0
    return weight


@examples(150)
@given(
    kind=st.sampled_from(KINDS), outputs=st.integers(1, 5),
    inputs=st.sampled_from((1, 2, 9, 127, 4096, 70_000, 600_000)),
    bits=st.sampled_from((8, 16)), grid_bits=st.integers(4, 12), seed=SEEDS,
)  # fmt: skip
def test_accumulators_cannot_overflow(
    kind: str, outputs: int, inputs: int, bits: int, grid_bits: int, seed: int
) -> None:
    weight = adversarial(kind, outputs, inputs, seed)
    packed = quantize_weights(weight, bits=bits, grid_bits=grid_bits)
    values = packed.values.astype(np.int64)
    assert packed.values.dtype == np.int16
    assert values.shape == weight.shape
    assert np.abs(values).max() <= 2 ** (bits - 1) - 1
    totals = np.abs(values).sum(axis=1)
    assert totals.max() * grid_limit(grid_bits) < 2**31
    assert (packed.scale > 0).all()
    assert np.isfinite(packed.scale).all()
    # What is rounded away is at most half a unit, and zeros stay zeros.
    error = np.abs(values * packed.scale[:, None] - weight) / packed.scale[:, None]
    assert error.max() <= 0.5 + 1e-6
    assert not values[weight == 0].any()


@examples(60)
@given(
    outputs=st.integers(1, 4), inputs=st.integers(1, 3000), bits=st.sampled_from((8, 16)),
    grid_bits=st.integers(4, 12), seed=SEEDS,
)  # fmt: skip
def test_no_width_is_wasted(
    outputs: int, inputs: int, bits: int, grid_bits: int, seed: int
) -> None:
    """The widest integers that cannot overflow: the largest weight or the sum is at its limit."""
    weight = adversarial("normal", outputs, inputs, seed)
    packed = quantize_weights(weight, bits=bits, grid_bits=grid_bits)
    values = np.abs(packed.values.astype(np.int64))
    room = (2**31 - 1) // grid_limit(grid_bits)
    at_limit = (values.max(axis=1) == 2 ** (bits - 1) - 1) | (
        values.sum(axis=1) > 0.95 * room - inputs
    )
    assert at_limit.all()


@pytest.mark.parametrize("rule", ["hold", "nearest"])
@pytest.mark.parametrize("bits", [1, 12])
@pytest.mark.parametrize("inputs", [5, 300])
def test_the_worst_frames_reach_the_limit_and_come_back(inputs: int, bits: int, rule: str) -> None:
    """All inputs at one end of the grid, with the signs of the weights, then at the other end."""
    layer = make_layer(Linear(), (1, inputs), 1, 0)
    layer.weight[:] = np.where(np.arange(inputs) % 3, 1.0, -1.0)[:, None]
    entry = LayerPlan(name="y", delta=1.0, bits=bits, weight_bits=16)
    stream = layer_session(layer, Precision(entry, rule)).stream()
    worst = np.sign(layer.weight.T) * np.float32(1e30)
    for sign in (1, -1, 1, -1):
        stream.step(worst * np.float32(sign))
        [name] = [layer.name for layer in stream.stats.layers]
        held, acc = stream.layer_state(name)
        assert set(np.unique(np.abs(held))) == {14336}
        assert int(acc.item()) * sign > 0.95 * 2**31 or inputs == 5
        assert stream.check() is None

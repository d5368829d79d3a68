"""Weights as whole numbers: their errors must not add up, nor their sums leave 32 bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.runtime.lowering.sites.arithmetic import ACCUMULATOR_MAX, integer_layer, rounded


@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([0.3, 3.0, 3000.0]))
def test_rounding_keeps_sums_and_stays_next_to_the_values(
    columns: int, seed: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.uniform(-1, 1), 1, (5, columns)) * size
    whole = rounded(values)
    assert (whole == np.rint(whole)).all()
    assert (np.abs(whole - values) < 1).all()
    assert (np.abs((whole - values).sum(axis=1)) < 1 + 1e-6).all()
    assert (np.abs(whole - values).sum(axis=1) <= columns / 2 + 1e-6).all()


def test_whole_numbers_stay() -> None:
    """Weights of quantized networks, and those that were pruned."""
    values = np.array([[0.0, 3.0, -7.0, 0.0]])
    np.testing.assert_array_equal(rounded(values), values)


def test_layer_is_right_for_what_its_inputs_have_in_common() -> None:
    """Behind a ReLU all inputs are positive. Errors of plainly rounded weights add up to a shift of
    every output, which a network with batch normalization, centred there, cannot bear."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(64, 900, 1, 1))
    unit = 2.0**-9
    layer = integer_layer(
        weight, np.zeros(64), np.full((64, 900), unit), np.full(64, -6), 32767, where="layer"
    )
    codes = np.full(900, 2000)
    sums = layer.weights.reshape(64, 900).astype(np.int64) @ codes
    found = sums * 2.0**-6 / np.exp2(layer.shift)
    wanted = weight.reshape(64, 900) @ codes * unit
    assert np.abs(found - wanted).max() < 0.1  # 1.6 where each is rounded by itself


@pytest.mark.parametrize("value", [0.49, 0.5, 0.51, 1.49])
def test_sums_of_the_largest_codes_fit_whatever_is_rounded_up(value: float) -> None:
    weight = np.full((1, 2000), value)
    layer = integer_layer(
        weight, np.zeros(1), np.ones((1, 2000)), np.full(1, 14), 32767, where="layer"
    )
    assert np.abs(layer.weights.astype(np.int64)).sum() * 32767 < ACCUMULATOR_MAX

"""Weights of 8 bits as they were deployed: sums are then those of every other engine."""

from __future__ import annotations

import numpy as np
import pytest

from mquans.runtime.lowering.sites.arithmetic import quantized_layer

rng = np.random.default_rng(0)
WHOLE = rng.integers(-127, 128, (6, 5, 3, 3))
UNIT = np.linspace(0.0004, 0.9, 6)
ONES = np.ones((6, 5))
ZEROS = np.zeros(6, np.int64)


def deployed(whole: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """As a graph has them, rounded to float32 more than once."""
    scaled = (whole * np.float32(1 / 3)).astype(np.float32)
    return (scaled * (unit * 3).astype(np.float32).reshape(-1, 1, 1, 1)).astype(np.float64)


@pytest.mark.parametrize("tiled", [False, True])
def test_weights_and_factors_are_found_again(tiled: bool) -> None:
    steps = rng.integers(-90000, 90000, 6)
    layer = quantized_layer(deployed(WHOLE, UNIT), steps * UNIT, ONES, ZEROS, 255, tiled=tiled)
    assert layer is not None
    assert layer.scaled
    ratio = layer.weights.reshape(6, -1)[:, :1] / WHOLE.reshape(6, -1)[:, :1]
    np.testing.assert_array_equal(layer.weights, WHOLE * ratio.reshape(6, 1, 1, 1))
    np.testing.assert_array_equal(layer.bias, steps * ratio[:, 0])
    np.testing.assert_allclose(layer.shift.view(np.float32) * ratio[:, 0], UNIT, rtol=1e-7)


def test_a_bias_in_floats_is_not_rounded_to_whole_sums() -> None:
    """Some quantizers leave it as it was."""
    bias = np.full(6, 0.4) * UNIT
    layer = quantized_layer(deployed(WHOLE, UNIT), bias, ONES, ZEROS, 255, tiled=False)
    assert layer is not None
    np.testing.assert_allclose(layer.bias * layer.shift.view(np.float32) / UNIT, 0.4, atol=0.01)


def test_a_large_bias_is_whole_however_a_float_has_it() -> None:
    """Of millions a float has no halves left; weights would get 16 bits for it, at half the
    speed."""
    bias = (np.array([0, 1, -20, 5_600_000, -30_000_001, 7]) * UNIT).astype(np.float32)
    layer = quantized_layer(deployed(WHOLE, UNIT), bias, ONES, ZEROS, 255, tiled=False)
    assert layer is not None
    assert np.abs(layer.weights).max() <= 127
    np.testing.assert_allclose(layer.bias * layer.shift.view(np.float32), bias, rtol=3e-7)


@pytest.mark.parametrize(
    ("weight", "limit"),
    [
        (rng.normal(size=(6, 5, 3, 3)) / 9, 255),  # no 8 bits
        (deployed(WHOLE, UNIT * 3), 255),  # factors of one or more may leave 32 bits
        (deployed(WHOLE, UNIT), 2**31 // 2000),  # sums would overflow
    ],
)
def test_other_layers_have_none(weight: np.ndarray, limit: int) -> None:
    assert quantized_layer(weight, np.zeros(6), ONES, ZEROS, limit, tiled=False) is None


def test_outputs_without_weights_are_their_bias() -> None:
    weight = deployed(WHOLE, UNIT)
    weight[2] = 0
    layer = quantized_layer(weight, np.arange(6.0), ONES, ZEROS, 255, tiled=False)
    assert layer is not None
    assert not layer.weights[2].any()
    assert layer.bias[2] * layer.shift.view(np.float32)[2] == pytest.approx(2.0, rel=1e-6)

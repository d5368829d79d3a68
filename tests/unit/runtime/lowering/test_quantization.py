"""From a plan's numbers to the engine's: if these were wrong, plans would mean something else."""

from __future__ import annotations

import numpy as np
import pytest

from mquans.plan import LayerPlan
from mquans.runtime.lowering.quantization import (
    deltas,
    grid_limit,
    quantize_weights,
    rule_tables,
    steps,
)


def layer(**changes: object) -> LayerPlan:
    return LayerPlan(**{"name": "a", "delta": 0.5, "bits": 5} | changes)  # type: ignore[arg-type]


def test_the_grid_has_twice_the_calibrated_range() -> None:
    assert grid_limit(12) == 3.5 * 2**12


def test_one_number_stands_for_all_neurons() -> None:
    np.testing.assert_array_equal(steps(layer(), 12, 3), [128, 128, 128])
    np.testing.assert_array_equal(deltas(layer(), 3), [0.5] * 3)


def test_numbers_per_neuron_keep_their_order() -> None:
    several = layer(bits=(12, 1, 7), delta=(1.0, 2.0, 4.0))
    np.testing.assert_array_equal(steps(several, 12, 3), [1, 2048, 32])
    np.testing.assert_array_equal(deltas(several, 3), [1.0, 2.0, 4.0])


@pytest.mark.parametrize("bits", range(1, 13))
def test_nearest_rounds_every_grid_value_to_a_multiple_of_the_step(bits: int) -> None:
    step = 2 ** (12 - bits)
    tables = rule_tables("nearest", np.array([step]))
    g = np.arange(-14336, 14337)
    q = (g + int(tables.offset[0])) & int(tables.mask[0])
    assert not (q % step).any()
    assert np.abs(q - g).max() <= step / 2
    assert np.abs(q).max() == 14336
    assert tables.threshold[0] == 0


@pytest.mark.parametrize("bits", range(1, 13))
def test_hold_moves_when_the_distance_exceeds_half_a_step(bits: int) -> None:
    step = 2 ** (12 - bits)
    tables = rule_tables("hold", np.array([step]))
    g = np.arange(-14336, 14337)
    np.testing.assert_array_equal((g + int(tables.offset[0])) & int(tables.mask[0]), g)
    distance = np.arange(0, 16385)
    np.testing.assert_array_equal(distance > tables.threshold[0], distance > step / 2)


def test_each_output_channel_has_a_scale_of_its_own() -> None:
    weight = np.array([[1.0, -0.25], [100.0, 25.0], [0.0, 0.0]])
    packed = quantize_weights(weight, bits=8, grid_bits=12)
    np.testing.assert_array_equal(packed.values, [[127, -32], [127, 32], [0, 0]])
    np.testing.assert_allclose(packed.scale, [1 / 127, 100 / 127, 1.0])


def test_weights_that_were_deployed_in_bytes_are_these_again() -> None:
    """Rounded to steps of each output's own peak they would be others."""
    rng = np.random.default_rng(0)
    whole = rng.integers(-90, 91, (6, 40))
    weight = (whole * np.float32(0.0123)).astype(np.float32) * np.float64(1.7)
    packed = quantize_weights(weight, bits=8, grid_bits=12)
    np.testing.assert_array_equal(packed.values, whole)
    np.testing.assert_allclose(packed.values * packed.scale[:, None], weight, rtol=1e-6)


def test_the_shape_of_the_weights_is_kept() -> None:
    assert quantize_weights(np.ones((4, 3, 2, 1)), bits=16, grid_bits=12).values.shape == (
        4, 3, 2, 1,
    )  # fmt: skip

"""Repeated weights: at equal precision they save little, and where published what was published."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mquans_studies.accelerators import SCHEMES, load_accelerator, simulate, ucnn
from mquans_studies.accelerators.networks import PUBLISHED_LAYERS
from mquans_studies.traces.weight_repetition import WeightRepetition

from .layers import conv_geometry, masks, trace_of, traced


def test_repetition_stands_beside_weights_of_its_own_width() -> None:
    """Beside 4-byte weights a table of indices seems to save half of the energy: that is the width
    of indices. Beside int8 weights, which it needs, a table of 10 bits costs more to read."""
    geometry = conv_geometry(64, 64, 16, 3, 1, 1)
    shape = geometry.shape
    many = WeightRepetition(8, shape.weights, 64 * 200, 64 * 100)
    layer = replace(traced(geometry, masks(geometry, 1.1)), repetition=many)
    found = simulate(trace_of(layer), load_accelerator("reuse"), SCHEMES["repetition"])
    narrow = simulate(trace_of(layer), load_accelerator("reuse"), SCHEMES["dense-int8"])
    assert found.as_dict()["dense"]["energy_pj"] == narrow.energy_pj
    assert -0.15 < found.energy_saved < 0.15
    assert narrow.energy_saved == 0, "beside itself"
    wide = simulate(trace_of(layer), load_accelerator("reuse"), SCHEMES["dense"])
    assert found.energy_pj < 0.7 * wide.energy_pj, "the old comparison"
    indices = found.layers[0].traffic.read["edram"][0]
    assert indices == pytest.approx(narrow.layers[0].traffic.read["edram"][0] * 11 / 8)


@pytest.mark.parametrize("weights", ucnn.SETTINGS[:4], ids=lambda weights: weights.name)
@pytest.mark.parametrize("network", PUBLISHED_LAYERS)
def test_published_setting(network: str, weights: ucnn.Weights) -> None:
    """UCNN, ISCA 2018: 1.2x to 4x over a sparse design on these networks, of few values."""
    assert 1.2 <= ucnn.saving(PUBLISHED_LAYERS[network], weights) <= 4


@pytest.mark.parametrize("network", PUBLISHED_LAYERS)
def test_not_of_int8_weights(network: str) -> None:
    """What a quantized network has: 254 values, nearly none of them 0. Tables are wider then than
    weights, and nothing is shared."""
    assert ucnn.saving(PUBLISHED_LAYERS[network], ucnn.SETTINGS[4]) < 1.1

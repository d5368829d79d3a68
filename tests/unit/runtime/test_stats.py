"""The numbers that reports and comparisons are made of."""

from __future__ import annotations

import pytest

from mquans.runtime.stats import LayerStats, StreamStats


def test_totals_are_weighted_by_size() -> None:
    stats = StreamStats(
        (
            LayerStats("a", inputs=100, changed=50, macs=1000, macs_done=500, mode="changes"),
            LayerStats("b", inputs=300, changed=0, macs=3000, macs_done=0, mode="idle"),
        )
    )
    assert (stats.macs_total, stats.macs_done, stats.macs_skipped) == (4000, 500, 3500)
    assert [layer.macs_skipped for layer in stats.layers] == [500, 3000]
    assert stats.computation_reuse == pytest.approx(0.875)
    assert stats.similarity == pytest.approx(0.875)
    assert [layer.similarity for layer in stats.layers] == [0.5, 1.0]


def test_a_network_without_reuse_layers_reuses_nothing_and_divides_by_nothing() -> None:
    stats = StreamStats(())
    assert (stats.macs_total, stats.macs_done) == (0, 0)
    assert (stats.computation_reuse, stats.similarity) == (0.0, 1.0)

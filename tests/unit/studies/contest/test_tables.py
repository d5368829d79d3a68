"""What the contest's tables say of a record."""

from __future__ import annotations

from typing import Any

import pytest

from mquans_studies.contest.tables import as_markdown


def _exactly(value: float) -> dict[str, float]:
    return {"value": value, "low": value, "high": value}


def _row(scheme: str, speed: float, saved: float, *, error: float, loses: float) -> dict[str, Any]:
    return {
        "scheme": scheme,
        "choice": "before",
        "design": "reuse",
        "fallback": False,
        "error": _exactly(error),
        "loses": loses,
        "speed": _exactly(speed),
        "energy_saved": _exactly(saved),
    }


def _network(speed: float, saved: float, *, error: float) -> dict[str, Any]:
    loses = float(error > 0.11)
    ratio = {"speed": _exactly(1.5), "energy": _exactly(1.25)}
    where = {"pair": "best", "choice": "before", "design": "reuse", "fallback": False}
    return {
        "task": "error rate",
        "judged": {"frames": 10, "blocks": 2},
        "dense_error": _exactly(0.1),
        "allowed_error": 0.11,
        "frozen_error": 0.5,
        "rows": [
            _row("mquans, hold", speed, saved, error=error, loses=loses),
            _row("published width", 2.0, 0.4, error=0.105, loses=0.0),
        ],
        "pairs": [{**where, **ratio}],
        "candidates": [
            {
                "scheme": "published width",
                "value": 4,
                "error_choosing": 0.1,
                "loses_choosing": False,
                "error": _exactly(0.105),
                "loses": False,
                "similarity": 0.625,
                "computation_reuse": 0.5,
            }
        ],
    }


@pytest.fixture
def tables() -> str:
    """Of a network that keeps its error and one that does not."""
    return as_markdown(
        {
            "rules_sha256": "0123",
            "level": 0.95,
            "draws": 100,
            "chosen_on": "reuse",
            "designs": ["reuse"],
            "networks": {
                "kept": _network(2.0, 0.5, error=0.105),
                "lost": _network(8.0, 0.8, error=0.2),
            },
        }
    )


def test_a_mean_over_networks_says_who_lost(tables: str) -> None:
    """Speeds are ratios, so 2x and 8x are 4x in the mean; and a mean at no loss is none if a
    network lost."""
    assert "| mquans, hold | 4.00x | 65.0 % | 2.00x, 50.0 % | lost |" in tables
    assert "| published width | 2.00x | 40.0 % | 2.00x, 40.0 % | none |" in tables


def test_the_published_width_stands_with_its_error_and_inputs_alike(tables: str) -> None:
    row = (
        "| kept | 4 | 62.5 % | 0.1050 (0.1050 to 0.1050) | 0 % | 2.00x (2.00 to 2.00) "
        "| 40.0 (40.0 to 40.0) % |"
    )
    assert row in tables


def test_pairs_stand_with_intervals_and_on_every_design(tables: str) -> None:
    interval = "1.50x (1.50 to 1.50) | 1.25x (1.25 to 1.25)"
    assert f"| kept | best | chosen on other data | {interval} |" in tables
    assert "| kept | best | 1.50x, 1.25x |" in tables

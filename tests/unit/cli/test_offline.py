"""What `calibrate` makes of its options."""

from __future__ import annotations

from typing import Any

import pytest

from mquans.cli.main import run
from mquans.errors import MquansError


@pytest.mark.parametrize(
    ("options", "criticality"), [([], None), (["--criticality", "taylor"], "taylor")]
)
def test_how_neurons_are_weighed_is_left_to_calibration(
    monkeypatch: pytest.MonkeyPatch, options: list[str], criticality: str | None
) -> None:
    """Whose default depends on the network."""
    given: dict[str, Any] = {}

    def calibrate(*_: object, **options: Any) -> None:
        given.update(options)
        raise MquansError("enough seen.")

    monkeypatch.setattr("mquans.calibration.calibrate_fully", calibrate)
    assert run(["calibrate", "m.onnx", "--source", "x", "-o", "p", *options]) == 1
    assert given["criticality"] == criticality

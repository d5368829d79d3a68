"""What `calibrate` makes of its options."""

from __future__ import annotations

import pytest

from mquans.calibration import CalibrationOptions
from mquans.cli.main import run
from mquans.errors import MquansError


@pytest.mark.parametrize(
    ("options", "criticality"), [([], None), (["--criticality", "taylor"], "taylor")]
)
def test_how_neurons_are_weighed_is_left_to_calibration(
    monkeypatch: pytest.MonkeyPatch, options: list[str], criticality: str | None
) -> None:
    """Whose default depends on the network."""
    given: list[CalibrationOptions] = []

    def calibrate(model: object, source: object, options: CalibrationOptions, **_: object) -> None:
        given.append(options)
        raise MquansError("enough seen.")

    monkeypatch.setattr("mquans.calibration.calibrate_fully", calibrate)
    assert run(["calibrate", "m.onnx", "--source", "x", "-o", "p", *options]) == 1
    assert given[0].criticality == criticality

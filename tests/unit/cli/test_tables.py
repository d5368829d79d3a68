"""Sentences that people read."""

from __future__ import annotations

import pytest

from mquans.cli.tables import show_verification
from mquans.evaluate import BrokenLaw, Verification


def test_verification_speaks_of_accumulators_and_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """Networks have one, the other, or both."""
    show_verification(Verification(frames=3, layers=2, refused=0, first_violation=None))
    said = " ".join(capsys.readouterr().out.split())
    assert "every accumulator equals the product of weights and held values" in said
    assert "recomputing changed no code and no output bit" in said
    for kind, what in (
        ("accumulator", "accumulator of layer 'x', position (1, 2, 3): expected 4, found 5."),
        ("code", "code of tensor 'x', position (1, 2, 3): expected 4, found 5, changed by"),
        ("output", "output 'x', position (1, 2, 3): expected 4, found 5, changed by"),
    ):
        found = BrokenLaw(7, "x", kind, (1, 2, 3), 4, 5)
        show_verification(Verification(frames=3, layers=2, refused=0, first_violation=found))
        assert f"Not exact: frame 7, {what}" in " ".join(capsys.readouterr().out.split())

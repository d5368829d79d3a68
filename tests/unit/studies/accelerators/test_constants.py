"""Constants one by one: each has a source and a range, and can be varied over it in one call."""

from __future__ import annotations

import pytest

from mquans.errors import MquansError
from mquans_studies.accelerators import accelerator_names, load_accelerator
from mquans_studies.accelerators.constants import constants, main, varied

NAMES = accelerator_names()


@pytest.mark.parametrize("name", NAMES)
def test_every_constant_can_be_varied(name: str) -> None:
    """A study of sensitivity goes through all of them."""
    design = load_accelerator(name)
    for constant in constants(design):
        low, high = constant.figure.range
        assert low <= constant.figure.value <= high
        for value in (low, high):
            again = {
                entry.path: entry.figure
                for entry in constants(varied(design, constant.path, value))
            }
            assert again[constant.path].value == value
            again.pop(constant.path)
            assert all(
                again[entry.path] == entry.figure
                for entry in constants(design)
                if entry.path != constant.path
            )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_assumed_has_a_range(name: str) -> None:
    """Sizes of words, and levels that a design does not have, are decisions and no estimates."""
    fixed = (
        "word_bytes",
        "sum_bytes",
        "operand_words",
        "array.outputs",
        "array.inputs",
        "array.taps",
    )
    for constant in constants(load_accelerator(name)):
        low, high = constant.figure.range
        if "assumed" in constant.figure.source and not constant.path.endswith(fixed):
            assert low < high, constant.path


def test_errors() -> None:
    design = load_accelerator("reuse")
    for path in (
        "energy",
        "energy.magic",
        "energy.multiply.value",
        "memories.dram",
        "skip.unit",
        "",
    ):
        with pytest.raises(MquansError, match="there is no constant"):
            varied(design, path, 1.0)
    with pytest.raises(MquansError, match="not within the range of read_pj, 32 to 160"):
        varied(design, "memories.dram.read_pj", 12.5)


def test_they_are_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["constants", "reuse"])
    main()
    assert "| `memories.dram.read_pj` | 64 | 32 to 160 | assumed: LPDDR4" in capsys.readouterr().out

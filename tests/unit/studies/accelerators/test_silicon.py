"""The model of Eyeriss beside what was measured on the chip, per frame.

Tolerances are what the model leaves out: loading the array and turning it round to another layer
(11 % of AlexNet's time: total against processing latency), compressed activations in DRAM (1.2x to
1.9x less), and choices of the chip's compiler.
"""

from __future__ import annotations

import pytest

from mquans_studies.accelerators import load_accelerator
from mquans_studies.accelerators.silicon import CHIPS, main, modelled, total

DESIGN = load_accelerator("eyeriss")


def test_published_layers_add_up_to_the_abstract() -> None:
    """35 and 0.7 frames per second, 278 and 236 mW, 0.0029 and 0.0035 accesses of 16 bits per
    multiplication: a figure copied wrongly would not."""
    for name, rate, mw, accesses in (("AlexNet", 35, 278, 0.0029), ("VGG-16", 0.7, 236, 0.0035)):
        found = total(CHIPS[name].measured())
        assert 1e3 / found.ms == pytest.approx(rate, rel=0.02)
        assert 1e3 * found.chip_mj / found.ms == pytest.approx(mw, rel=0.01)
        macs = sum(layer.padded_macs for layer in CHIPS[name].shapes(1))
        assert found.dram_mb * 1e6 / 2 / macs == pytest.approx(accesses, rel=0.02)


def test_alexnet() -> None:
    """Time and DRAM within 15 %. Energy is what the constant part of its power was fitted to."""
    found, chip = (total(layers) for layers in _both("AlexNet"))
    assert found.ms == pytest.approx(chip.ms, rel=0.15)
    assert found.dram_mb == pytest.approx(chip.dram_mb, rel=0.15)
    assert found.chip_mj == pytest.approx(chip.chip_mj, rel=0.02)


def test_alexnet_layer_by_layer() -> None:
    """No layer is right by another's mistake: time within 35 %, the first one least, as nothing is
    known of how it is loaded."""
    for mine, chip in zip(*_both("AlexNet"), strict=True):
        assert mine.ms == pytest.approx(chip.ms, rel=0.35)


def test_what_an_element_holds() -> None:
    """Rows of 11 and of 5 inputs: one and two channels are summed up before a sum is written, which
    gives the chip's accesses to its buffer within 20 %."""
    for mine, chip in list(zip(*_both("AlexNet"), strict=True))[:2]:
        assert mine.buffer_mb == pytest.approx(chip.buffer_mb, rel=0.2)


def test_vgg16_was_not_fitted() -> None:
    """DRAM within 10 %. Time and energy follow from how often sums pass the buffer, which the chip
    does up to four times as often for tall pictures as its mapping needs to: with its own accesses
    time is within 20 %, energy within 10 %."""
    found, chip = (total(layers) for layers in _both("VGG-16"))
    assert found.dram_mb == pytest.approx(chip.dram_mb, rel=0.1)
    assert 0.35 * chip.ms < found.ms < chip.ms
    assert 0.5 * chip.chip_mj < found.chip_mj < chip.chip_mj
    mapped = total(modelled(CHIPS["VGG-16"], DESIGN, as_mapped=True))
    assert mapped.ms == pytest.approx(chip.ms, rel=0.2)
    assert mapped.chip_mj == pytest.approx(chip.chip_mj, rel=0.1)


def test_vgg16_where_the_mapping_is_known() -> None:
    """Pictures of 28 rows and fewer: time within 20 %."""
    for mine, chip in list(zip(*_both("VGG-16"), strict=True))[7:]:
        assert mine.ms == pytest.approx(chip.ms, rel=0.21)


def test_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["silicon"])
    main()
    assert "| AlexNet | chip | 28.8 | 52 | 3.9 | 8.0 |" in capsys.readouterr().out


def _both(name: str) -> tuple[tuple, tuple]:
    return modelled(CHIPS[name], DESIGN), CHIPS[name].measured()

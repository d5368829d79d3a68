"""Accelerators as files: figures with sources, clear errors, and what publications say of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mquans.errors import MquansError
from mquans_studies.accelerators import (
    Accelerator,
    accelerator_names,
    load_accelerator,
    parse_accelerator,
)
from mquans_studies.accelerators.accelerator import Lanes
from mquans_studies.accelerators.work import dense_cycles

from .layers import conv_geometry, linear_geometry

NAMES = accelerator_names()


def text(name: str = "reuse") -> str:
    folder = Path(__file__).resolve().parents[4] / "studies/mquans_studies/accelerators/designs"
    return (folder / f"{name}.yaml").read_text()


def parsed(yaml: str) -> Accelerator:
    return parse_accelerator(yaml.encode(), where="own.yaml")


def test_literature_is_there() -> None:
    assert set(NAMES) == {"reuse", "diannao", "dadiannao", "eyeriss", "neuflow", "cpu2"}


def test_own_file(tmp_path: Path) -> None:
    """A researcher changes a figure in a copy."""
    path = tmp_path / "own.yaml"
    path.write_text(text().replace("clock_mhz: {value: 500", "clock_mhz: {value: 1000"))
    assert load_accelerator(path).clock_mhz.value == 1000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (", source: assumed, range", ", range", "source"),
        (", source: assumed, range: [250, 1000]}", ", source: assumed}", "range"),
        ("range: [250, 1000]", "range: [600, 1000]", "500 is not within its range"),
        ("range: [250, 1000]", "range: [0, 1000]", "range"),
        ("clock_mhz: {value: 500", "clock_mhz: {value: 0", "clock_mhz"),
        ("clock_mhz: {value: 500", "clock_mhz: {value: fast", "clock_mhz"),
        ("dataflow: lanes", "dataflow: magic", "magic"),
        ("serves: [weights]", "serves: [inputs]", "exactly one memory must serve 'weights'"),
        ("unit: value", "unit: block", "needs an array of lanes"),
        ("unit: value", "unit: mood", "mood"),
        ("title:", "titel:", "titel"),
        ("- name: dram", "- name: edram", "different names"),
        ("title: ", "title: [", "not YAML"),
        ("title: ", "title: !!python/object:os.system ", "not YAML"),
    ],
)
def test_errors_name_the_field(old: str, new: str, message: str) -> None:
    with pytest.raises(MquansError, match=message):
        parsed(text().replace(old, new, 1))


def test_unknown_accelerator_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(MquansError, match="Choose one of cpu2, dadiannao"):
        load_accelerator("tpu")
    with pytest.raises(MquansError, match="no such file"):
        load_accelerator(tmp_path / "tpu.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_energies_are_those_of_the_tables(name: str) -> None:
    """Horowitz, ISSCC 2014, 45 nm, pJ: fp32 multiply 3.7, add 0.9; int8 multiply 0.2, add 0.03;
    int32 multiply 3.1, add 0.1; DRAM 640 per 32 bits. A figure that names a row has its value."""
    table = {
        "fp32 multiply and add": 4.6,
        "int32 multiply and add": 3.2,
        "fp32 multiply": 3.7,
        "fp32 add": 0.9,
        "int32 add": 0.1,
        "int8 add": 0.03,
        "640 pJ per 32 bits": 160.0,
    }
    design = load_accelerator(name)
    events = (getattr(design.energy, event) for event in design.energy.__struct_fields__)
    levels = (figure for memory in design.memories for figure in (memory.read_pj, memory.write_pj))
    checked = 0
    for figure in (*events, *levels):
        if figure.source.startswith("Horowitz"):
            row = next((row for row in table if row in figure.source), None)
            if row is not None:
                assert figure.value == pytest.approx(table[row]), figure
                checked += 1
    assert checked


def test_eyeriss_keeps_the_published_ratios() -> None:
    """Chen et al., ISCA 2016, multiply-accumulate 1: registers 1, array 2, buffer 6, DRAM 200."""
    design = load_accelerator("eyeriss")
    mac = design.energy.multiply.value + design.energy.add.value
    per_word = {m.name: m.read_pj.value * design.word_bytes.value for m in design.memories}
    assert per_word["registers"] == pytest.approx(1 * mac)
    assert per_word["global_buffer"] == pytest.approx((2 + 6) * mac)
    assert per_word["dram"] == pytest.approx(200 * mac)


def test_diannao_power_at_full_load() -> None:
    """Chen et al., ASPLOS 2014: 485 mW without DRAM. The model has no control and no activation
    functions, and buffers by CACTI: within a quarter."""
    design = load_accelerator("diannao")
    assert isinstance(design.array, Lanes)
    macs = design.array.outputs.value * design.array.inputs.value
    pj = macs * (design.energy.multiply.value + design.energy.add.value)
    pj += macs * design.word_bytes.value * design.memory("weights").read_pj.value
    pj += (
        design.array.inputs.value * design.word_bytes.value * design.memory("inputs").read_pj.value
    )
    assert pj * design.clock_mhz.value / 1e3 == pytest.approx(485, rel=0.25)


def test_padding_costs_what_values_cost() -> None:
    """Where loops go over the whole kernel everywhere: 3x3 over 13x13 with a border has 14 % of its
    taps on it, which were left out of DianNao's and Eyeriss' cycles."""
    shape = conv_geometry(16, 16, 13, 3, 1, 1).shape
    assert shape.padded_macs == 13 * 13 * 9 * 16 * 16
    for name in ("diannao", "eyeriss"):
        array = load_accelerator(name).array
        ways = [dense_cycles(shape, array, padding=padding) for padding in (False, True)]
        assert ways[1] / ways[0] == pytest.approx(shape.padded_macs / shape.macs)
    whole = dense_cycles(shape, load_accelerator("diannao").array, padding=True)
    assert whole == pytest.approx(13 * 13 * 9)


def test_dram_of_the_reuse_design_is_no_placeholder() -> None:
    """12.5 pJ per byte, a template's order of magnitude, made DRAM hardly dearer than eDRAM (8 pJ):
    state that does not fit came nearly free."""
    dram = load_accelerator("reuse").memory("backing")
    assert (dram.read_pj.value, dram.write_pj.value) == (64, 64)


def test_peak_rates() -> None:
    """DianNao 452 GOP/s; DaDianNao 16 such tiles at its own clock; one row per cycle in each."""
    geometry = linear_geometry(256, 256)
    for name, tiles in (("diannao", 1), ("dadiannao", 16)):
        array = load_accelerator(name).array
        assert dense_cycles(geometry.shape, array, padding=True) == 256 * 256 / 256 / tiles

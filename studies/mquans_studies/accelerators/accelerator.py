"""What an accelerator is: figures in a YAML file, each with its source and range (`designs/`)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from mquans.errors import MquansError
from mquans.files import printable, read_limited
from mquans_studies.traces.layer_shape import BLOCK

LIMIT_BYTES = 1 << 20
_FOLDER = files("mquans_studies.accelerators") / "designs"

Role = Literal["weights", "inputs", "outputs", "operands", "backing"]
Unit = Literal["value", "block", "row", "channel", "none"]
Source = Annotated[str, msgspec.Meta(min_length=4)]


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number, where it is from (a publication, a tool, or the word `assumed`), and the least and
    the most that it may as well be."""

    value: Annotated[float, msgspec.Meta(ge=0)]
    source: Source
    range: tuple[float, float]

    def __post_init__(self) -> None:
        _check_range(self.value, self.range)


class Positive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure that is divided by."""

    value: Annotated[float, msgspec.Meta(gt=0)]
    source: Source
    range: tuple[Annotated[float, msgspec.Meta(gt=0)], float]

    def __post_init__(self) -> None:
        _check_range(self.value, self.range)


def _check_range(value: float, span: tuple[float, float]) -> None:
    low, high = span
    if not low <= value <= high:
        raise ValueError(f"{value:g} is not within its range, {low:g} to {high:g}")


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a design can leave out when inputs did not change, and who says so."""

    unit: Unit
    source: Source


class Switch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that a design does or does not do."""

    value: bool
    source: Source


class Lanes(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="lanes", tag_field="dataflow"
):
    """Multipliers that meet one output position at a time; its sums stay where they are.

    Attributes:
        outputs: output channels side by side, each with its own weight.
        inputs: input channels side by side, in an adder tree.
        taps: kernel positions side by side.
        tiles: such groups, each on output positions or channels of its own.
        weight_reuse: multiplications of dense layers that share one read of a weight.
        psum_channels: input channels that are summed up before a sum is written; 0 for all.
        operand_words: words moved at the operand memory per multiplication, if there is one.
    """

    outputs: Positive
    inputs: Positive
    taps: Positive
    tiles: Positive
    weight_reuse: Positive
    psum_channels: Figure
    operand_words: Figure


class RowStationary(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag="row_stationary",
    tag_field="dataflow",
):
    """An array of elements that each convolve a row of inputs with a row of a filter. Sets of
    kernel rows that fit below each other work on other filters.

    Attributes:
        rows, columns: of the array: kernel rows run down it, output rows across.
        filters: filters that an element works on before inputs are sent again.
        window: inputs that an element holds: a row of the kernel of as many channels as fit, which
            it sums up before a sum is written.
        operand_words: words moved at the operand memory per multiplication.
    """

    rows: Positive
    columns: Positive
    filters: Positive
    window: Positive
    operand_words: Figure


class Energy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Energy per event, pJ.

    Attributes:
        multiply, add: of a multiply-accumulate.
        quantize: putting an input on its grid.
        compare: with what is held.
        hash: of an input, for memories of whole windows.
        gather: fetching an input by index, for repeated weights.
        control: per cycle and tile, whatever is computed in it.
    """

    multiply: Figure
    add: Figure
    quantize: Figure
    compare: Figure
    hash: Figure
    gather: Figure
    control: Figure


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One level of the memory hierarchy.

    Attributes:
        serves: what it holds; `backing` is where everything comes from that fits nowhere.
        bytes: its size; nothing for the backing memory.
        read_pj, write_pj: per byte.
        bytes_per_cycle: read and written together.
        static_mw: leakage and refresh.
        keeps: whether its content stays from frame to frame, when it fits.
    """

    name: str
    serves: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)]
    read_pj: Figure
    write_pj: Figure
    bytes_per_cycle: Positive
    static_mw: Figure
    bytes: Positive | None = None
    keeps: bool = False

    @property
    def capacity(self) -> float:
        """Bytes, endless for the backing memory."""
        return float("inf") if self.bytes is None else self.bytes.value


class Accelerator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A design that a network can be simulated on.

    Attributes:
        title: name and publication.
        clock_mhz: of the array.
        word_bytes: of a weight, an input, a partial sum.
        sum_bytes: of a sum that is kept from frame to frame, which must not round.
        array: multipliers and how work is laid over them.
        skip: what takes no cycles when unchanged.
        gate: what takes no energy in multipliers when unchanged.
        quantize_per_cycle: results put on the grid of their readers and compared per cycle.
        reuse_efficiency: multiplications per cycle over changes / those of dense layers.
        overlap: whether memories work while the array computes.
        padding: whether the array computes taps on padding as all others.
        spare: whether state may lie in what weights leave free of their memory.
        static_mw: of all that is no memory.
    """

    title: str
    clock_mhz: Positive
    word_bytes: Positive
    sum_bytes: Positive
    array: Lanes | RowStationary
    skip: Choice
    gate: Choice
    quantize_per_cycle: Positive
    reuse_efficiency: Positive
    overlap: Switch
    padding: Switch
    spare: Switch
    energy: Energy
    static_mw: Figure
    memories: tuple[Memory, ...]

    def __post_init__(self) -> None:
        roles = [role for memory in self.memories for role in memory.serves]
        for role in ("weights", "inputs", "outputs", "backing"):
            if roles.count(role) != 1:
                raise ValueError(f"exactly one memory must serve {role!r}")
        if roles.count("operands") > 1:
            raise ValueError("at most one memory may serve 'operands'")
        names = [memory.name for memory in self.memories]
        if len(set(names)) < len(names):
            raise ValueError("memories need different names")
        if any(m.bytes is None and "backing" not in m.serves for m in self.memories):
            raise ValueError("every memory but the backing one needs `bytes`")
        blocked = isinstance(self.array, Lanes) and self.array.inputs.value == BLOCK
        if "block" in (self.skip.unit, self.gate.unit) and not blocked:
            raise ValueError(f"unit `block` needs an array of lanes with {BLOCK} inputs")

    def memory(self, role: Role) -> Memory:
        """The memory that serves a role; the inputs' one if none serves `operands`."""
        for memory in self.memories:
            if role in memory.serves:
                return memory
        return self.memory("inputs")


def accelerator_names() -> tuple[str, ...]:
    """Accelerators that come with the package."""
    return tuple(sorted(entry.name[:-5] for entry in _FOLDER.iterdir() if _is_yaml(entry.name)))


def load_accelerator(name: str | Path) -> Accelerator:
    """An accelerator by its name, or from a YAML file.

    Raises:
        MquansError: there is none of this name, or the file is not an accelerator.
    """
    if str(name) in accelerator_names():
        return parse_accelerator((_FOLDER / f"{name}.yaml").read_bytes(), where=str(name))
    path = Path(name)
    if not _is_yaml(path.name) and not path.exists():
        raise MquansError(
            f"there is no accelerator {printable(str(name))!r}.",
            hint=f"Choose one of {', '.join(accelerator_names())}, or give a YAML file.",
        )
    return parse_accelerator(read_limited(path, LIMIT_BYTES), where=path.name)


def parse_accelerator(text: bytes, *, where: str) -> Accelerator:
    """An accelerator from YAML.

    Raises:
        MquansError: it is not YAML, or a figure is missing, wrong, or without a source.
    """
    import yaml

    try:
        return msgspec.yaml.decode(text, type=Accelerator)
    except msgspec.ValidationError as error:
        raise MquansError(
            f"this is no accelerator: {printable(str(error))}.",
            where=where,
            hint="docs/reference/accelerators.md lists all fields.",
        ) from error
    except (yaml.YAMLError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MquansError(
            f"this is not YAML: {printable(' '.join(str(error).split()))}.", where=where
        ) from error


def _is_yaml(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))

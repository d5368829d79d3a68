from collections.abc import Sequence
from typing import Annotated, Any

import numpy
from numpy.typing import NDArray


def available_isas() -> list[str]:
    """Instruction sets that this CPU has, slowest first."""

class Program:
    """A network compiled for the engine; weights packed once."""

    def __init__(self, isa: str, threads: int) -> None: ...

    def add_tensor(self, rows: int, width: int, channels: int, stored: bool = True) -> int: ...

    def add_view(self, base: int, first_channel: int, channels: int) -> int: ...

    def add_part(self, base: int, first: int, rows: int, width: int) -> int: ...

    def add_reshaped(self, base: int, rows: int, width: int, channels: int) -> int: ...

    def add_windows(self, base: int, count: int, taps: int, step: int) -> int: ...

    def add_constant(self, rows: int, width: int, channels: int, values: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> int: ...

    def add_quantized(self, x: int, limit: float, groups: int, inverse_delta: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], offset: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], mask: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], threshold: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], order: int = 0, externally_clocked: bool = False) -> int: ...

    def add_layer(self, name: str, input: int, y: int, groups: int, row_grid: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], row_taps: int, col_grid: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], col_taps: int, weights: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], weight_bits: int, scale: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], bias: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], activation: int, a: float, b: float, externally_clocked: bool = False) -> int: ...

    def add_recurrence(self, name: str, kind: int, reset_after: bool, clip: float, activations: Sequence[tuple[int, float, float]], peepholes: Sequence[float], lengths: Sequence[int], layers: Sequence[int], p: int, h: int, c: int, y: int, last_h: int, last_c: int) -> None: ...

    def add_input(self, tensor: int, row_offset: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], x_step: int, c_step: int) -> int: ...

    def add_output(self, tensor: int, row_offset: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], x_step: int, c_step: int) -> int: ...

    @property
    def motion_gate(self) -> float: ...

    @motion_gate.setter
    def motion_gate(self, arg: float, /) -> None: ...

    def finish(self) -> None: ...

    @property
    def pixel_inputs(self) -> list[bool]:
        """Of each input, whether it takes pixels of 8 bits as well."""

    @property
    def steps(self) -> list[str]: ...

    @property
    def weights_bytes(self) -> int: ...

    @property
    def layer_macs(self) -> list[int]:
        """
        MACs of one dense evaluation of each layer, taps on padding not counted.
        """

    @property
    def layer_inputs(self) -> list[int]: ...

def add_chain(arg0: Program, arg1: str, arg2: int, arg3: int, arg4: Sequence[tuple[int, int, float, float]], /) -> None: ...

def add_binary(arg0: Program, arg1: str, arg2: int, arg3: int, arg4: Sequence[int], arg5: int, arg6: Sequence[int], arg7: int, arg8: Sequence[int], /) -> None: ...

def add_concat(arg0: Program, arg1: str, arg2: Sequence[int], arg3: Sequence[Sequence[int]], arg4: int, arg5: int, arg6: Sequence[int], /) -> None: ...

def add_select(arg0: Program, arg1: str, arg2: Sequence[int], arg3: Sequence[int], arg4: Sequence[int], arg5: int, /) -> None: ...

def add_slice(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: Sequence[int], arg5: Sequence[int], arg6: int, arg7: Sequence[int], /) -> None: ...

def add_gather(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: Sequence[int], arg6: int, arg7: Sequence[int], /) -> None: ...

def add_pad(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: Sequence[int], arg5: int, arg6: float, arg7: int, arg8: Sequence[int], /) -> None: ...

def add_expand(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: Sequence[int], /) -> None: ...

def add_permute(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: Sequence[int], arg5: int, arg6: Sequence[int], /) -> None: ...

def add_alias(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: Sequence[int], /) -> None: ...

def add_window_marks(arg0: Program, arg1: str, arg2: int, arg3: int, arg4: int, arg5: int, /) -> None: ...

def add_copy(arg0: Program, arg1: str, arg2: int, arg3: int, /) -> None: ...

def add_pool(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: Sequence[int], arg6: Sequence[int], arg7: Sequence[int], arg8: Sequence[int], arg9: Sequence[int], arg10: bool, arg11: int, arg12: Sequence[int], /) -> None: ...

def add_reduce(arg0: Program, arg1: str, arg2: int, arg3: int, arg4: Sequence[int], arg5: Sequence[int], arg6: int, /) -> None: ...

def add_softmax(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: bool, arg6: bool, arg7: int, /) -> None: ...

def add_layer_norm(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: float, arg6: Sequence[float], arg7: Sequence[float], arg8: int, /) -> None: ...

def add_pixel_norm(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: float, arg6: int, /) -> None: ...

def add_matmul(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: Sequence[int], arg6: int, arg7: Sequence[int], /) -> None: ...

def add_resize(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: Sequence[tuple[Sequence[int], Sequence[int], Sequence[float]]], arg5: int, arg6: Sequence[int], /) -> None: ...

class Activation:
    """A function of codes, see codes.h."""

    def __init__(self, kind: int, low: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], high: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], slope: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], limit: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], left: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], right: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], gain: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], bound: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], rounding: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], table_a: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], table_b: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], table_c: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], line_slope: int, line_start: int, scale: int, start: int, coarser: bool, finer: bool, lookup: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], first: int) -> None: ...

class Gate:
    """Which sites are taken; without weights all that are computed."""

    def __init__(self, weight: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], largest: int, limit: int) -> None: ...

class Reach:
    """Which outputs a changed input reaches."""

    def __init__(self) -> None: ...

    @property
    def same(self) -> bool: ...

    @same.setter
    def same(self, arg: bool, /) -> None: ...

    def windows(self, row_begin: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], row_input: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_begin: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_output: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None: ...

class ConvPhase:
    """Output sites that share their taps."""

    def __init__(self, row_at: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_at: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], tap: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], inputs: int, weights: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], bias: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], shift: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], macs: int) -> None: ...

class WindowAxis:
    """The inputs that outputs read along one axis."""

    def __init__(self, grid: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], taps: int, weight: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], scale: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None: ...

class Operand:
    """A tensor (or -1: a constant) and how it is aligned, see codes.h."""

    def __init__(self, x: int, constant: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], limit: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], left: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], right: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None: ...

def add_join_sites(program: Program, name: str, parts: Sequence[int], y: int) -> None: ...

def add_move_sites(program: Program, name: str, x: int, y: int, reach: Reach, row: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], column: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], channel: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], fill: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None: ...

def add_window_sites(program: Program, name: str, x: int, y: int, reach: Reach, largest: bool, rows: WindowAxis, columns: WindowAxis, factor: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], limit: int, gate: Gate) -> None: ...

def add_align_sites(program: Program, name: str, y: int, a: Operand, activation: Activation, gate: Gate) -> None:
    """One operand and a function of it."""

def add_sum_sites(program: Program, name: str, y: int, a: Operand, b: Operand, activation: Activation, gate: Gate) -> None: ...

def add_product_sites(program: Program, name: str, y: int, a: Operand, b: Operand, start: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], shift: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], activation: Activation, gate: Gate) -> None: ...

def add_whole_sites(program: Program, name: str, y: int, a: int, b: int, product: bool, a_factor: int, b_factor: int, places: int, activation: Activation, gate: Gate) -> None:
    """Whole steps of the sum or product of two operands in whole steps."""

def add_code_tensor(program: Program, dims: Sequence[int], border: Sequence[int], channels: int, packed: bool = False) -> int: ...

def add_code_view(program: Program, base: int, first_channel: int, channels: int) -> int: ...

def code_tensor_layout(program: Program, id: int) -> tuple[list[int], int]:
    """(elements to the first site of every row, elements between sites)"""

def site_layers(program: Program) -> list[tuple[str, int, int, int, int]]:
    """
    (name, input, output, MACs of one dense evaluation, input values) of layers over sites
    """

def set_gate(program: Program, y: int, gate: Gate) -> None:
    """Another gate in front of a tensor of codes, between frames."""

def add_conv_sites(program: Program, name: str, x: int, y: int, reach: Reach, phases: Sequence[ConvPhase], activation: Activation, gate: Gate, groups: int, tiled: bool, scaled: bool, least: int | None, macs: int) -> None: ...

def add_depthwise_sites(program: Program, name: str, x: int, y: int, reach: Reach, row_at: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_at: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], tap: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], weights: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], bias: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], shift: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], narrow: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], activation: Activation, gate: Gate, scaled: bool, macs: int) -> None: ...

def add_input_sites(program: Program, name: str, input: int, y: int, inverse: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], least: int, largest: int, gate: Gate) -> None: ...

def add_picture_sites(program: Program, name: str, input: int, y: int, inverse: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], least: int, largest: int, factor: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], offset: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], scale: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], shift: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], gate: Gate, motion: Gate) -> None: ...

def add_encode_sites(program: Program, name: str, x: int, y: int, inverse: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], least: int, largest: int, gate: Gate) -> None: ...

def add_decode_sites(program: Program, name: str, x: int, y: int, unit: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None: ...

class Violation:
    @property
    def layer(self) -> int: ...

    @property
    def pixel(self) -> int: ...

    @property
    def output(self) -> int: ...

    @property
    def expected(self) -> int: ...

    @property
    def found(self) -> int: ...

class Stream:
    """Held values, accumulators and activations of one stream."""

    def __init__(self, program: Program) -> None: ...

    def clone(self) -> Stream: ...

    def reset(self) -> None: ...

    def begin_frame(self, inputs: Sequence[NDArray[Any]], keyframe: bool) -> bool:
        """
        The inputs of the frame that is run next; the arrays must live until that is done. False, with nothing changed, when one is not finite.
        """

    def step(self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[numpy.float32]], keyframe: bool) -> bool:
        """
        One frame in one call. False, with nothing changed, when an input is not finite.
        """

    def run(self, first: int, last: int, dense: bool, keep_held: bool) -> None:
        """
        Steps [first, last) only, for programs with fallback subgraphs and for recomputing.
        """

    def fetch(self, outputs: Sequence[Annotated[NDArray[numpy.float32], dict(order='C', device='cpu')]]) -> None: ...

    def read(self, tensor: int) -> NDArray[numpy.float32]: ...

    def mask_any(self, tensor: int) -> bool: ...

    def clear_mask(self, tensor: int) -> None: ...

    def write(self, tensor: int, values: Annotated[NDArray[numpy.float32], dict(order='C', device='cpu', writable=False)]) -> None:
        """
        Takes the output of a fallback subgraph, [rows][width][channels]; pixels that differ are marked.
        """

    @property
    def bytes(self) -> int: ...

    def write_codes(self, id: int, codes: Annotated[NDArray[numpy.int16], dict(order='C', device='cpu', writable=False)]) -> None:
        """Held codes [rows][width][channels] of a restored stream."""

    def read_codes(self, id: int) -> NDArray[numpy.int16]:
        """Held codes [rows][width][channels]."""

    def read_code_mask(self, id: int) -> NDArray[numpy.uint8]:
        """Sites that the last frame replaced, [rows][width] of 0 and 1."""

    def flip_code_bit(self, id: int, row: int, x: int, channel: int, bit: int) -> None:
        """Plants a fault in a held code, to test `verify`."""

    @property
    def site_reports(self) -> list[tuple[int, int, int, int]]:
        """
        (input sites replaced, sites computed, sites taken, MACs) of each layer over sites.
        """

    @property
    def held(self) -> NDArray[numpy.int16]: ...

    def set_held(self, held: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None: ...

    def layer_held(self, layer: int) -> NDArray[numpy.int16]: ...

    def layer_accumulators(self, layer: int) -> NDArray[numpy.int32]: ...

    def layer_changes(self, layer: int) -> NDArray[numpy.uint16]:
        """Changed inputs of the last frame, [rows][width][groups]."""

    def flip_bit(self, layer: int, index: int, bit: int) -> None:
        """Plants a fault in an accumulator, to test `verify`."""

    @property
    def busy_from(self) -> int: ...

    @busy_from.setter
    def busy_from(self, arg: int, /) -> None: ...

    @property
    def profile(self) -> bool: ...

    @profile.setter
    def profile(self, arg: bool, /) -> None: ...

    @property
    def step_ns(self) -> list[int]: ...

    @property
    def reports(self) -> list[tuple[int, int]]:
        """(changed inputs, MACs done) of each layer."""

    def check(self) -> Violation | None: ...

def keep_forever(object: object) -> None:
    """Never frees an object that must not be ended in this process."""

from collections.abc import Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray


def available_isas() -> list[str]:
    """Instruction sets that this CPU has, slowest first."""

class CostModel:
    """Picoseconds that kernels take, see cost_model.h."""

    def __init__(self) -> None:
        """Those of one machine."""

    @property
    def tile(self) -> int: ...

    @property
    def product(self) -> int: ...

    @property
    def update(self) -> int: ...

    @property
    def list(self) -> int: ...

    @property
    def pair(self) -> int: ...

    @property
    def change(self) -> int: ...

def measure_costs(isa: str) -> CostModel:
    """Times the kernels of an instruction set on this machine."""

class Program:
    """A network compiled for the engine; weights packed once."""

    def __init__(self, isa: str, threads: int, mode: str, costs: CostModel = ...) -> None: ...

    def add_tensor(self, rows: int, width: int, channels: int, stored: bool = True) -> int: ...

    def add_codes(self, rows: int, width: int, channels: int) -> int: ...

    def add_view(self, base: int, first_channel: int, channels: int) -> int: ...

    def add_reshaped(self, base: int, rows: int, width: int, channels: int) -> int: ...

    def add_constant(self, rows: int, width: int, channels: int, values: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> int: ...

    def add_quantized(self, x: int, limit: float, groups: int, inverse_delta: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], offset: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], mask: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], threshold: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], order: int = 0, driven: bool = False, pooled: int = -1) -> int: ...

    def add_layer(self, name: str, input: int, y: int, groups: int, depthwise: bool, row_grid: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], row_taps: int, col_grid: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], col_taps: int, weights: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], weight_bits: int, scale: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], bias: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], activation: int, a: float, b: float, driven: bool = False) -> int: ...

    def add_recurrence(self, name: str, kind: int, reset_after: bool, clip: float, activations: Sequence[tuple[int, float, float]], peepholes: Sequence[float], lengths: Sequence[int], layers: Sequence[int], p: int, h: int, c: int, y: int, last_h: int, last_c: int) -> None: ...

    def add_input(self, tensor: int, row_offset: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], x_step: int, c_step: int) -> int: ...

    def add_output(self, tensor: int, row_offset: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], x_step: int, c_step: int) -> int: ...

    def finish(self) -> None: ...

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

def add_unary(arg0: Program, arg1: str, arg2: int, arg3: int, arg4: int, arg5: float, arg6: float, /) -> None: ...

def add_binary(arg0: Program, arg1: str, arg2: int, arg3: int, arg4: Sequence[int], arg5: int, arg6: Sequence[int], arg7: int, arg8: Sequence[int], /) -> None: ...

def add_concat(arg0: Program, arg1: str, arg2: Sequence[int], arg3: Sequence[Sequence[int]], arg4: int, arg5: int, arg6: Sequence[int], /) -> None: ...

def add_select(arg0: Program, arg1: str, arg2: Sequence[int], arg3: Sequence[int], arg4: Sequence[int], arg5: int, /) -> None: ...

def add_slice(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: Sequence[int], arg5: Sequence[int], arg6: int, arg7: Sequence[int], /) -> None: ...

def add_gather(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: Sequence[int], arg6: int, arg7: Sequence[int], /) -> None: ...

def add_pad(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: Sequence[int], arg5: int, arg6: float, arg7: int, arg8: Sequence[int], /) -> None: ...

def add_expand(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: Sequence[int], /) -> None: ...

def add_permute(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: Sequence[int], arg5: int, arg6: Sequence[int], /) -> None: ...

def add_alias(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: Sequence[int], /) -> None: ...

def add_copy(arg0: Program, arg1: str, arg2: int, arg3: int, /) -> None: ...

def add_pool(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: Sequence[int], arg6: Sequence[int], arg7: Sequence[int], arg8: Sequence[int], arg9: Sequence[int], arg10: bool, arg11: int, arg12: Sequence[int], /) -> None: ...

def add_largest(arg0: Program, arg1: str, arg2: Sequence[int], arg3: Sequence[int], arg4: Sequence[int], arg5: Sequence[int], arg6: Sequence[int], arg7: Sequence[int], arg8: int, arg9: Sequence[int], /) -> None: ...

def add_reduce(arg0: Program, arg1: str, arg2: int, arg3: int, arg4: Sequence[int], arg5: Sequence[int], arg6: int, /) -> None: ...

def add_softmax(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: bool, arg6: int, /) -> None: ...

def add_layer_norm(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: float, arg6: Sequence[float], arg7: Sequence[float], arg8: int, /) -> None: ...

def add_matmul(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: int, arg5: Sequence[int], arg6: int, arg7: Sequence[int], /) -> None: ...

def add_resize(arg0: Program, arg1: str, arg2: int, arg3: Sequence[int], arg4: Sequence[tuple[Sequence[int], Sequence[int], Sequence[float]]], arg5: int, arg6: Sequence[int], /) -> None: ...

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

    def bring(self, index: int, values: Annotated[NDArray[numpy.float32], dict(order='C', device='cpu', writable=False)]) -> None:
        """
        An input of the frame that is run next; the array must live until that is done.
        """

    def step(self, inputs: Sequence[Annotated[NDArray[numpy.float32], dict(order='C', device='cpu', writable=False)]], outputs: Sequence[Annotated[NDArray[numpy.float32], dict(order='C', device='cpu')]], snap: bool) -> bool:
        """
        One frame in one call. False, with nothing changed, when an input is not finite.
        """

    def run(self, first: int, last: int, snap: bool, keep_held: bool) -> None:
        """Steps [first, last) only, for programs with islands and for refresh."""

    def fetch(self, outputs: Sequence[Annotated[NDArray[numpy.float32], dict(order='C', device='cpu')]]) -> None: ...

    def read(self, tensor: int) -> NDArray[numpy.float32]: ...

    def mask_any(self, tensor: int) -> bool: ...

    def clear_mask(self, tensor: int) -> None: ...

    def write(self, tensor: int, values: Annotated[NDArray[numpy.float32], dict(order='C', device='cpu', writable=False)]) -> None:
        """
        Brings an island's output in, [rows][width][channels]; pixels that differ are marked.
        """

    @property
    def bytes(self) -> int: ...

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
    def profile(self) -> bool: ...

    @profile.setter
    def profile(self, arg: bool, /) -> None: ...

    @property
    def step_ns(self) -> list[int]: ...

    @property
    def reports(self) -> list[tuple[int, int, int, int]]:
        """
        (changed inputs, MACs done, rows by change, rows afresh) of each layer.
        """

    def check(self) -> Violation | None: ...

"""The closed operator set: what a network may be made of once it is imported.

Every operator is a frozen dataclass of its attributes. Tensors are float32 in the logical axis
order of ONNX (batch, channels, space...); `B` = batch, `C` = channels, `K`/`N` = features in/out.
All attributes are resolved: no auto_pad, no negative axes, no dynamic sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

UnaryKind = Literal[
    "relu", "leaky_relu", "clip", "sigmoid", "silu", "hard_sigmoid", "hard_swish", "tanh", "elu",
    "selu", "gelu", "gelu_tanh", "softplus", "mish", "exp", "log", "sqrt", "abs", "neg",
    "reciprocal", "erf", "floor", "ceil", "round", "sign", "softsign", "sin", "cos", "quantize",
]  # fmt: skip
RecurrenceKind = Literal["lstm", "gru", "rnn"]
BinaryKind = Literal[
    "add", "sub", "mul", "div", "max", "min", "pow", "prelu", "equal", "less", "mask",
]  # fmt: skip
ReduceKind = Literal["mean", "sum", "max", "min", "prod", "l1", "l2", "sum_square"]


@dataclass(frozen=True, slots=True)
class Unary:
    """`y = f(x)` elementwise; also the activation fused behind a reuse layer.

    params: leaky_relu, elu (alpha); clip (low, high; +-inf when open); hard_sigmoid (alpha, beta);
    selu (alpha, gamma); quantize (low, high: whole numbers that the rounded x is clipped to); none
    for the others.
    """

    kind: UnaryKind
    params: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution over 1 to 3 axes. Inputs: x [B, C, space...], weight [O, C/groups, kernel...],
    optional bias [O]; weight and bias are constants. pads: all begins, then all ends."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int = 1
    activation: Unary | None = None


@dataclass(frozen=True, slots=True)
class ConvTranspose:
    """Transposed convolution. Inputs: x [B, C, space...], weight [C, O/groups, kernel...], optional
    bias [O]; weight and bias are constants. pads: all begins, then all ends."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int = 1
    activation: Unary | None = None


@dataclass(frozen=True, slots=True)
class Linear:
    """`y = x @ weight + bias`. Inputs: x [..., K], weight [K, N], optional bias [N]; the latter two
    are constants. Gemm and MatMul with a constant become this.

    batch: 0 when every row of x is compared with the same row of the last frame. Else the rows of a
    frame are a sequence in time, `batch` rows per time step, and each is compared with the row
    `batch` before it (the first ones with the last of the frame before).
    """

    activation: Unary | None = None
    batch: int = 0


GATES: dict[RecurrenceKind, int] = {"lstm": 4, "gru": 3, "rnn": 1}
"""Outputs of a recurrent product per hidden unit. ONNX order: lstm i, o, f, c; gru z, r, h."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The recurrent half of an ONNX LSTM, GRU or RNN in one direction; its input product is a
    Linear before it.

    T = time steps, B = batch, H = hidden units, G = gates (`GATES`).

    Inputs: p [T, B, G*H], the input product with every bias that is only added to it; weight
    [H, G*H], constant; bias [G*H], constant or absent, added to the recurrent product; h [B, H];
    for lstm c [B, H]; for lstm peepholes [3*H] (i, o, f), constant or absent. An absent h or c is
    zero.
    Outputs: y [T, B, H]; last h [B, H]; for lstm last c [B, H].

    Attributes:
        reverse: time runs from the last row of p to the first; y keeps p's order.
        activations: f, g, h of ONNX (lstm 3, gru 2, rnn 1).
        clip: bound of the sums before activations, or None.
        reset_after: gru: the reset gate scales the recurrent product (ONNX linear_before_reset)
            instead of the state that it is taken of.
        lengths: valid time steps of each batch row, or () for all; outputs beyond are zero.
    """

    kind: RecurrenceKind
    activations: tuple[Unary, ...]
    reverse: bool = False
    clip: float | None = None
    reset_after: bool = False
    lengths: tuple[int, ...] = ()

    @property
    def states(self) -> int:
        """Vectors that the recurrent product reads per hidden unit: h, and for a gru that resets
        before the product also the reset h."""
        return 2 if self.kind == "gru" and not self.reset_after else 1


@dataclass(frozen=True, slots=True)
class Binary:
    """`y = f(a, b)` elementwise with numpy broadcasting. prelu: a >= 0 ? a : a * b; equal and less:
    1 where a == b, a < b, else 0; mask: b != 0 ? a : 0, whatever a is."""

    kind: BinaryKind


@dataclass(frozen=True, slots=True)
class Concat:
    axis: int


@dataclass(frozen=True, slots=True)
class Slice:
    """`x[starts:stops:steps]`, one entry per axis. With a negative step, stop -1 stands for
    'through index 0'."""

    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Gather:
    """`numpy.take(x, indices, axis)` with constant 1-D indices (>= 0); rank is kept."""

    axis: int
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pad:
    """pads: all begins, then all ends, >= 0 (negative pads become Slice)."""

    pads: tuple[int, ...]
    mode: Literal["constant", "reflect", "edge"] = "constant"
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """Windowed max or average over the spatial axes of [B, C, space...]. ceil_mode is resolved into
    the output shape; windows are clipped to the padded input as ONNX defines."""

    kind: Literal["max", "average"]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    ceil_mode: bool = False
    count_include_pad: bool = False


@dataclass(frozen=True, slots=True)
class Reduce:
    kind: ReduceKind
    axes: tuple[int, ...]
    keepdims: bool


@dataclass(frozen=True, slots=True)
class Resize:
    """Resampling as ONNX Resize defines it; scales has one entry per axis, as ONNX would use them
    in coordinate transforms (for given sizes: output / input)."""

    mode: Literal["nearest", "linear", "cubic"]
    coordinates: Literal[
        "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"
    ]
    rounding: Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
    scales: tuple[float, ...]
    sizes: tuple[int, ...]
    cubic_coeff: float = -0.75
    exclude_outside: bool = False


@dataclass(frozen=True, slots=True)
class Reshape:
    """Also Flatten, Squeeze, Unsqueeze. Row-major, no copies or -1 left."""

    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Transpose:
    perm: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Expand:
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Softmax:
    """nan_is_zero: what would be NaN, as it is where a mask leaves nothing to see, is 0."""

    axis: int
    log: bool = False
    nan_is_zero: bool = False


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """Normalise over axes >= axis. Inputs: x, scale, optional bias; the latter two are constants of
    x.shape[axis:]."""

    axis: int
    epsilon: float


@dataclass(frozen=True, slots=True)
class MatMul:
    """Batched product, numpy.matmul semantics, both operands of rank >= 2. At least one of them is
    computed; a constant one has leading axes of its own, or it would be a Linear."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """Nodes that only onnxruntime can run, as one self-contained model whose inputs and outputs
    carry the names of the graph's values, in order. `reason` says why, for `mquans inspect`; `macs`
    are those of one evaluation, of operators that are known to have any.

    Only fallback subgraphs make values of other types than float32, or with sizes that depend on
    the data (-1 in their shape), and only fallback subgraphs read them: graph outputs, and values
    between two fallback subgraphs."""

    model: bytes
    op_types: tuple[str, ...]
    reason: str
    macs: int = 0


Operator = (
    Conv | ConvTranspose | Linear | Recurrence | Unary | Binary | Concat | Slice | Gather | Pad
    | Pool | Reduce | Resize | Reshape | Transpose | Expand | Softmax | LayerNorm | MatMul
    | Fallback
)  # fmt: skip

ReuseOperator = Conv | ConvTranspose | Linear | Recurrence
"""Layers whose work is proportional to changed inputs."""

Array = npt.NDArray[np.generic]

"""Rules for quantized networks: QuantizeLinear and DequantizeLinear around operators of floats,
integer operators, and dynamic quantization.

A quantized value is computed as what it stands for. Weights are dequantized at import. What an
operator rounds its result to is a rounding in units of its scale, which layers over sites do on
codes; the scale itself goes into the weights of the layers around (decision 39).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mquans.graph import (
    Binary,
    BinaryKind,
    Concat,
    Linear,
    MatMul,
    Operator,
    Pool,
    Reduce,
    Softmax,
    Transpose,
    Unary,
)
from mquans.onnx.call import Call, Refused, Rule, normalise
from mquans.onnx.grids import Grid
from mquans.onnx.rules.recurrent import recurrent
from mquans.onnx.rules.windows import read_convolution, read_windows

Array = npt.NDArray[np.generic]

ROUNDED = 8
"""Bits of the widest integers whose rounding is kept; finer ones are within what codes round."""

UNSCALED = 1.0


def quantize_linear(call: Call) -> None:
    _finish(call, call.value(), _grid(call, 1, 2, call.attribute("output_dtype", 0)))


def dequantize_linear(call: Call) -> None:
    call.copy(_real(call, 0, _grid(call, 1, 2)))
    call.declare("float32", _grid(call, 1, 2))


def conv(call: Call) -> None:
    """QLinearConv: x, scale, zero, weight, scale, zero, scale and zero of the result, bias."""
    weight = _weight(call, 3, 4, 5, axis=0)
    bias: tuple[str, ...] = ()
    if call.has(8):
        unit = _number(call, 1) * call.constant(4).astype(np.float64)
        bias = (call.add_constant("bias", call.constant(8).astype(np.float64) * unit),)
    result = _convolved(call, _real(call, 0, _grid(call, 1, 2)), weight, *bias)
    _finish(call, result, _grid(call, 6, 7))


def conv_integer(call: Call) -> None:
    weight = call.constant(1, "the weight").astype(np.float64) - _zeros(call, 3, 1, axis=0)
    call.copy(_convolved(call, _steps(call, 0, 2), weight))
    call.declare("int32")


def matmul(call: Call) -> None:
    """QLinearMatMul: a, scale, zero, b, scale, zero, scale and zero of the result."""
    a = _real(call, 0, _grid(call, 1, 2))
    if call.is_constant(3):
        b = call.add_constant("weight", _weight(call, 3, 4, 5, axis=-1))
    else:
        b = _real(call, 3, _grid(call, 4, 5))
    _finish(call, _product(call, a, b), _grid(call, 6, 7))


def matmul_integer(call: Call) -> None:
    a = _steps(call, 0, 2)
    if call.is_constant(1):
        weight = call.constant(1).astype(np.float64) - _zeros(call, 3, 1, axis=-1)
        b = call.add_constant("weight", weight)
    else:
        b = _steps(call, 1, 3)
    call.copy(_product(call, a, b))
    call.declare("int32")


def gemm(call: Call) -> None:
    """QGemm: a, scale, zero, b, scale, zero, bias, and where the result is quantized its own."""
    if not call.is_constant(3):
        raise Refused("the weight is computed, not constant")
    columns = 0 if call.attribute("transB", 0) else 1
    weight = float(call.attribute("alpha", 1.0)) * _weight(call, 3, 4, 5, axis=columns)
    a = _real(call, 0, _grid(call, 1, 2))
    if call.attribute("transA", 0):
        a = call.emit("turned", Transpose((1, 0)), a)
    bias: tuple[str, ...] = ()
    if call.has(6):
        unit = float(call.attribute("alpha", 1.0)) * _number(call, 1)
        values = call.constant(6).astype(np.float64) * unit * _along(call.constant(4), 1, 0)
        features = weight.shape[columns]
        bias = (call.add_constant("bias", np.broadcast_to(values.reshape(-1), (features,))),)
    b = call.add_constant("weight", weight if columns else weight.T)
    result = call.emit("product", Linear(), a, b, *bias)
    if call.has(7):
        _finish(call, result, _grid(call, 7, 8))
    else:
        call.copy(result)
        call.declare("float32")


def matmul_bits(call: Call) -> None:
    """MatMulNBits: a, weights packed in blocks along the inputs, scale and zero of each block, an
    order of the inputs, and a bias."""
    if call.has(4):
        raise Refused("the inputs of its blocks have an order of their own")
    bits, block = int(call.attribute("bits", 4)), int(call.attribute("block_size"))
    inputs, outputs = int(call.attribute("K")), int(call.attribute("N"))
    blocks = -(-inputs // block)
    steps = _unpacked(call.constant(1, "the weight"), bits).reshape(outputs, blocks, block)
    scales = call.constant(2, "the scales").astype(np.float64).reshape(outputs, blocks, 1)
    zeros = np.asarray(float(1 << (bits - 1)))
    if call.has(3):
        given = call.constant(3, "the zeros")
        # Rows of packed ones end on a whole byte.
        rows = _unpacked(given.reshape(outputs, -1), bits) if given.dtype == np.uint8 else given
        zeros = rows.astype(np.float64).reshape(outputs, -1)[:, :blocks, None]
    weight = ((steps - zeros) * scales).reshape(outputs, -1)[:, :inputs]
    bias = (call.value(5),) if call.has(5) else ()
    call.finish(Linear(), call.value(), call.add_constant("weight", weight.T), *bias)


def _unpacked(packed: Array, bits: int) -> npt.NDArray[np.float64]:
    """Numbers of 2, 4 or 8 bits out of bytes, the lowest first, along the last axis."""
    shifts = np.arange(0, 8, bits)
    numbers = (packed.astype(np.int64)[..., None] >> shifts) & ((1 << bits) - 1)
    return numbers.reshape(*packed.shape[:-1], -1).astype(np.float64)


def dynamic(call: Call) -> None:
    """What follows reads the values themselves: ranges of a single frame would change all codes
    with every frame, and leave nothing to reuse."""
    if not call.only_read_by("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat"):
        raise Refused("its codes are read by other operators than integer products")
    if call.is_looked_at():
        raise Refused("its scale, or a sum of its codes, is read as a number")
    call.copy(call.value())
    call.declare("uint8", Grid(UNSCALED, 0, "uint8"))
    call.fold(1, np.array(UNSCALED, np.float32))
    call.fold(2, np.array(0, np.uint8))


def lstm(call: Call) -> None:
    """DynamicQuantizeLSTM: the inputs of an LSTM, whose weights are [directions, inputs, outputs],
    then scale and zero of both."""
    weights = [
        call.add_constant(label, np.swapaxes(_of_directions(call, index, scale), 1, 2))
        for label, index, scale in (("W", 1, 8), ("R", 2, 10))
    ]
    recurrent(call.standing_for("LSTM", [call.value(), *weights, *call.inputs[3:8]]))


def _of_directions(call: Call, index: int, scale: int) -> npt.NDArray[np.float64]:
    """Weights of a recurrent layer, with one scale per direction or per output."""
    weight = call.constant(index, "the weight").astype(np.float64)
    scales, zeros = (
        call.constant(at).astype(np.float64).reshape(len(weight), 1, -1)
        for at in (scale, scale + 1)
    )
    return np.asarray((weight - zeros) * scales)


def arithmetic(call: Call) -> None:
    """QLinearAdd, QLinearMul: a, scale, zero, b, scale, zero, scale and zero of the result."""
    kind: BinaryKind = "add" if call.op_type == "QLinearAdd" else "mul"
    a, b = (_real(call, first, _grid(call, first + 1, first + 2)) for first in (0, 3))
    _finish(call, call.emit("real", Binary(kind), a, b), _grid(call, 6, 7))


def function(call: Call) -> None:
    """QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax: x, scale, zero, those of the result."""
    op: Operator
    match call.op_type:
        case "QLinearSigmoid":
            op = Unary("sigmoid")
        case "QLinearLeakyRelu":
            op = Unary("leaky_relu", (float(call.attribute("alpha", 0.01)),))
        case _:
            op = Softmax(call.axis(-1))
            if call.attribute("opset", 13) < 13 and op.axis != len(call.shape()) - 1:
                raise Refused("a softmax over several axes")
    x = _real(call, 0, _grid(call, 1, 2))
    _finish(call, call.emit("real", op, x), _grid(call, 3, 4))


def pool(call: Call) -> None:
    """QLinearAveragePool, QLinearGlobalAveragePool: x, scale, zero, those of the result."""
    if call.attribute("channels_last", 0):
        raise Refused("channels last")
    op: Operator = Reduce("mean", tuple(range(2, len(call.shape()))), True)
    if call.op_type == "QLinearAveragePool":
        windows = read_windows(call, tuple(call.attribute("kernel_shape")))
        op = Pool(
            kind="average",
            kernel=windows.kernel,
            strides=windows.strides,
            pads=windows.pads,
            dilations=windows.dilations,
            ceil_mode=bool(call.attribute("ceil_mode", 0)),
            count_include_pad=bool(call.attribute("count_include_pad", 0)),
        )
    x = _real(call, 0, _grid(call, 1, 2))
    _finish(call, call.emit("real", op, x), _grid(call, 3, 4))


def concat(call: Call) -> None:
    """QLinearConcat: scale and zero of the result, then x, scale, zero of every part."""
    parts = [
        _real(call, first, _grid(call, first + 1, first + 2))
        for first in range(2, len(call.inputs), 3)
    ]
    axis = normalise(int(call.attribute("axis")), len(call.shape(2)))
    _finish(call, call.emit("real", Concat(axis), *parts), _grid(call, 0, 1))


def _convolved(call: Call, x: str, weight: npt.NDArray[np.float64], *bias: str) -> str:
    if not 1 <= weight.ndim - 2 <= 3:
        raise Refused(f"a convolution over {weight.ndim - 2} axes")
    op = read_convolution(call, weight.shape[2:])
    return call.emit("product", op, x, call.add_constant("weight", weight), *bias)


def _product(call: Call, a: str, b: str) -> str:
    is_layer = call.is_known(b) and len(call.shape_of(b)) == 2
    if min(len(call.shape_of(a)), len(call.shape_of(b))) < 2:
        raise Refused("a product with a vector")
    return call.emit("product", Linear() if is_layer else MatMul(), a, b)


def _finish(call: Call, real: str, grid: Grid) -> None:
    """The result on its grid: rounded and clipped in units of the scale. A function that only cuts
    off goes into the clip."""
    low, high = float(grid.low), float(grid.high)
    if call.grid_of(real) == grid:
        call.copy(real)
    elif np.iinfo(grid.dtype).bits > ROUNDED:
        call.finish(Unary("clip", (low * grid.scale, high * grid.scale)), real)
    else:
        while (cut := call.cut_off_by(real)) is not None:
            least, most = (bound / grid.scale for bound in cut.bounds)
            if least > 0 or most < 0:
                break
            low, high, real = max(low, _whole(least)), min(high, _whole(most)), cut.source
        scale = call.add_constant("scale", np.array(grid.scale))
        steps = call.emit("steps", Binary("div"), real, scale)
        whole = call.emit("whole", Unary("quantize", (low, high)), steps)
        call.finish(Binary("mul"), whole, scale)
    call.declare(grid.dtype, grid)


def _whole(bound: float) -> float:
    return bound if math.isinf(bound) else float(np.rint(bound))


def _real(call: Call, index: int, grid: Grid) -> str:
    """What the codes of an input stand for."""
    if call.is_constant(index):
        steps = call.constant(index).astype(np.float64) - grid.zero
        return call.add_constant(f"real{index}", steps * grid.scale)
    known = call.grid_of(call.value(index))
    if known == grid:
        return call.value(index)
    if known is not None:
        raise Refused("it reads codes with another scale than they were made with")
    value = call.value(index)
    if grid.zero:
        zero = call.add_constant(f"zero{index}", np.array(grid.zero))
        value = call.emit(f"steps{index}", Binary("sub"), value, zero)
    scale = call.add_constant(f"scale{index}", np.array(grid.scale))
    return call.emit(f"real{index}", Binary("mul"), value, scale)


def _steps(call: Call, index: int, zero: int) -> str:
    """The codes of an input counted from their zero."""
    known = call.grid_of(call.value(index))
    start = int(_number(call, zero)) if call.has(zero) else 0
    if known is None:
        return _real(call, index, Grid(UNSCALED, start, call.dtype(index)))
    if known.zero != start:
        raise Refused("it reads codes with another zero than they were made with")
    if known.scale == UNSCALED:
        return call.value(index)
    scale = call.add_constant(f"scale{index}", np.array(known.scale))
    return call.emit(f"steps{index}", Binary("div"), call.value(index), scale)


def _grid(call: Call, scale: int, zero: int, code: int = 0) -> Grid:
    """The grid that two inputs describe; without a zero, of uint8 or an ONNX type."""
    start, dtype = 0, call.type_name(code) if code else "uint8"
    if call.has(zero):
        start, dtype = int(_number(call, zero)), str(call.constant(zero).dtype)
    if dtype not in ("int8", "uint8", "int16", "uint16", "int4", "uint4"):
        raise Refused(f"it quantizes to {dtype}")
    return Grid(float(_number(call, scale)), start, dtype)


def _number(call: Call, index: int) -> float:
    array = call.constant(index, "a scale or zero")
    if array.size != 1:
        raise Refused("a computed value has a scale per channel")
    return float(array.reshape(-1)[0])


def _weight(call: Call, index: int, scale: int, zero: int, *, axis: int) -> npt.NDArray[np.float64]:
    """A dequantized weight, whose scales go along an axis."""
    weight = call.constant(index, "the weight").astype(np.float64)
    steps = weight - _zeros(call, zero, index, axis=axis)
    return np.asarray(steps * _along(call.constant(scale), weight.ndim, axis))


def _zeros(call: Call, zero: int, weight: int, *, axis: int) -> npt.NDArray[np.float64]:
    if not call.has(zero):
        return np.zeros(())
    return _along(call.constant(zero), call.constant(weight).ndim, axis)


def _along(array: Array, rank: int, axis: int) -> npt.NDArray[np.float64]:
    """One number per channel as an operand of an array of so many axes."""
    values = array.astype(np.float64)
    if values.size == 1:
        return values.reshape(())
    if values.ndim > 1:
        return values
    return values.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


RULES: dict[str, Rule] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "DynamicQuantizeLinear": dynamic,
    "QLinearConv": conv,
    "QLinearMatMul": matmul,
    "ConvInteger": conv_integer,
    "MatMulInteger": matmul_integer,
}

MICROSOFT: dict[str, Rule] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "DynamicQuantizeLSTM": lstm,
    "QGemm": gemm,
    "MatMulNBits": matmul_bits,
    "QLinearAdd": arithmetic,
    "QLinearMul": arithmetic,
    "QLinearSigmoid": function,
    "QLinearLeakyRelu": function,
    "QLinearSoftmax": function,
    "QLinearAveragePool": pool,
    "QLinearGlobalAveragePool": pool,
    "QLinearConcat": concat,
}
"""Of the domain com.microsoft, which onnxruntime's quantizers write."""

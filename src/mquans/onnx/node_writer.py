"""Writing single nodes of the closed set as ONNX nodes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from mquans.graph import (
    Binary,
    BinaryKind,
    Concat,
    Conv,
    ConvTranspose,
    Expand,
    Gather,
    Graph,
    LayerNorm,
    Linear,
    MatMul,
    Node,
    Pad,
    Pool,
    Recurrence,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    Transpose,
    Unary,
    free_name,
)
from mquans.onnx.recurrence_writer import RecurrenceWriter, absorbed_products
from mquans.onnx.scopes import rename

UNARY = {
    "relu": "Relu", "leaky_relu": "LeakyRelu", "sigmoid": "Sigmoid", "hard_sigmoid": "HardSigmoid",
    "hard_swish": "HardSwish", "tanh": "Tanh", "elu": "Elu", "selu": "Selu", "gelu": "Gelu",
    "gelu_tanh": "Gelu", "softplus": "Softplus", "mish": "Mish", "exp": "Exp", "log": "Log",
    "sqrt": "Sqrt", "abs": "Abs", "neg": "Neg", "reciprocal": "Reciprocal", "erf": "Erf",
    "floor": "Floor", "ceil": "Ceil", "round": "Round", "sign": "Sign", "softsign": "Softsign",
    "sin": "Sin", "cos": "Cos",
}  # fmt: skip
"""ONNX operator per function; clip and silu are written in their own way."""

COMPARISONS = {"equal": "Equal", "less": "Less"}

PARAMETERS = {
    "leaky_relu": ("alpha",),
    "elu": ("alpha",),
    "hard_sigmoid": ("alpha", "beta"),
    "selu": ("alpha", "gamma"),
}
"""Attribute names of `Unary.params`."""

BINARY = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min",
    "pow": "Pow", "prelu": "PRelu",
}  # fmt: skip

REDUCE = {
    "mean": "ReduceMean", "sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin",
    "prod": "ReduceProd", "l1": "ReduceL1", "l2": "ReduceL2", "sum_square": "ReduceSumSquare",
}  # fmt: skip

COUNT_FROM_FRONT = np.iinfo(np.int64).min
"""Slice end that means 'through index 0' when the step is negative."""


class NodeWriter:
    """Collects ONNX nodes and initializers.

    Attributes:
        wanted: values that are to be returned.
        nodes: written so far, in order.
        initializers: constants and attributes that newer opsets take as inputs.
    """

    def __init__(self, graph: Graph, wanted: Iterable[str] = ()) -> None:
        self.wanted = frozenset(wanted)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, npt.NDArray[np.generic]] = {}
        self._graph = graph
        self._names = set(graph.types) | self.wanted
        self._absorbed = absorbed_products(graph, self.wanted)

    def write(self, node: Node) -> None:
        """Write a node that is not a fallback subgraph."""
        if node.outputs[0] in self._absorbed:
            return
        if isinstance(node.op, Recurrence):
            RecurrenceWriter(self, self._graph, node, self._absorbed.get(node.inputs[0])).write()
            return
        for value in node.inputs:
            if value in self._graph.constants:
                self.initializers[value] = self._graph.constants[value]
        x, y = node.inputs[0], node.outputs[0]
        match node.op:
            case Conv() | ConvTranspose() | Linear():
                self._layer(node)
            case Unary():
                self.unary(node.op, x, y)
            case Pool():
                self._pool(node.op, x, y)
            case Resize():
                self._resize(node.op, x, y)
            case LayerNorm(axis, epsilon):
                self.add("LayerNormalization", node.inputs, y, axis=axis, epsilon=epsilon)
            case Binary(kind):
                self._binary(kind, node.inputs, y)
            case MatMul():
                self.add("MatMul", node.inputs, y)
            case Concat(axis):
                self.add("Concat", node.inputs, y, axis=axis)
            case _:
                self._data_movement(node.op, x, y)

    def fallback(self, node: Node, model: onnx.ModelProto) -> None:
        """Write the nodes of a fallback subgraph; values inside it get names that are free here."""
        border = [value.name for value in [*model.graph.input, *model.graph.output]]
        names = dict(zip(border, [*node.inputs, *node.outputs], strict=True))
        inner = [tensor.name for tensor in model.graph.initializer]
        inner += [value for proto in model.graph.node for value in proto.output if value]
        for name in inner:
            if name not in names:
                names[name] = self.new(f"{node.name}/{name}")
        for tensor in model.graph.initializer:
            self.initializers[names[tensor.name]] = numpy_helper.to_array(tensor)
        for proto in model.graph.node:
            rename(proto, names)
            # A network that is written once per time step has every subgraph as often.
            proto.name = next(filter(None, proto.output))
            self.nodes.append(proto)

    def add(self, kind: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> None:
        """Append an ONNX node, named like its first output."""
        node = onnx.helper.make_node(
            kind, list(inputs), list(outputs), name=outputs[0], **attributes
        )
        self.nodes.append(node)

    def new(self, name: str) -> str:
        """Reserve a value name that is not taken."""
        name = free_name(name, self._names)
        self._names.add(name)
        return name

    def _ints(self, name: str, values: tuple[int, ...]) -> str:
        return self.initializer(name, np.array(values, np.int64))

    def initializer(self, name: str, array: npt.NDArray[np.generic]) -> str:
        """Store an array under a name like the given one; returns that name."""
        name = self.new(name)
        self.initializers[name] = array
        return name

    def _layer(self, node: Node) -> None:
        op, y = node.op, node.outputs[0]
        assert isinstance(op, Conv | ConvTranspose | Linear)
        linear = y if op.activation is None else self.new(f"{y}/linear")
        if isinstance(op, Linear):
            product = linear if len(node.inputs) < 3 else self.new(f"{y}/product")
            self.add("MatMul", node.inputs[:2], product)
            if product != linear:
                self.add("Add", (product, node.inputs[2]), linear)
        else:
            attributes: dict[str, Any] = {
                "kernel_shape": op.kernel,
                "strides": op.strides,
                "pads": op.pads,
                "dilations": op.dilations,
                "group": op.groups,
            }
            if isinstance(op, ConvTranspose):
                attributes["output_padding"] = op.output_padding
            self.add(type(op).__name__, node.inputs, linear, **attributes)
        if op.activation is not None:
            self.unary(op.activation, linear, y)

    def unary(self, op: Unary, x: str, y: str) -> None:
        """Write an elementwise function."""
        if op.kind == "quantize":
            whole = self.new(f"{y}/whole")
            self.add("Round", (x,), whole)
            self.unary(Unary("clip", op.params), whole, y)
        elif op.kind == "clip":
            bounds = [
                ""
                if math.isinf(bound)
                else self.initializer(f"{y}/{name}", np.array(bound, np.float32))
                for name, bound in zip(("low", "high"), op.params, strict=True)
            ]
            self.add("Clip", (x, *bounds), y)
        elif op.kind == "silu":
            gate = self.new(f"{y}/gate")
            self.add("Sigmoid", (x,), gate)
            self.add("Mul", (x, gate), y)
        else:
            attributes: dict[str, Any] = dict(
                zip(PARAMETERS.get(op.kind, ()), op.params, strict=True)
            )
            if op.kind == "gelu_tanh":
                attributes["approximate"] = "tanh"
            self.add(UNARY[op.kind], (x,), y, **attributes)

    def _binary(self, kind: BinaryKind, inputs: Sequence[str], y: str) -> None:
        if kind == "mask":
            mask = self.new(f"{y}/mask")
            self.add("Cast", inputs[1:], mask, to=onnx.TensorProto.BOOL)
            zero = self.initializer(f"{y}/zero", np.array(0, np.float32))
            self.add("Where", (mask, inputs[0], zero), y)
        elif kind in COMPARISONS:
            truth = self.new(f"{y}/truth")
            self.add(COMPARISONS[kind], inputs, truth)
            self.add("Cast", (truth,), y, to=onnx.TensorProto.FLOAT)
        else:
            self.add(BINARY[kind], inputs, y)

    def _pool(self, op: Pool, x: str, y: str) -> None:
        attributes: dict[str, Any] = {
            "kernel_shape": op.kernel,
            "strides": op.strides,
            "pads": op.pads,
            "dilations": op.dilations,
            "ceil_mode": int(op.ceil_mode),
        }
        if op.kind == "average":
            attributes["count_include_pad"] = int(op.count_include_pad)
        self.add("AveragePool" if op.kind == "average" else "MaxPool", (x,), y, **attributes)

    def _resize(self, op: Resize, x: str, y: str) -> None:
        shape = self._graph.shape(x)
        ratios = [np.float32(out) / np.float32(n) for out, n in zip(op.sizes, shape, strict=True)]
        if ratios == [np.float32(scale) for scale in op.scales]:
            inputs = (x, "", "", self._ints(f"{y}/sizes", op.sizes))
        else:
            inputs = (x, "", self.initializer(f"{y}/scales", np.array(op.scales, np.float32)), "")
        self.add(
            "Resize",
            inputs,
            y,
            mode=op.mode,
            coordinate_transformation_mode=op.coordinates,
            nearest_mode=op.rounding,
            cubic_coeff_a=op.cubic_coeff,
            exclude_outside=int(op.exclude_outside),
        )

    def _data_movement(self, op: object, x: str, y: str) -> None:
        match op:
            case Slice(starts, stops, steps):
                ends = tuple(
                    COUNT_FROM_FRONT if step < 0 and stop < 0 else stop
                    for stop, step in zip(stops, steps, strict=True)
                )
                axes = tuple(range(len(starts)))
                parts = (("starts", starts), ("stops", ends), ("axes", axes), ("steps", steps))
                names = [self._ints(f"{y}/{name}", values) for name, values in parts]
                self.add("Slice", (x, *names), y)
            case Gather(axis, indices):
                self.add("Gather", (x, self._ints(f"{y}/indices", indices)), y, axis=axis)
            case Pad(pads, mode, value):
                inputs: tuple[str, ...] = (x, self._ints(f"{y}/pads", pads))
                if mode == "constant":
                    fill = np.array(value, np.float32)
                    inputs += (self.initializer(f"{y}/value", fill),)
                self.add("Pad", inputs, y, mode=mode)
            case Reduce(kind, axes, keepdims):
                inputs = (x, self._ints(f"{y}/axes", axes))
                # Without axes ONNX would reduce all of them.
                flags = {"keepdims": int(keepdims), "noop_with_empty_axes": int(not axes)}
                self.add(REDUCE[kind], inputs, y, **flags)
            case Reshape(shape):
                self.add("Reshape", (x, self._ints(f"{y}/shape", shape)), y, allowzero=1)
            case Transpose(perm):
                self.add("Transpose", (x,), y, perm=perm)
            case Expand(shape):
                self.add("Expand", (x, self._ints(f"{y}/shape", shape)), y)
            case Softmax(axis, log, nan_is_zero):
                made = self.new(f"{y}/softmax") if nan_is_zero else y
                self.add("LogSoftmax" if log else "Softmax", (x,), made, axis=axis)
                if nan_is_zero:
                    wrong = self.new(f"{y}/nan")
                    self.add("IsNaN", (made,), wrong)
                    zero = self.initializer(f"{y}/zero", np.zeros((), np.float32))
                    self.add("Where", (wrong, zero, made), y)
            case _:
                raise TypeError(f"{op} cannot be written as ONNX")

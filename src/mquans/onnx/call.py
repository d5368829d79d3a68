"""What an importer rule sees: one ONNX node, its inputs and attributes, and a way to emit nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx

from mquans.errors import ModelError
from mquans.files import printable
from mquans.graph import Node, Operator, Reshape, Unary

if TYPE_CHECKING:
    from mquans.onnx.grids import Grid
    from mquans.onnx.translation import Translation


NO_RULE = "no native operator for it"

OF_DOMAINS = {
    "com.microsoft.nchwc": "onnxruntime saved it for its own kernels, at its level 'all'; save the "
    "model at level 'extended', or give the original",
}
"""Why none of a domain's operators is native."""

IDLE_ATTRIBUTES: Mapping[str, frozenset[str]] = {
    "BatchNormalization": frozenset({"momentum", "spatial"}),
    "ConvInteger": frozenset({"kernel_shape"}),
    "Dropout": frozenset({"ratio", "seed"}),
    "MatMulNBits": frozenset({"accuracy_level"}),
    "MaxPool": frozenset({"storage_order"}),
    "QLinearConv": frozenset({"kernel_shape"}),
    "Resize": frozenset({"extrapolation_value", "keep_aspect_ratio_policy"}),
}
"""Attributes that a rule may leave unread, since they change nothing of what it expresses."""

# Norms are computed in float32, whatever they may be computed in.
IDLE_EVERYWHERE = frozenset({"consumed_inputs", "noop_with_empty_axes", "stash_type"})


class Refused(Exception):
    """A rule cannot express a node in the closed set; it becomes a fallback subgraph."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Cut:
    """What a function that only cuts off reads, and the bounds between which it leaves it."""

    source: str
    bounds: tuple[float, float]


class Call:
    """One node being translated.

    Attributes:
        inputs: value names; an absent optional input is the empty string.
        outputs: value names.
        opset: version of the standard operator set.
    """

    def __init__(self, translation: Translation, proto: onnx.NodeProto, name: str) -> None:
        self._translation = translation
        self._name = name
        self._attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
        self._unread = set(self._attributes)
        self._domain = "" if proto.domain == "ai.onnx" else proto.domain
        self.op_type = proto.op_type
        self.inputs = tuple(proto.input)
        self.outputs = tuple(proto.output)
        self.opset = translation.opset

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value: int, float, str or a list of them; bytes are decoded."""
        self._unread.discard(name)
        value = self._attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def translate_by(self, rule: Rule) -> None:
        """Runs a rule. Newer versions of an operator may have attributes that it knows nothing of.

        Raises:
            Refused: the node has some that the rule did not read, other than by default.
        """
        rule(self)
        idle = IDLE_EVERYWHERE | IDLE_ATTRIBUTES.get(self.op_type, frozenset())
        for name in sorted(self._unread - idle):
            if not self._is_default(name):
                raise Refused(f"its attribute {name!r} is not known")

    def _is_default(self, attribute: str) -> bool:
        """Whether an attribute says what leaving it out does, in the standard's operators; others
        may share their names."""
        if not onnx.defs.has(self.op_type, self._domain):
            return False
        schema = onnx.defs.get_schema(self.op_type, self._domain)
        known = schema.attributes.get(attribute)
        if known is None or not known.default_value.type:
            return False
        default = onnx.helper.get_attribute_value(known.default_value)
        return bool(default == self._attributes[attribute])

    def has(self, index: int) -> bool:
        """True when an optional input is given."""
        return index < len(self.inputs) and self.inputs[index] != ""

    def is_read(self, output: int) -> bool:
        """True when an optional output is given and anything depends on it."""
        return output < len(self.outputs) and self.outputs[output] in self._translation.readers

    def value(self, index: int = 0) -> str:
        """Name of an input that must be given."""
        if not self.has(index):
            raise Refused(f"input {index} is missing")
        return str(self.inputs[index])

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Static shape of an input."""
        return self._translation.shape(self.value(index))

    def shape_of(self, value: str) -> tuple[int, ...]:
        """Static shape of any value, emitted ones included."""
        return self._translation.shape(value)

    def dtype(self, index: int = 0) -> str:
        """Type that the model gives an input; what is computed is float32."""
        return self._translation.dtype(self.value(index))

    def type_name(self, code: int) -> str:
        """numpy's name of an ONNX type."""
        return str(onnx.helper.tensor_dtype_to_np_dtype(code))

    def declare(self, dtype: str, grid: Grid | None = None, output: int = 0) -> None:
        """Say which type the model gives an output, and which numbers it may have."""
        self._translation.declare(self.outputs[output], dtype, grid)

    def standing_for(self, op_type: str, inputs: Sequence[str]) -> Call:
        """The node as one of another type, which makes the same of these inputs."""
        other = copy(self)
        other.op_type, other.inputs = op_type, tuple(inputs)
        return other

    def grid_of(self, value: str) -> Grid | None:
        """The numbers that a value may have; None where it was not quantized."""
        return self._translation.grids.get(value)

    def cut_off_by(self, value: str) -> Cut | None:
        """The Relu or Clip that computes a value."""
        nodes = reversed(self._translation.nodes)
        match next((node for node in nodes if value in node.outputs), None):
            case Node(op=Unary(kind="relu"), inputs=(source, *_)):
                return Cut(source, (0.0, math.inf))
            case Node(op=Unary(kind="clip", params=(low, high)), inputs=(source, *_)):
                return Cut(source, (low, high))
        return None

    def only_read_by(self, *op_types: str) -> bool:
        """True when the first output goes into nodes of these types alone."""
        return self._translation.readers.get(self.outputs[0], set()) <= set(op_types)

    def is_looked_at(self) -> bool:
        """As `dynamic_steps.looked_at` has it of this dynamic quantization."""
        return self.outputs[0] in self._translation.looked_at

    def is_known(self, value: str) -> bool:
        """True for a value, emitted ones included, that is known at import time."""
        return value in self._translation.constants

    def fold(self, output: int, array: npt.NDArray[Any]) -> None:
        """Let an output be a constant."""
        self._translation.constants[self.outputs[output]] = array

    def is_constant(self, index: int) -> bool:
        """True when an input is given and known at import time."""
        return self.has(index) and self.inputs[index] in self._translation.constants

    def constant(self, index: int, what: str = "an operand") -> npt.NDArray[np.generic]:
        """An input's array.

        Raises:
            Refused: it is computed; `what` names it in the reason.
        """
        if not self.is_constant(index):
            raise Refused(f"{what} is computed, not constant")
        return self._translation.constants[self.value(index)]

    def floats(self, index: int) -> npt.NDArray[np.generic]:
        """A constant input as float32.

        Raises:
            Refused: it is computed, or holds integers that float32 does not.
        """
        self.constant(index)
        return self._translation.constants[self._translation.as_float32(self.value(index))]

    def integers(self, name: str, index: int, what: str | None = None) -> tuple[int, ...] | None:
        """Integers that older opsets give as an attribute and newer ones as a constant input.

        Args:
            name: of the attribute; index: of the input.

        Returns:
            None when neither is given.
        """
        value = self.attribute(name)
        if value is not None:
            return tuple(int(entry) for entry in np.atleast_1d(value))
        if not self.has(index):
            return None
        array = self.constant(index, what or name)
        return tuple(int(entry) for entry in array.reshape(-1))

    def require(self, fits: bool, complaint: str) -> None:
        """Refuses the model where the node breaks a rule that onnxruntime only finds as it runs.

        Raises:
            ModelError: `fits` is False.
        """
        if not fits:
            raise ModelError(
                f"{complaint}.",
                where=f"node {printable(self._name)!r} ({self.op_type})",
                hint="Export the model again.",
            )

    def axis(self, default: int) -> int:
        """The attribute `axis`, counted from the front of the first input."""
        return normalise(int(self.attribute("axis", default)), len(self.shape()))

    def add_constant(self, label: str, array: npt.NDArray[Any]) -> str:
        """Store an array as float32 under a name made from the node's."""
        name = self._translation.new_value(f"{self._name}/{label}")
        self._translation.constants[name] = np.array(array, np.float32, order="C")
        return name

    def count_computed(self, numbers: int) -> None:
        """Account for numbers that stand in no file.

        Raises:
            ModelError: the model computes more than it may when it is read.
        """
        where = f"node {printable(self._name)!r} ({self.op_type})"
        self._translation.spending.compute(numbers, where)

    def emit(self, label: str, op: Operator, *inputs: str) -> str:
        """Emit an intermediate node; returns the name of its value."""
        output = self._translation.new_value(f"{self._name}/{label}")
        self._translation.emit(f"{self._name}/{label}", op, inputs, output)
        return output

    def emit_all(self, label: str, op: Operator, *inputs: str, outputs: int) -> tuple[str, ...]:
        """Emit an intermediate node of several outputs; returns the names of its values.

        Args:
            label: "" names the node like the ONNX node itself.
        """
        name = f"{self._name}/{label}".rstrip("/")
        values = [self._translation.new_value(f"{name}/{index}") for index in range(outputs)]
        self._translation.emit(name, op, inputs, *values)
        return tuple(values)

    def finish(self, op: Operator, *inputs: str, output: int = 0) -> None:
        """Emit the node that computes an output of the ONNX node."""
        name = self._name if output == 0 else f"{self._name}/{output}"
        self._translation.emit(name, op, inputs, self.outputs[output])

    def copy(self, source: str, output: int = 0) -> None:
        """Let an output equal a value (a reshape that the rewrites remove)."""
        self.finish(Reshape(self.shape_of(source)), source, output=output)


Rule = Callable[[Call], None]


def normalise(axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises:
        Refused: there is no such axis.
    """
    if not -rank <= axis < rank:
        raise Refused(f"axis {axis} does not exist in {rank} axes")
    return axis + rank if axis < 0 else axis


def normalise_all(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Several axes counted from the front, ascending."""
    return tuple(sorted(normalise(axis, rank) for axis in axes))

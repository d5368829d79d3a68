"""Walking over ONNX nodes: each becomes nodes of the closed set, a constant or a fallback
subgraph."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from mquans.errors import ModelError, MquansError, UnsupportedOperatorError
from mquans.files import printable
from mquans.graph import (
    LARGEST_INTEGER,
    Graph,
    Node,
    Operator,
    ValueType,
    free_name,
    infer_node,
)
from mquans.onnx.call import NO_RULE, OF_DOMAINS, Call, Refused
from mquans.onnx.dynamic_steps import looked_at
from mquans.onnx.external_weights import tensors_of
from mquans.onnx.fallbacks import fallback_node, is_narrowed
from mquans.onnx.folding import evaluate, is_foldable, size_of
from mquans.onnx.grids import Grid
from mquans.onnx.limits import Limits, Spending
from mquans.onnx.number_types import EXACT, FLOATS, MOVED, ON_GRID, QUANTIZED, result_type
from mquans.onnx.returned import finish_output
from mquans.onnx.rules import RULES_BY_DOMAIN
from mquans.onnx.scopes import captured, inline_graph, value_names
from mquans.onnx.sequences import follow, make
from mquans.onnx.standard_functions import takes_floats
from mquans.onnx.unrolling import MOST_NODES
from mquans.onnx.written_out import MOST_CHOSEN, by_definition, written_out

if TYPE_CHECKING:
    from mquans.onnx.call import Rule

Array = npt.NDArray[np.generic]


class Translation:
    """State of one import.

    Attributes:
        constants: every value known at import time, of any dtype, weights included.
        types: of every computed value.
        nodes: translated so far, in topological order.
        grids: of values that were quantized; they are computed as what they stand for.
        sequences: names of the tensors in them, where these are known.
        readers: types of the nodes that read a value, "" for outputs of the model. Values without
            any need not be computed.
        opsets: version of every operator domain.
        flat: the model's nodes in order, with branches taken whose condition is known.
        room: nodes that loops may still be written out to.
        branch_constants: initializers of those branches.
        looked_at: codes of dynamic quantizations that are to keep their roundings.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
        self.constants: dict[str, Array] = {}
        self.types: dict[str, ValueType] = {}
        self.sequences: dict[str, list[str]] = {}
        self.nodes: list[Node] = []
        self.flat: list[onnx.NodeProto] = []
        self.branch_constants: dict[str, Array] = {}
        self.looked_at = looked_at(model.graph)
        given = sum(math.prod(tensor.dims) for tensor in tensors_of(model))
        self.spending = Spending(Limits.from_environment(), given)
        self._node_names: set[str] = set()
        self._native_only = False
        counts = Counter(node.name for node in model.graph.node)
        self._dtypes: dict[str, str] = {}
        self._unique = {name for name, count in counts.items() if name and count == 1}
        self._values = value_names(model.graph)
        self.grids: dict[str, Grid] = {}
        self.readers: dict[str, set[str]] = defaultdict(set)
        self.room = MOST_NODES
        self._note_readers(model.graph.node)
        for output in model.graph.output:
            self.readers[output.name].add("")

    @property
    def opset(self) -> int:
        return int(self.opsets.get("ai.onnx", 1))

    def run(self, name: str, inputs: dict[str, ValueType]) -> Graph:
        """Translate everything.

        Args:
            name: of the graph.
            inputs: static type of every input that is fed per frame.
        """
        graph = self.model.graph
        for value, kind in inputs.items():
            self._declare({value: ValueType(kind.shape)}, "its inputs")
            self._note_type(value, kind.dtype)
        self._load(graph)
        for node in graph.node:
            self.translate(node)
        listed = [output.name for output in graph.output]
        outputs = tuple(dict.fromkeys(listed))
        for value in outputs:
            finish_output(self, value)
        used = {value for node in self.nodes for value in node.inputs}
        constants = {name: array for name, array in self.constants.items() if name in used}
        kinds = {name: ValueType(a.shape, str(a.dtype)) for name, a in constants.items()}
        return Graph(
            name=name,
            inputs=tuple(inputs),
            outputs=outputs,
            nodes=self.nodes,
            constants=constants,
            types=kinds | self.types,
            repeats={i: value for i, value in enumerate(listed) if value in listed[:i]},
            declared={
                value: self._dtypes[value] for value in (*inputs, *outputs) if value in self._dtypes
            },
        )

    def translate(self, proto: onnx.NodeProto) -> None:
        """Translate one node, whose inputs are all known by now."""
        for value in proto.input:
            if value and not any(
                value in known for known in (self.types, self.constants, self.sequences)
            ):
                raise ModelError(
                    f"it reads {value!r}, which nothing computes.",
                    where=f"node {proto.name or proto.output[0]!r} ({proto.op_type})",
                )
        if proto.op_type == "If" and proto.input[0] in self.constants:
            self._inline_if(proto)
            return
        self.flat.append(proto)
        if (left := follow(self, proto)) is not None:
            self._translate_instead(left)
        elif is_foldable(proto, self.constants):
            self.fold(proto)
        elif proto.op_type in ("Shape", "Size") and self._fold_shape(proto):
            pass
        elif nodes := written_out(self, proto):
            self._translate_instead(nodes)
        else:
            make(self, [*proto.input, *captured(proto)])
            self.apply_rule_or_not(proto)

    def _translate_instead(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """Translate nodes that stand for another one, which other engines are given as it is."""
        self._note_readers(nodes)
        flat, self.flat = self.flat, []
        try:
            for node in nodes:
                self.translate(node)
        finally:
            self.flat = flat

    def apply_rule_or_not(self, proto: onnx.NodeProto) -> None:
        """Native nodes where the closed set can express it, else a fallback subgraph.

        Raises:
            Refused: it is part of a definition that is only of use if all of it is native.
        """
        name = self.node_name(proto)
        before = len(self.nodes)
        reason = NO_RULE
        for apply in (self._apply_rule, self._apply_definition):
            try:
                apply(proto, name)
            except Refused as refusal:
                reason = refusal.reason if reason == NO_RULE else reason
                self._forget(self.nodes[before:], proto.output)
            else:
                return
        if self._native_only:
            raise Refused(f"{reason}: {proto.op_type} in it" if reason == NO_RULE else reason)
        self._make_fallback(proto, name, OF_DOMAINS.get(proto.domain, reason))

    def _forget(self, nodes: Sequence[Node], outputs: Sequence[str]) -> None:
        """Undo the last nodes, which were to compute these outputs."""
        del self.nodes[len(self.nodes) - len(nodes) :]
        known: tuple[dict[str, Any], ...] = (self.types, self.constants, self._dtypes, self.grids)
        for value in outputs:
            for kept in known:
                kept.pop(value, None)

    def _apply_definition(self, proto: onnx.NodeProto, name: str) -> None:
        """An operator that is made of others, by what these do.

        Raises:
            Refused: it is no such operator, or some of it has no native form.
        """
        nodes, opset = by_definition(self, proto, name)
        outer, before = (self._native_only, self.opsets), len(self.nodes)
        self._native_only, self.opsets = True, {**self.opsets, "ai.onnx": opset}
        try:
            self._translate_instead(nodes)
        except UnsupportedOperatorError as error:
            raise Refused(error.what) from error
        finally:
            self._native_only, self.opsets = outer
        made = Graph(name, (), (), self.nodes[before:], self.constants, self.types)
        if proto.op_type == "If" and sum(map(made.macs, made.nodes)) > MOST_CHOSEN:
            raise Refused("its branches are too large for both to be computed")

    def emit(self, name: str, op: Operator, inputs: Sequence[str], *outputs: str) -> None:
        """Append one node; its inputs must be float32 values or constants of any float type."""
        inputs = tuple(map(self.as_float32, inputs))
        node = Node(self._free_node_name(name), op, inputs, outputs)
        shapes = infer_node(node, [self.shape(v) for v in inputs if v])
        kinds = dict(zip(node.outputs, map(ValueType, shapes), strict=True))
        self._declare(kinds, f"node {printable(node.name)!r}")
        self.nodes.append(node)

    def _declare(self, kinds: Mapping[str, ValueType], where: str) -> None:
        """Note the types of values that frames bring or nodes compute.

        Raises:
            ModelError: they are larger than the limits allow.
        """
        for kind in kinds.values():
            self.spending.declare(kind.shape, where)
        self.types.update(kinds)

    def shape(self, value: str) -> tuple[int, ...]:
        """Static shape of a constant or computed value."""
        constant = self.constants.get(value)
        return tuple(constant.shape) if constant is not None else self.types[value].shape

    def new_value(self, name: str) -> str:
        """Reserve a value name that the model does not use."""
        name = free_name(name, self._values)
        self._values.add(name)
        return name

    def as_float32(self, value: str) -> str:
        """A constant's name, or that of its copy in float32.

        Raises:
            Refused: it holds integers that float32 does not.
        """
        constant = self.constants.get(value)
        if constant is None or constant.dtype == np.float32:
            return value
        largest = np.abs(constant.astype(np.float64)).max(initial=0)
        if constant.dtype.kind in "iu" and largest > LARGEST_INTEGER:
            raise Refused(f"its constant {value!r} has integers that float32 does not hold")
        name = f"{value}/float32"
        self._values.add(name)
        self.constants[name] = constant.astype(np.float32)
        return name

    def _load(self, graph: onnx.GraphProto) -> None:
        for tensor in graph.initializer:
            if tensor.name not in self.types:
                self.constants[tensor.name] = numpy_helper.to_array(tensor)

    def _apply_rule(self, proto: onnx.NodeProto, name: str) -> None:
        rule: Rule | None = RULES_BY_DOMAIN.get(proto.domain, {}).get(proto.op_type)
        if rule is None:
            raise Refused(NO_RULE)
        for index, value in enumerate(proto.input):
            kind = self.types.get(value)
            if kind is not None and (kind.dtype != "float32" or -1 in kind.shape):
                size = " with a changing size" if -1 in kind.shape else ""
                raise Refused(f"its input {value!r} is computed in {kind.dtype}{size}")
            dtype = self._dtypes.get(value, "float32")
            if dtype not in FLOATS and proto.op_type not in (
                ON_GRID if value in self.grids else EXACT
            ):
                way_out = "a Cast to float before it helps"
                if not takes_floats(proto, index, self.opset):
                    way_out = "only constants are read there"
                raise Refused(f"its input {value!r} is {dtype}; {way_out}")
        try:
            Call(self, proto, name).translate_by(rule)
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            if isinstance(error, MquansError):
                raise
            # onnxruntime judges whether the node is malformed or only unusual.
            raise Refused(f"it cannot be read natively ({error})") from error
        self._note_types(proto)
        for output in proto.output:
            if output in self.readers and output not in self.types.keys() | self.constants.keys():
                raise Refused(f"its output {output!r} is not supported natively")

    def dtype(self, value: str) -> str:
        """The type that the model gives a value, whatever it is computed in."""
        if value in self.constants:
            return str(self.constants[value].dtype)
        kind = self.types.get(value)
        return self._dtypes.get(value, kind.dtype if kind else "float32")

    def _note_type(self, value: str, dtype: str) -> None:
        if dtype != "float32":
            self._dtypes[value] = dtype

    def declare(self, value: str, dtype: str, grid: Grid | None) -> None:
        """Note the type that the model gives a value, and which numbers it may have."""
        self._note_type(value, dtype)
        if grid is not None:
            self.grids[value] = grid

    def _note_types(self, proto: onnx.NodeProto) -> None:
        """Remember the types of what is computed in float32, for fallback subgraphs and outputs."""
        if proto.op_type in QUANTIZED:
            return
        if proto.op_type in MOVED:
            self._keep_grid(proto)
        dtype = result_type(proto, self.dtype)
        for value in proto.output:
            if value in self.types:
                self._note_type(value, dtype)

    def _keep_grid(self, proto: onnx.NodeProto) -> None:
        """Values that were only moved have the same numbers; parts with others make none."""
        sources = proto.input if proto.op_type == "Concat" else proto.input[:1]
        grid, *others = {self.grids.get(value) for value in sources}
        if others and self.dtype(proto.input[0]) not in FLOATS:
            raise Refused("it joins codes of different scales")
        if grid is not None and not others:
            self.grids.update(dict.fromkeys(proto.output, grid))

    def as_fallback(
        self, proto: onnx.NodeProto, name: str, reason: str
    ) -> tuple[Node, dict[str, ValueType]]:
        """A node as a fallback subgraph, and the types of what it makes."""
        return fallback_node(
            proto,
            name,
            reason,
            opsets=self.opsets,
            types=self.types,
            constants=self.constants,
            dtypes=self._dtypes,
            grids=self.grids,
        )

    def _make_fallback(self, proto: onnx.NodeProto, name: str, reason: str) -> None:
        node, types = self.as_fallback(proto, self._free_node_name(name), reason)
        narrowed = {value: kind.dtype for value, kind in types.items() if is_narrowed(kind)}
        self._declare(
            {v: ValueType(kind.shape) if v in narrowed else kind for v, kind in types.items()},
            f"node {printable(name)!r}",
        )
        for value, dtype in narrowed.items():
            self._note_type(value, dtype)
        self.nodes.append(node)

    def fold(self, proto: onnx.NodeProto) -> None:
        """Add what a node makes of constants to these."""
        arrays = evaluate(proto, self.constants, self.opsets)
        self.spending.compute(
            sum(array.size for array in arrays),
            f"node {printable(self.node_name(proto))!r} ({proto.op_type})",
        )
        for output, array in zip(proto.output, arrays, strict=False):
            if output:
                self.constants[output] = array

    def _fold_shape(self, proto: onnx.NodeProto) -> bool:
        sizes = size_of(proto, self.types[proto.input[0]].shape)
        if sizes is not None:
            self.constants[proto.output[0]] = sizes
        return sizes is not None

    def _inline_if(self, proto: onnx.NodeProto) -> None:
        branch_name = "then_branch" if self.constants[proto.input[0]].item() else "else_branch"
        branch = next(a.g for a in proto.attribute if a.name == branch_name)
        tensors, nodes = inline_graph(branch, list(proto.output), self.new_value)
        self.constants.update(tensors)
        self.branch_constants.update(tensors)
        self._note_readers(nodes)
        for node in nodes:
            self.translate(node)

    def _note_readers(self, nodes: Iterable[onnx.NodeProto]) -> None:
        for node in nodes:
            for value in [*node.input, *captured(node)]:
                self.readers[value].add(node.op_type)

    def node_name(self, proto: onnx.NodeProto) -> str:
        """A node's own name where only it has that, else the name of its first output."""
        if proto.name in self._unique:
            return str(proto.name)
        return next(str(output) for output in proto.output if output)

    def _free_node_name(self, name: str) -> str:
        name = free_name(name, self._node_names)
        self._node_names.add(name)
        return name

"""Loops whose number of rounds is known at import: their bodies, one behind the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from mquans.onnx.folding import is_foldable
from mquans.onnx.scopes import captured, inline_graph

MOST_NODES = 4096
"""That the loops of one network are written out to."""

FIRST_SCAN = 9
"""Of the operator sets: before, Scan went over batches of sequences."""


class Unrolling:
    """A Loop or Scan as the nodes of its rounds.

    Args:
        opset: version of the standard operator set.
        constants: what is known so far; constants of the rounds are added.
        shape: of any value that the loop reads.
        fold: adds to `constants` what a node makes of them.
        new_value: makes a name that is not taken yet.
    """

    def __init__(
        self,
        node: onnx.NodeProto,
        *,
        opset: int,
        constants: dict[str, npt.NDArray[np.generic]],
        shape: Callable[[str], tuple[int, ...]],
        fold: Callable[[onnx.NodeProto], None],
        new_value: Callable[[str], str],
    ) -> None:
        self._node = node
        self._attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        self._body: onnx.GraphProto = self._attributes["body"]
        self._opset = opset
        self._constants = constants
        self._shape = shape
        self._fold = fold
        self._new_value = new_value
        self._nodes: list[onnx.NodeProto] = []

    def nodes(self, room: int) -> list[onnx.NodeProto]:
        """The nodes in order.

        Args:
            room: how many nodes there may be.

        Returns:
            [] where the number of rounds depends on the frame, or is 0 or too large.
        """
        self._most = room // (len(self._body.node) + len(self._body.output))
        return self._scan() if self._node.op_type == "Scan" else self._loop()

    def _loop(self) -> list[onnx.NodeProto]:
        limit, going, *carried = [*self._node.input, "", ""][: max(2, len(self._node.input))]
        if any(name and name not in self._constants for name in (limit, going)):
            return []
        rounds = int(self._constants[limit].item()) if limit else self._most + 1
        going = going or self._constant("going", np.array(True))
        parts: list[list[str]] = []
        while len(parts) < rounds and bool(self._constants[going].item()):
            if len(parts) == self._most:
                return []
            number = self._constant("round", np.array(len(parts), np.int64))
            before = len(self._nodes)
            going, *results = self._round([number, going, *carried])
            if not self._settle(going, before):
                return []
            carried = results[: len(carried)]
            parts.append(results[len(carried) :])
        return self._finished(carried, parts) if parts else []

    def _scan(self) -> list[onnx.NodeProto]:
        if self._opset < FIRST_SCAN:
            return []
        count = self._attributes["num_scan_inputs"]
        carried, scanned = list(self._node.input[:-count]), self._node.input[-count:]
        axes = self._attributes.get("scan_input_axes", [0] * count)
        backwards = self._attributes.get("scan_input_directions", [0] * count)
        rounds = self._shape(scanned[0])[axes[0]]
        parts: list[list[str]] = []
        if not 0 < rounds <= self._most:
            return []
        for number in range(rounds):
            elements = []
            for value, axis, back in zip(scanned, axes, backwards, strict=True):
                at = np.array(rounds - 1 - number if back else number, np.int64)
                index = self._constant("index", at)
                elements.append(self._add("Gather", [value, index], axis=axis))
            results = self._round([*carried, *elements])
            carried = results[: len(carried)]
            parts.append(results[len(carried) :])
        return self._finished(carried, parts)

    def _round(self, given: Sequence[str]) -> list[str]:
        """Adds the nodes of one round; returns the names of what it gives."""
        outputs = [self._new_value(value.name) for value in self._body.output]
        inputs = {value.name: name for value, name in zip(self._body.input, given, strict=True)}
        constants, nodes = inline_graph(self._body, outputs, self._new_value, inputs)
        self._constants.update(constants)
        self._nodes.extend(nodes)
        return outputs

    def _settle(self, value: str, first: int) -> bool:
        """Whether a value that nodes from `first` on make is the same in all frames: it becomes a
        constant, as what it is made of, without these nodes."""
        needed, parts, others = {value}, list[onnx.NodeProto](), list[onnx.NodeProto]()
        for node in reversed(self._nodes[first:]):
            if needed.isdisjoint(node.output):
                others.append(node)
            else:
                needed.update([*node.input, *captured(node)])
                parts.append(node)
        for node in reversed(parts):
            if not is_foldable(node, self._constants):
                return False
            self._fold(node)
        self._nodes[first:] = reversed(others)
        return value in self._constants

    def _finished(self, carried: Sequence[str], parts: Sequence[list[str]]) -> list[onnx.NodeProto]:
        """All nodes, with those that give what the loop gives."""
        outputs = list(self._node.output)
        for value, output in zip(carried, outputs, strict=False):
            if output:
                self._add("Identity", [value], output)
        joined = outputs[len(carried) :]
        axes = self._attributes.get("scan_output_axes", [0] * len(joined))
        backwards = self._attributes.get("scan_output_directions", [0] * len(joined))
        for index, output in enumerate(joined):
            rows = [self._row(each[index], axes[index]) for each in parts]
            if output:
                self._add(
                    "Concat", rows[::-1] if backwards[index] else rows, output, axis=axes[index]
                )
        return self._nodes

    def _row(self, value: str, axis: int) -> str:
        if self._opset < 13:
            return self._add("Unsqueeze", [value], axes=[axis])
        return self._add("Unsqueeze", [value, self._constant("axes", np.array([axis]))])

    def _add(self, op_type: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        output = output or self._new_value(f"{self._node.output[0]}/{op_type}")
        self._nodes.append(onnx.helper.make_node(op_type, inputs, [output], **attributes))
        return output

    def _constant(self, label: str, array: npt.NDArray[Any]) -> str:
        name = self._new_value(f"{self._node.output[0]}/{label}")
        self._constants[name] = array
        return name

"""Recurrent layers that go on where the last frame ended: their states as inputs and outputs.

The ONNX model itself is edited, so that every engine runs the same network.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence, Sequence

import onnx
from onnx import TensorProto
from onnx.helper import make_node, make_tensor_value_info

from mquans.errors import ModelError
from mquans.graph import free_name
from mquans.onnx.flattening import flatten
from mquans.onnx.input_shapes import fed_inputs
from mquans.onnx.rules.recurrent import KINDS
from mquans.onnx.scopes import replace_nodes
from mquans.onnx.translation import Translation

STATES = {"h": (5, 1), "c": (6, 2)}
"""Input and output of a layer that are its initial and its last state; c for LSTM only."""


def carry_states(
    proto: onnx.ModelProto, name: str, input_shapes: Mapping[str, Sequence[int]]
) -> tuple[onnx.ModelProto, dict[str, str]]:
    """A model whose LSTM, GRU and RNN layers have inputs `<node>/h` (and `<node>/c`) in place of
    initial states that are absent or zero, and outputs `<node>/h_out` (and `<node>/c_out`).

    States have the shape [1, B, H] (batch first: [B, 1, H]). Whether a state is zero is decided
    after all shape arithmetic is folded; branches whose condition is known are taken.

    Args:
        proto: not kept as it was.
        name: of the model, for messages.
        input_shapes: that the user gives; those of states are allowed already.

    Returns:
        the edited model, and its outputs by the input that they feed.

    Raises:
        ModelError: a layer runs backwards in time or starts from constants other than zero, or no
            layer has a state that could be carried.
    """
    proto, translation = flatten(proto, name, input_shapes)
    graph = proto.graph
    taken = {value for node in graph.node for value in [*node.input, *node.output]}
    taken |= {value.name for value in fed_inputs(proto)}
    feedback: dict[str, str] = {}
    result: list[onnx.NodeProto] = []
    for node in list(graph.node):
        result.append(node)
        if node.op_type not in KINDS or node.domain not in ("", "ai.onnx"):
            continue
        label = translation.node_name(node)
        for state in ("h", "c") if node.op_type == "LSTM" else ("h",):
            if not _starts_at_zero(translation, node, STATES[state][0], label):
                continue
            value = free_name(f"{label}/{state}", taken)
            last = free_name(f"{value}_out", taken)
            taken |= {value, last}
            shape = _state_shape(translation, node)
            graph.input.append(make_tensor_value_info(value, TensorProto.FLOAT, shape))
            graph.output.append(make_tensor_value_info(last, TensorProto.FLOAT, shape))
            result += _connect(node, state, value, last)
            feedback[value] = last
    if not feedback:
        raise ModelError(
            "it has no LSTM, GRU or RNN whose state could be carried from frame to frame.",
            where=f"model {name!r}",
            hint="Leave carry_state (--carry-state) out; states that are inputs go to feedback.",
        )
    replace_nodes(graph, result)
    return proto, feedback


def _connect(node: onnx.NodeProto, state: str, value: str, last: str) -> list[onnx.NodeProto]:
    """Let a layer read a state and return it; with the node that this takes where its last state
    has a name already."""
    index, output = STATES[state]
    _set(node.input, index, value)
    if len(node.output) > output and node.output[output]:
        return [make_node("Identity", [node.output[output]], [last], name=last)]
    _set(node.output, output, last)
    return []


def _starts_at_zero(translation: Translation, node: onnx.NodeProto, index: int, label: str) -> bool:
    """False when the state is computed, by a layer or from an input.

    Raises:
        ModelError: the state is zero or constant, but cannot be carried.
    """
    given = node.input[index] if len(node.input) > index else ""
    constant = translation.constants.get(given)
    if given and constant is None:
        return False
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    where = f"node {label!r} ({node.op_type})"
    if attributes.get("direction", b"forward") != b"forward":
        raise ModelError(
            "it runs backwards in time, so its state would come from frames still to be heard.",
            where=where,
            hint="Run this network on whole sequences, without carry_state (--carry-state).",
        )
    if constant is not None and constant.any():
        raise ModelError(
            "it starts from constants other than zero; only zeros can be carried on.", where=where
        )
    return True


def _state_shape(translation: Translation, node: onnx.NodeProto) -> tuple[int, int, int]:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    hidden = translation.shape(node.input[2])[2]
    if attributes.get("layout", 0):
        return (translation.shape(node.input[0])[0], 1, hidden)
    return (1, translation.shape(node.input[0])[1], hidden)


def _set(names: MutableSequence[str], index: int, value: str) -> None:
    """Put a name into a node's list of names, with absent ones before it."""
    names.extend([""] * (index + 1 - len(names)))
    names[index] = value

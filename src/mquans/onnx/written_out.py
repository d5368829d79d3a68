"""Nodes in the place of another one: control flow, and operators that are made of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from mquans.graph import ValueType
from mquans.onnx.branches import choice_of_computed, choice_of_constants
from mquans.onnx.call import Refused
from mquans.onnx.fallbacks import OPAQUE, type_proto
from mquans.onnx.fused_operators import DOMAINS, OPSET, fused_parts
from mquans.onnx.scopes import inline_graph
from mquans.onnx.standard_functions import definition
from mquans.onnx.unrolling import Unrolling

if TYPE_CHECKING:
    from mquans.onnx.translation import Translation

MOST_CHOSEN = 2**21
"""Multiplications of two branches that are both computed: as long as a call of onnxruntime takes,
some 30 us."""


def written_out(translation: Translation, proto: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Control flow that no frame can change, as nodes without any; [] for all else."""
    if proto.op_type == "If":
        arrays, nodes = choice_of_constants(
            proto, translation.constants, translation.opsets, translation.new_value
        )
        translation.constants.update(arrays)
        return nodes
    if proto.op_type not in ("Loop", "Scan"):
        return []
    nodes = Unrolling(
        proto,
        opset=translation.opset,
        constants=translation.constants,
        shape=translation.shape,
        fold=translation.fold,
        new_value=translation.new_value,
    ).nodes(translation.room)
    translation.room -= len(nodes)
    return nodes


def by_definition(
    translation: Translation, proto: onnx.NodeProto, name: str
) -> tuple[list[onnx.NodeProto], int]:
    """An operator that is made of others, as these, and the version of the standard operator set
    that they are written in. An If that a frame decides is both of its branches and a choice:
    small ones take less time than a call of onnxruntime for one.

    Raises:
        Refused: it is no such operator, or its branches may give values of different sizes.
    """
    if proto.op_type == "If":
        _, kinds = translation.as_fallback(proto, name, "")
        if any(-1 in kind.shape or kind.dtype == OPAQUE for kind in kinds.values()):
            raise Refused("its branches may give values of different sizes")
        arrays, nodes = choice_of_computed(proto, translation.new_value)
        translation.constants.update(arrays)
        return nodes, translation.opset
    if proto.domain in DOMAINS:
        return fused_parts(proto, translation.shape, translation.new_value), OPSET

    def kind(value: str) -> onnx.TypeProto:
        if not value:
            return onnx.TypeProto()
        return type_proto(ValueType(translation.shape(value), translation.dtype(value)))

    types = [kind(value) for value in proto.input]
    body, opset = definition(proto, translation.opset, types)
    given = [*proto.input, *[""] * (len(body.input) - len(proto.input))]
    wanted = [*proto.output, *[""] * (len(body.output) - len(proto.output))]
    inputs = {value.name: outer for value, outer in zip(body.input, given, strict=True)}
    return inline_graph(body, wanted, translation.new_value, inputs)[1], opset

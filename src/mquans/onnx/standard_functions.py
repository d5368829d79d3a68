"""What the ONNX standard says of an operator: what it takes, and by which others it is defined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from mquans.onnx.call import NO_RULE, Refused
from mquans.onnx.structure import subgraphs


def definition(
    node: onnx.NodeProto, opset: int, types: Sequence[onnx.TypeProto]
) -> tuple[onnx.GraphProto, int]:
    """The body of a standard operator, and the version of the operator set it is written in.

    Args:
        opset: that the node is written in; the body's may be newer.
        types: of the node's inputs; empty ones of those that are absent.

    Returns:
        a graph whose inputs and outputs stand for the node's in order, which may have fewer.

    Raises:
        Refused: the operator is not defined by others.
    """
    schema, written, version = _function(node, opset, [kind.SerializeToString() for kind in types])
    function = onnx.FunctionProto.FromString(written)
    given = {
        name: attribute.default_value
        for name, attribute in schema.attributes.items()
        if attribute.default_value.name
    }
    given |= {attribute.name: attribute for attribute in node.attribute}
    for inner in function.node:
        _fill_attributes(inner, given)
    graph = onnx.helper.make_graph(
        function.node,
        node.op_type,
        [onnx.ValueInfoProto(name=name) for name in function.input],
        [onnx.ValueInfoProto(name=name) for name in function.output],
    )
    return graph, version


def _function(node: onnx.NodeProto, opset: int, types: Sequence[bytes]) -> tuple[Any, bytes, int]:
    """The schema of an operator, its serialized function and that one's operator set."""
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, opset, node.domain)
        versions = (
            schema.context_dependent_function_opset_versions
            if schema.has_context_dependent_function
            else schema.function_opset_versions
        )
        older = [version for version in versions if version <= opset]
        version = max(older) if older else min(versions)
        if schema.has_context_dependent_function:
            written = schema.get_context_dependent_function_with_opset_version(
                version, node.SerializeToString(), list(types)
            )
        else:
            written = schema.get_function_with_opset_version(version)
    except (onnx.defs.SchemaError, ValueError):
        written = b""
    if not written:
        raise Refused(NO_RULE)
    return schema, written, max(opset, version)


def takes_floats(node: onnx.NodeProto, index: int, opset: int) -> bool:
    """Whether an input of a node may be of float32; True where that is not known."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        return True
    declared = schema.inputs[min(index, len(schema.inputs) - 1)]
    return "tensor(float)" in declared.types


def _fill_attributes(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> None:
    """Attributes that refer to those of the function take their values; without one they go."""
    filled = []
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            filled.append(attribute)
        elif attribute.ref_attr_name in given:
            value = onnx.AttributeProto()
            value.CopyFrom(given[attribute.ref_attr_name])
            value.name = attribute.name
            filled.append(value)
    copies = list(filled)
    del node.attribute[:]
    node.attribute.extend(copies)
    for graph in subgraphs(node):
        for inner in graph.node:
            _fill_attributes(inner, given)

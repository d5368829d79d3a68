"""Weights that a model stores as the few that are not 0: read like any others."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from mquans.errors import ModelError
from mquans.files import printable
from mquans.onnx.limits import Limits
from mquans.onnx.structure import subgraphs


def to_dense(graph: onnx.GraphProto) -> None:
    """Turn all sparse tensors of a graph and its subgraphs into whole ones, in place.

    Raises:
        ModelError: one is larger than the limits allow, or its places are none of its own.
    """
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_dense(sparse, sparse.values.name))
    del graph.sparse_initializer[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor"):
                dense = _dense(attribute.sparse_tensor, node.output[0])
                attribute.CopyFrom(onnx.helper.make_attribute("value", dense))
        for inner in subgraphs(node):
            to_dense(inner)


def _dense(sparse: onnx.SparseTensorProto, name: str) -> onnx.TensorProto:
    shape = tuple(sparse.dims)
    where = f"tensor {printable(name)!r}"
    Limits.from_environment().check_value(shape, where)
    values = numpy_helper.to_array(sparse.values)
    whole = np.zeros(math.prod(shape), values.dtype)
    try:
        whole[_places(numpy_helper.to_array(sparse.indices), shape)] = values
    except (IndexError, ValueError):
        raise ModelError(
            f"its places are none of a tensor of shape {list(shape)}.",
            where=where,
            hint="Export it with dense weights.",
        ) from None
    return numpy_helper.from_array(whole.reshape(shape), name)


def _places(indices: npt.NDArray[np.generic], shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Indices, or rows of one per axis, as places in the flat tensor."""
    rows = indices.astype(np.intp)
    if (rows < 0).any():
        raise IndexError
    return rows if rows.ndim == 1 else np.ravel_multi_index(tuple(rows.T), shape)

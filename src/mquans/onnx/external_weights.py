"""Weights in files beside a model: where they may lie, and reading no more than they need."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx import TensorProto

from mquans.errors import ModelError
from mquans.files import printable, reason
from mquans.onnx.limits import HINT, Limits

PACKED_BITS: dict[int, int] = {
    TensorProto.INT4: 4,
    TensorProto.UINT4: 4,
    TensorProto.FLOAT4E2M1: 4,
}
"""Types whose numbers share bytes."""


@dataclass(frozen=True, slots=True)
class ExternalTensor:
    """A tensor of a model and the bytes that hold it."""

    tensor: TensorProto
    file: Path
    offset: int
    size: int

    def load(self) -> None:
        """Puts the bytes into the tensor.

        Raises:
            ModelError: the file cannot be read, or is shorter than it was.
        """
        try:
            with self.file.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise ModelError(f"cannot be read: {reason(error)}", where=str(self.file)) from None
        if len(data) != self.size:
            raise ModelError("was cut off while it was read.", where=str(self.file))
        self.tensor.raw_data = data
        self.tensor.data_location = TensorProto.DEFAULT
        del self.tensor.external_data[:]


def tensors_of(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """All tensors of a model, also those in branches, loops and local functions."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def external_tensors(model: onnx.ModelProto, folder: Path, where: str) -> list[ExternalTensor]:
    """Where the external tensors of a model lie, after checking that they may lie there; nothing
    is read.

    Args:
        folder: of the model's file.
        where: the model, for messages.

    Raises:
        ModelError: a place that is outside the folder, no plain file, missing, or does not hold
            what the tensor needs.
    """
    return [_placed(tensor, folder, where) for tensor in tensors_of(model) if is_external(tensor)]


def _placed(tensor: TensorProto, folder: Path, where: str) -> ExternalTensor:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    where = f"{where}, tensor {printable(tensor.name)!r}"
    file = _file(location, folder, where)
    size = _byte_size(tensor, where)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
    except ValueError:
        offset = length = -1
    if offset < 0 or length not in (0, size) or offset + size > file.stat().st_size:
        raise ModelError(
            f"its weight file {printable(location)!r} does not hold the {size} bytes that shape "
            f"{list(tensor.dims)} needs.",
            where=where,
            hint="Download or export the model and its weights again.",
        )
    return ExternalTensor(tensor, file, offset, size)


def _file(location: str, folder: Path, where: str) -> Path:
    """The file of a location, which must be a plain one at or below the model's folder."""
    parts = PureWindowsPath(location).parts
    absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
    shown = printable(location)
    if not parts or "\0" in location or absolute or ".." in parts:
        raise ModelError(
            f"its weight file {shown!r} is not a place in the model's folder.",
            where=where,
            hint="Export the model again, with its weights beside it.",
        )
    file = folder / location
    try:
        inside = file.resolve(strict=True).is_relative_to(folder.resolve())
        plain = stat.S_ISREG(file.stat().st_mode)
    except FileNotFoundError:
        raise ModelError(
            f"its weight file {shown!r} is missing.",
            where=where,
            hint="Keep it beside the model file.",
        ) from None
    except OSError as error:
        raise ModelError(
            f"its weight file {shown!r} cannot be read: {reason(error)}", where=where
        ) from None
    if not inside or not plain:
        raise ModelError(
            f"its weight file {shown!r} is "
            + ("not a plain file." if inside else "a link that leads out of the model's folder."),
            where=where,
            hint="Put the weights themselves beside the model.",
        )
    limit = 4 * Limits.from_environment().total
    if file.stat().st_size > limit:
        raise ModelError(
            f"its weight file {shown!r} is longer than {limit} bytes.", where=where, hint=HINT
        )
    return file


def _byte_size(tensor: TensorProto, where: str) -> int:
    count = int(math.prod(tensor.dims))
    try:
        whole = 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError:
        raise ModelError(
            f"its weights are of type {tensor.data_type}, which is unknown.", where=where
        ) from None
    return -(-count * PACKED_BITS.get(tensor.data_type, whole) // 8)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _graph_tensors(attribute.g)
            for graph in attribute.graphs:
                yield from _graph_tensors(graph)

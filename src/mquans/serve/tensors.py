"""Requests and answers of the Open Inference Protocol (KServe's v2) with Triton's extensions:
binary tensors behind the JSON, parameters of sequences, compressed bodies."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

TYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "FP16": "float16", "FP32": "float32", "FP64": "float64",
}  # fmt: skip
NAMES = {value: name for name, value in TYPES.items()}

HEADER_LENGTH = "Inference-Header-Content-Length"
MOST_AXES = 8
LARGEST_JSON_BYTES = 16 << 20
"""Of a request: reading it holds up everything else. Binary tensors behind it may be larger."""

_DIGITS = re.compile("[0-9]{1,18}")

Array = npt.NDArray[Any]


class ProtocolError(Exception):
    """A request that cannot be understood; the text is for whoever sent it."""


class _Tensor(msgspec.Struct, frozen=True):
    name: str
    shape: tuple[int, ...] = ()
    datatype: str = ""
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class _Request(msgspec.Struct, frozen=True):
    inputs: list[_Tensor]
    id: str = ""
    outputs: list[_Tensor] = []
    parameters: dict[str, Any] = {}


class Parsed(msgspec.Struct, frozen=True):
    """A request.

    Attributes:
        sequence: empty for a frame on its own; text and numbers are kept apart.
        outputs: names that were asked for, and whether in binary; all if there are none.
        binary: whether outputs that were not asked for by name are to be in binary.
    """

    id: str
    inputs: dict[str, Any]
    sequence: str
    start: bool
    end: bool
    outputs: dict[str, bool]
    binary: bool


def unpacked(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    """A body as it was before it was compressed.

    Raises:
        ProtocolError: another compression, damaged, or longer than the limit.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise ProtocolError(f"bodies may be compressed as gzip or deflate, not {encoding}.")
    # 32: the header tells whether it is one or the other.
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        data = unpacking.decompress(body, limit_bytes + 1)
    except zlib.error:
        raise ProtocolError("the compressed body is damaged.") from None
    if len(data) > limit_bytes or unpacking.unconsumed_tail:
        raise ProtocolError(f"a request may have {limit_bytes} bytes.")
    if not unpacking.eof:
        raise ProtocolError("the compressed body is cut off.")
    return data


def packed(body: bytes, accepted: str) -> tuple[bytes, str]:
    """A body, compressed if that was asked for, and how."""
    for part in accepted.split(","):
        match part.partition(";")[0].strip():
            case "gzip":
                return gzip.compress(body, compresslevel=1), "gzip"
            case "deflate":
                return zlib.compress(body, level=1), "deflate"
    return body, ""


def parse(body: bytes, header_length: str | None) -> Parsed:
    """Reads a request.

    Args:
        header_length: bytes of the JSON, where tensors follow it.

    Raises:
        ProtocolError: it cannot be understood.
    """
    length = len(body)
    if header_length is not None:
        if not _DIGITS.fullmatch(header_length) or int(header_length) > len(body):
            raise ProtocolError(f"{HEADER_LENGTH} is no length within the body.")
        length = int(header_length)
    if length > LARGEST_JSON_BYTES:
        raise ProtocolError(f"the JSON may have {LARGEST_JSON_BYTES} bytes: send binary tensors.")
    try:
        request = msgspec.json.decode(body[:length], type=_Request)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProtocolError(f"the JSON cannot be read: {error}.") from None
    rest = memoryview(body)[length:]
    inputs: dict[str, Array] = {}
    for tensor in request.inputs:
        inputs[tensor.name], rest = _array(tensor, rest)
    if len(rest):
        raise ProtocolError(f"{len(rest)} bytes belong to no tensor.")
    given = request.parameters
    return Parsed(
        request.id,
        inputs,
        _sequence(given.get("sequence_id", 0)),
        _flag(given, "sequence_start"),
        _flag(given, "sequence_end"),
        {output.name: _flag(output.parameters, "binary_data") for output in request.outputs},
        _flag(given, "binary_data_output"),
    )


def require_outputs(parsed: Parsed, names: Collection[str]) -> None:
    """Refuses a request before it is run: a sequence would have gone on.

    Raises:
        ProtocolError: an output that is not there is asked for.
    """
    for name in parsed.outputs:
        if name not in names:
            raise ProtocolError(f"the model has no output {name}.")


def answer(parsed: Parsed, model: str, outputs: Mapping[str, Array]) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON where tensors follow.

    Raises:
        ProtocolError: an output that is not there was asked for.
    """
    require_outputs(parsed, outputs)
    described, behind = [], []
    for name in parsed.outputs or outputs:
        array = np.asarray(outputs[name], order="C")
        one: dict[str, Any] = {
            "name": name,
            "datatype": NAMES[array.dtype.name],
            "shape": list(array.shape),
        }
        if parsed.outputs.get(name, parsed.binary):
            one["parameters"] = {"binary_data_size": array.nbytes}
            behind.append(array.tobytes())
        else:
            one["data"] = array.reshape(-1).tolist()
        described.append(one)
    head: dict[str, Any] = {"model_name": model, "model_version": "1", "outputs": described}
    if parsed.id:
        head["id"] = parsed.id
    if parsed.sequence:
        head["parameters"] = {"sequence_id": msgspec.json.decode(parsed.sequence)}
    data = msgspec.json.encode(head)
    return data + b"".join(behind), len(data) if behind else None


def _array(tensor: _Tensor, rest: memoryview) -> tuple[Array, memoryview]:
    """An input, and what follows it in the body."""
    where = f"input {tensor.name}"
    if tensor.datatype not in TYPES:
        raise ProtocolError(f"{where}: there is no type {tensor.datatype or 'given'}.")
    if len(tensor.shape) > MOST_AXES or any(size < 0 for size in tensor.shape):
        raise ProtocolError(f"{where}: the shape {list(tensor.shape)} is none.")
    dtype, count = np.dtype(TYPES[tensor.datatype]), math.prod(tensor.shape)
    size = tensor.parameters.get("binary_data_size")
    if size is not None:
        if size != count * dtype.itemsize or size > len(rest):
            raise ProtocolError(f"{where}: its shape needs {count * dtype.itemsize} bytes.")
        return _shaped(tensor, np.frombuffer(rest[:size], dtype)), rest[size:]
    given = tensor.data if tensor.data is not None else []
    try:
        array = np.array(given, dtype).reshape(-1)
        rounded = dtype.kind in "iu" and not np.array_equal(np.array(given).reshape(-1), array)
    except (ValueError, TypeError, OverflowError):
        rounded = True
    if rounded:
        raise ProtocolError(f"{where}: its data are not of type {tensor.datatype}.")
    if array.size != count:
        raise ProtocolError(f"{where}: its shape needs {count} values, not {array.size}.")
    return _shaped(tensor, array), rest


def _shaped(tensor: _Tensor, array: Array) -> Array:
    try:
        return array.reshape(tensor.shape)
    except ValueError:  # sizes that no array may have, beside one of 0
        raise ProtocolError(
            f"input {tensor.name}: the shape {list(tensor.shape)} is none."
        ) from None


def _sequence(value: Any) -> str:
    """A sequence as text; empty where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | str) or len(str(value)) > 128:
        raise ProtocolError("sequence_id is neither a number nor a short text.")
    return msgspec.json.encode(value).decode() if value else ""


def _flag(values: Mapping[str, Any], name: str) -> bool:
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise ProtocolError(f"{name} is neither true nor false.")
    return value

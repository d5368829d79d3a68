"""If these break, clients of the protocol get nonsense, or a request takes the server down."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import numpy as np
import pytest

from mquans.serve.tensors import (
    LARGEST_JSON_BYTES,
    ProtocolError,
    answer,
    packed,
    parse,
    require_outputs,
    unpacked,
)

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


def request(**more: Any) -> bytes:
    tensor = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": VALUES.tolist()} | more
    return json.dumps({"inputs": [tensor]}).encode()


def test_json_tensors_may_be_flat_or_nested() -> None:
    for data in (VALUES.tolist(), VALUES.reshape(-1).tolist()):
        np.testing.assert_array_equal(parse(request(data=data), None).inputs["x"], VALUES)


def test_binary_tensors_follow_the_json() -> None:
    head = request(data=None, parameters={"binary_data_size": 24})
    parsed = parse(head + VALUES.tobytes(), str(len(head)))
    np.testing.assert_array_equal(parsed.inputs["x"], VALUES)


@pytest.mark.parametrize("identity", [7, "door"])
def test_sequences_have_numbers_or_names(identity: int | str) -> None:
    body = json.loads(request())
    body["parameters"] = {"sequence_id": identity, "sequence_start": True}
    parsed = parse(json.dumps(body).encode(), None)
    assert (parsed.start, parsed.end) == (True, False)
    assert json.loads(parsed.sequence) == identity
    found = json.loads(answer(parsed, "m", {"y": VALUES})[0])
    assert found["parameters"] == {"sequence_id": identity}


def test_a_number_and_the_same_as_text_are_two_sequences() -> None:
    def name(identity: Any) -> str:
        body = json.loads(request()) | {"parameters": {"sequence_id": identity}}
        return parse(json.dumps(body).encode(), None).sequence

    assert name(7) != name("7")
    assert name(0) == name("") == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datatype": "FP8"}, "no type"),
        ({"shape": [2, 4]}, "8 values"),
        ({"shape": [-2, -3]}, "shape"),
        ({"shape": [10**9, 10**9]}, "values"),
        ({"data": [[1, 2], [3]]}, "data"),
        ({"data": ["a"] * 6}, "data"),
        ({"data": [0, 1, 2, 3, 4, 5.5], "datatype": "UINT8"}, "not of type UINT8"),
        ({"data": [], "shape": [2**62, 0]}, "is none"),
        ({"parameters": {"binary_data_size": 24}}, "24 bytes"),
        ({"parameters": {"binary_data_size": "x"}}, "24 bytes"),
    ],
)
def test_tensors_that_are_none_are_told(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        parse(request(**change), None)


@pytest.mark.parametrize("length", ["-1", "x", "1000000", "9" * 5000])
def test_a_length_beyond_the_body_is_refused(length: str) -> None:
    with pytest.raises(ProtocolError):
        parse(request(), length)


def test_json_without_end_is_not_read() -> None:
    body = b" " * (LARGEST_JSON_BYTES + 1)
    with pytest.raises(ProtocolError, match="send binary tensors"):
        parse(body, None)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"inputs": 3}'])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        parse(body, None)


def test_bytes_too_many_are_refused() -> None:
    with pytest.raises(ProtocolError, match="belong to no tensor"):
        parse(request() + b"more", str(len(request())))


@pytest.mark.parametrize("value", [True, 1.5, ["a"], {}, "x" * 200])
def test_sequences_of_other_kinds_are_refused(value: Any) -> None:
    body = json.loads(request()) | {"parameters": {"sequence_id": value}}
    with pytest.raises(ProtocolError, match="sequence_id"):
        parse(json.dumps(body).encode(), None)


def test_outputs_come_as_they_were_asked_for() -> None:
    body = json.loads(request())
    body["outputs"] = [{"name": "y", "parameters": {"binary_data": True}}, {"name": "z"}]
    parsed = parse(json.dumps(body).encode(), None)
    data, length = answer(parsed, "m", {"y": VALUES, "z": np.ones(2), "other": VALUES})
    found = json.loads(data[:length])
    assert [one["name"] for one in found["outputs"]] == ["y", "z"]
    assert found["outputs"][1]["data"] == [1, 1]
    np.testing.assert_array_equal(np.frombuffer(data[length:], np.float32).reshape(2, 3), VALUES)
    with pytest.raises(ProtocolError, match="no output y"):
        answer(parsed, "m", {})
    require_outputs(parsed, ["y", "z"])
    with pytest.raises(ProtocolError, match="no output z"):
        require_outputs(parsed, ["y"])


def test_bodies_may_be_compressed() -> None:
    assert unpacked(gzip.compress(b"abc"), "gzip", 10) == b"abc"
    assert unpacked(zlib.compress(b"abc"), "deflate", 10) == b"abc"
    assert unpacked(b"abc", "", 10) == b"abc"
    for accepted, unpack in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        data, encoding = packed(b"abc", accepted)
        assert (unpack(data), encoding) == (b"abc", accepted)
    assert packed(b"abc", "br") == (b"abc", "")


@pytest.mark.parametrize(
    ("body", "encoding", "words"),
    [
        (gzip.compress(b"\0" * 10_000_000, mtime=0), "gzip", "may have 1000 bytes"),
        (gzip.compress(b"abc", mtime=0)[:-5], "gzip", "cut off"),
        (b"abc", "gzip", "damaged"),
        (b"abc", "br", "not br"),
    ],
)
def test_bodies_that_grow_without_end_or_are_damaged_are_refused(
    body: bytes, encoding: str, words: str
) -> None:
    with pytest.raises(ProtocolError, match=words):
        unpacked(body, encoding, 1000)

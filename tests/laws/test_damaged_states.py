"""A saved stream that is damaged, or belongs to something else, must be refused and must leave the
stream it was loaded into as it was: anything else would show wrong pictures without a word."""

from __future__ import annotations

import hashlib
import struct
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.errors import StateError
from mquans.runtime.session import Session
from mquans.runtime.state import MAGIC, VERSION

from .builders import same_outputs, same_states
from .networks import Network, network
from .strategies import examples

PREFIX = struct.Struct("<16sII")
CHECKSUM_BYTES = 32


@cache
def saved(name: str = "speech") -> tuple[Network, Session, bytes]:
    net = network(name)
    session = net.session()
    with session.stream() as stream:
        for frame in net.frames(1, 3):
            stream.step(frame)
        return net, session, stream.save()


def refused(state: bytes, match: str = ".") -> None:
    """Asserts that the state is refused, by a new stream and by one that runs."""
    net, session, _ = saved()
    with pytest.raises(StateError, match=match):
        session.restore(state)
    stream, plain = session.stream(), session.stream()
    first, second = net.frames(8, 2)
    for each in (stream, plain):
        each.step(first)
    with pytest.raises(StateError, match=match):
        stream.load(state)
    assert stream.frames == 1
    same_states(stream, plain)
    same_outputs(stream.step(second), plain.step(second))


def parts(state: bytes) -> tuple[dict[str, object], bytes]:
    """(header, payload)."""
    _, _, size = PREFIX.unpack_from(state)
    body = state[PREFIX.size : -CHECKSUM_BYTES]
    return msgspec.json.decode(body[:size]), body[size:]


def assembled(header: dict[str, object], payload: bytes, version: int = VERSION) -> bytes:
    """A state with a checksum that fits."""
    text = msgspec.json.encode(header)
    state = PREFIX.pack(MAGIC, version, len(text)) + text + payload
    return state + hashlib.sha256(state).digest()


def test_taking_a_state_apart_and_together_again_changes_nothing() -> None:
    """The forgeries below are refused for what they forge only."""
    net, session, state = saved()
    again = session.restore(assembled(*parts(state)))
    [frame] = net.frames(8, 1)
    same_outputs(again.step(frame), session.restore(state).step(frame))


def test_truncated() -> None:
    _, _, state = saved()
    for size in [*range(0, 400, 7), len(state) // 2, len(state) - 1]:
        refused(state[:size])
    refused(state + b"\0")


def test_any_flipped_bit_up_to_the_payload() -> None:
    """Magic, version, sizes and header: every single bit counts."""
    _, session, state = saved()
    header_end = len(state) - len(parts(state)[1])
    escaped: list[tuple[int, int, str]] = []
    for at in range(header_end):
        for bit in range(8):
            broken = bytearray(state)
            broken[at] ^= 1 << bit
            try:
                session.restore(bytes(broken))
            except StateError:
                continue
            except Exception as error:
                escaped.append((at, bit, repr(error)))
            else:
                escaped.append((at, bit, f"accepted: {bytes(broken[at - 9 : at + 2])!r}"))
    assert not escaped


@examples(60)
@given(st.data())
def test_flipped_bits_in_the_payload(data: st.DataObject) -> None:
    _, session, state = saved()
    payload = len(parts(state)[1])
    broken = bytearray(state)
    broken[len(state) - 1 - data.draw(st.integers(0, payload - 1))] ^= 1 << data.draw(
        st.integers(0, 7)
    )
    with pytest.raises(StateError, match="checksum"):
        session.restore(bytes(broken))


@examples(100)
@given(st.binary(max_size=600), st.booleans())
def test_arbitrary_bytes(noise: bytes, begins_well: bool) -> None:
    _, session, _ = saved()
    prefix = PREFIX.pack(MAGIC, VERSION, len(noise) // 2) if begins_well else b""
    with pytest.raises(StateError):
        session.restore(prefix + noise)


def test_not_a_state_at_all() -> None:
    net, _, _ = saved()
    refused(b"", "not a saved mquans stream")
    refused(net.model, "not a saved mquans stream")


def test_from_a_newer_version() -> None:
    _, _, state = saved()
    refused(assembled(*parts(state), version=VERSION + 1), "format")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    _, session, _ = saved()
    with pytest.raises(StateError, match="nothing"):
        session.restore(tmp_path / "nothing")


def test_of_another_model() -> None:
    _, _, state = saved("detector")
    refused(state, "another model")


def test_under_another_plan() -> None:
    net, _, _ = saved()
    for plan in (
        msgspec.structs.replace(net.plan, rule="nearest"),
        msgspec.structs.replace(
            net.plan,
            layers=(
                msgspec.structs.replace(net.plan.layers[0], bits=3), *net.plan.layers[1:],
            ),
        ),
    ):  # fmt: skip
        with Session(net.model, plan).stream() as stream:
            refused(stream.save(), "another plan")


@pytest.mark.parametrize("value", [14337, -14337, 32767, -32768])
@pytest.mark.parametrize("index", [0, -1])
def test_held_values_beyond_the_grid(value: int, index: int) -> None:
    """Only within the grid is overflow impossible."""
    _, _, state = saved()
    header, payload = parts(state)
    held = np.frombuffer(payload[: 2 * int(str(header["held"]))], "<i2").copy()
    held[index] = value
    refused(assembled(header, held.tobytes() + payload[held.nbytes :]), "does not fit")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite(value: float) -> None:
    _, _, state = saved()
    header, payload = parts(state)
    refused(assembled(header, payload[:-4] + np.float32(value).tobytes()), "does not fit")


def test_sizes_that_lie() -> None:
    _, _, state = saved()
    header, payload = parts(state)
    held = int(str(header["held"]))
    for forged in (
        {"held": held - 2, "inputs": {"x": 320 + 1}},
        {"held": -held},
        {"inputs": {"y": 320}},
        {"inputs": {}},
        {"frames": -1},
        {"held": 2**62},
    ):
        refused(assembled(header | forged, payload))

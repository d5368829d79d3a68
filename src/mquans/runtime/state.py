"""Saved streams. By the law the accumulators follow from the held values, so these, the last input,
the number of frames and what makes a keyframe are all there is to save.

Layout: MAGIC, version (u32), header length (u32), header (JSON), held values (int16), codes
(int16), inputs (float32), SHA-256 of all before; all little-endian.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from mquans.errors import StateError
from mquans.runtime.compiled import Compiled
from mquans.runtime.lowering.quantization import grid_limit

MAGIC = b"mquans-state\n\0\0\0"
VERSION = 2
_PREFIX = struct.Struct("<16sII")
_CHECKSUM_BYTES = 32


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model_sha256: str
    plan_fingerprint: str
    frames: int
    held: int
    codes: int
    inputs: dict[str, int]
    busy_from: Annotated[int, msgspec.Meta(ge=1, lt=2**62)]


@dataclass(frozen=True, slots=True)
class SavedState:
    """The state of one stream.

    Attributes:
        model_sha256, plan_fingerprint: what it belongs to.
        frames: steps done so far.
        held: the held values of all layers computed value by value, int16 [n].
        codes: of all tensors of the integer engine, int16 [n].
        inputs: the last frame by input name, float32 [n].
        busy_from: pixels taken from which on a frame is a keyframe.
    """

    model_sha256: str
    plan_fingerprint: str
    frames: int
    held: npt.NDArray[np.int16]
    codes: npt.NDArray[np.int16]
    inputs: dict[str, npt.NDArray[np.float32]]
    busy_from: int

    def encode(self) -> bytes:
        """The saved form."""
        arrays = [self.held.astype("<i2").tobytes(), self.codes.astype("<i2").tobytes()]
        arrays += [value.astype("<f4").tobytes() for value in self.inputs.values()]
        payload = b"".join(arrays)
        header = msgspec.json.encode(
            _Header(
                model_sha256=self.model_sha256,
                plan_fingerprint=self.plan_fingerprint,
                frames=self.frames,
                held=self.held.size,
                codes=self.codes.size,
                inputs={name: value.size for name, value in self.inputs.items()},
                busy_from=self.busy_from,
            )
        )
        state = _PREFIX.pack(MAGIC, VERSION, len(header)) + header + payload
        return state + hashlib.sha256(state).digest()


def decode(data: bytes) -> SavedState:
    """Reads a saved state.

    Raises:
        StateError: not a state, damaged, or from a newer version.
    """
    if len(data) < _PREFIX.size + _CHECKSUM_BYTES or not data.startswith(MAGIC):
        raise StateError("this is not a saved mquans stream.")
    _, version, header_size = _PREFIX.unpack_from(data)
    if version != VERSION:
        raise StateError(
            f"the stream was saved in format {version}; this mquans reads {VERSION}.",
            hint="Restore it with the version that saved it, or start a new stream.",
        )
    content, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    body = memoryview(content)[_PREFIX.size :]
    try:
        header = msgspec.json.decode(body[:header_size], type=_Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateError("the saved stream is damaged: its header cannot be read.") from error
    payload = body[header_size:]
    sizes = [2 * header.held, 2 * header.codes, *(4 * size for size in header.inputs.values())]
    if min(sizes) < 0 or header.frames < 0 or sum(sizes) != len(payload):
        raise StateError("the saved stream is truncated or has bytes too many.")
    if hashlib.sha256(content).digest() != checksum:
        raise StateError("the saved stream is damaged: its checksum does not match.")
    held = np.frombuffer(payload[: sizes[0]], "<i2").astype(np.int16)
    codes = np.frombuffer(payload[sizes[0] :][: sizes[1]], "<i2").astype(np.int16)
    inputs, at = {}, sizes[0] + sizes[1]
    for name, size in header.inputs.items():
        inputs[name] = np.frombuffer(payload[at : at + 4 * size], "<f4").astype(np.float32)
        at += 4 * size
    return SavedState(
        header.model_sha256, header.plan_fingerprint, header.frames, held, codes, inputs,
        header.busy_from,
    )  # fmt: skip


def snapshot(network: Compiled, native: Any, frames: int) -> SavedState:
    """The state of a native stream."""
    inputs = network.lowered.stored_inputs
    codes = [native.read_codes(tensor).reshape(-1) for tensor in network.coded]
    return SavedState(
        network.model_sha256,
        network.plan_fingerprint,
        frames,
        native.held,
        np.concatenate([np.empty(0, np.int16), *codes]),
        {name: native.read(tensor).reshape(-1) for name, tensor in inputs.items()},
        native.busy_from,
    )


def check_fits(network: Compiled, native: Any, saved: SavedState) -> None:
    """Refuses a state of another network, or one that could make sums overflow.

    Raises:
        StateError: says why.
    """
    if saved.model_sha256 != network.model_sha256:
        raise StateError("the stream was saved under another model.")
    if saved.plan_fingerprint != network.plan_fingerprint:
        raise StateError("the stream was saved under another plan.")
    stored = network.lowered.stored_inputs
    sizes = {name: network.graph.types[name].size for name in stored}
    fits = (
        saved.held.size == native.held.size
        and saved.codes.size == sum(network.coded.values())
        and {name: value.size for name, value in saved.inputs.items()} == sizes
        and np.abs(saved.held.astype(np.int32)).max(initial=0) <= grid_limit(network.plan.grid_bits)
        and all(np.isfinite(value).all() for value in saved.inputs.values())
    )
    limits = network.lowered.sites.limits
    # Sums cannot overflow only as long as no code is beyond its tensor's limit.
    if not fits or any(
        np.abs(part.astype(np.int32)).max(initial=0) > limits[tensor]
        for tensor, part in _parts(network, saved.codes)
    ):
        raise StateError("the saved stream does not fit this session's network.")


def install(network: Compiled, native: Any, saved: SavedState) -> None:
    """Writes a state that fits into a native stream, which is to be recomputed then."""
    native.set_held(saved.held)
    native.busy_from = saved.busy_from
    for tensor, part in _parts(network, saved.codes):
        native.write_codes(tensor, np.ascontiguousarray(part))
    for name, value in saved.inputs.items():
        native.write(network.lowered.stored_inputs[name], value)


def _parts(
    network: Compiled, codes: npt.NDArray[np.int16]
) -> Iterator[tuple[int, npt.NDArray[np.int16]]]:
    """Codes by tensor."""
    at = 0
    for tensor, size in network.coded.items():
        yield tensor, codes[at : at + size]
        at += size

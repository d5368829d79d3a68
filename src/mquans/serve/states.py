"""What cameras go on with after a restart: per camera a small JSON of where it stands, and its
stream, with the place in its file, as it was when the server was stopped."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from mquans.errors import MquansError, StateError
from mquans.files import atomic_write, read_limited
from mquans.runtime.stream import STATE_LIMIT_BYTES

_POSITION = struct.Struct("<Q")
_CHECK = struct.Struct("<I")
_HEAD = _POSITION.size + _CHECK.size

LARGEST_RECORD_BYTES = 1 << 20


class Record(msgspec.Struct, frozen=True):
    """Where a camera stands.

    Attributes:
        epoch: of its last owner.
        counters: since it was first seen.
        guard_level: steps that its guard has tightened.
    """

    epoch: int
    counters: dict[str, int] = {}
    guard_level: int = 0
    enabled: bool = True


class StateFolder:
    """The files of all cameras; without a folder nothing is kept.

    Attributes:
        errors: files that could not be written.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder) if folder else None
        self._written: dict[str, Record] = {}
        self.errors = 0

    def prepare(self) -> None:
        """Makes the folder.

        Raises:
            MquansError: it cannot be made.
        """
        if self._folder is not None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise MquansError(
                    f"the folder for states cannot be made: {error.strerror}.",
                    where=str(self._folder),
                ) from None

    def stream_file(self, camera: str) -> str:
        """Where its stream is saved; empty without a folder."""
        return "" if self._folder is None else str(self._folder / f"{camera}.stream")

    def has_stream(self, camera: str) -> bool:
        return self._folder is not None and Path(self.stream_file(camera)).exists()

    def read(self, camera: str) -> Record:
        """Where it stood; at the beginning if that cannot be read."""
        if self._folder is None:
            return Record(0)
        try:
            data = read_limited(self._folder / f"{camera}.json", LARGEST_RECORD_BYTES)
            return msgspec.json.decode(data, type=Record)
        except (MquansError, msgspec.MsgspecError, UnicodeDecodeError):
            return Record(0)

    def write(self, camera: str, record: Record, *, counters: bool = True) -> str:
        """Writes what has changed, whole or not at all; why it could not, else empty.

        Args:
            counters: also where nothing else has changed, as with every frame.
        """
        if self._folder is None:
            return ""
        before = self._written.get(camera)
        known = before if before is None or counters else replace(before, counters=record.counters)
        if record == known:
            return ""
        try:
            atomic_write(self._folder / f"{camera}.json", msgspec.json.encode(record))
        except MquansError as error:
            self.errors += 1
            return str(error)
        self._written[camera] = record
        return ""


def keep_state(path: str, state: bytes, position: int) -> None:
    """Writes a stream and its place in a file.

    Raises:
        MquansError: it cannot be written; what was there stays.
    """
    head = _POSITION.pack(position)
    atomic_write(path, head + _CHECK.pack(zlib.crc32(head)) + state)


def take_state(path: str) -> tuple[bytes, int]:
    """A stream's state and its place; the file is removed, as it holds for this once.

    Raises:
        StateError: it cannot be read, is damaged, or cannot be removed.
    """
    data = read_limited(path, STATE_LIMIT_BYTES, error=StateError)
    try:
        Path(path).unlink()
    except OSError as error:
        raise StateError(f"the saved stream cannot be removed: {error.strerror}.") from None
    head = data[: _POSITION.size]
    if len(data) < _HEAD or data[len(head) : _HEAD] != _CHECK.pack(zlib.crc32(head)):
        raise StateError("the saved stream is damaged.")
    return data[_HEAD:], int(_POSITION.unpack(head)[0])


def counters_of(counts: Any, before: dict[str, int]) -> dict[str, int]:
    """Counts of this owner on top of those before; a place in a file is none."""
    now = msgspec.structs.asdict(counts)
    del now["position"]
    return {name: before.get(name, 0) + value for name, value in now.items()}

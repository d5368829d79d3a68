"""Outputs of a whole run as one .npz file, without keeping them in memory."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt

from mquans.errors import MquansError
from mquans.files import PathLike, printable, reason

Outputs = Mapping[str, npt.NDArray[np.float32]]


class NpzWriter:
    """Writes one array per output, frames first: a network output [1, C, H, W] becomes
    [frames, C, H, W].

    While frames come, each output grows in a hidden file of its own beside the target. Leaving the
    context without an error packs them and puts the archive in place at once; leaving it with one
    removes everything, and whatever was at the target stays.

    >>> with NpzWriter("outputs.npz") as file:  # doctest: +SKIP
    ...     file.add(stream.step(frame))

    Raises:
        MquansError: the file cannot be written.
    """

    def __init__(self, path: PathLike) -> None:
        self._path = Path(os.path.realpath(path))
        if self._path.suffix.lower() != ".npz":
            raise MquansError(
                "outputs are written as .npz.",
                where=printable(str(path)),
                hint="Give a file name that ends in .npz.",
            )
        self._stem = f".mquans-{secrets.token_hex(8)}"
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._files: dict[str, BinaryIO] = {}
        self._frames = 0

    def __enter__(self) -> Self:
        with self._explained():  # an unwritable folder is better found now than after the run
            self._temporary("zip").open("xb").close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                with self._explained():
                    self._pack()
        finally:
            self._clean()

    def add(self, outputs: Outputs) -> None:
        """Appends the outputs of one frame."""
        with self._explained():
            for index, (name, array) in enumerate(outputs.items()):
                if name not in self._files:
                    self._files[name] = self._temporary(str(index)).open("xb")
                    self._shapes[name] = array.shape
                self._files[name].write(np.ascontiguousarray(array).data)
        self._frames += 1

    def _pack(self) -> None:
        target = self._temporary("zip")
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for index, (name, file) in enumerate(self._files.items()):
                file.close()
                raw = self._temporary(str(index))
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    header = {
                        "descr": "<f4",
                        "fortran_order": False,
                        "shape": self._stacked(self._shapes[name]),
                    }
                    np.lib.format.write_array_header_1_0(member, header)
                    with raw.open("rb") as source:
                        shutil.copyfileobj(source, member, 1 << 20)
                raw.unlink()
        with target.open("rb") as packed:
            os.fsync(packed.fileno())
        target.replace(self._path)

    def _stacked(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self._frames, *(shape[1:] if shape[:1] == (1,) else shape))

    def _temporary(self, part: str) -> Path:
        return self._path.parent / f"{self._stem}-{part}.tmp"

    def _clean(self) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):  # a full disk also fails the last flush
                file.close()
        for index in range(len(self._files)):
            self._temporary(str(index)).unlink(missing_ok=True)
        self._temporary("zip").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = printable(str(self._path))
            raise MquansError(f"cannot be written: {reason(error)}", where=where) from error

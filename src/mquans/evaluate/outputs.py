"""Outputs of a whole run as one .npz file, without keeping them in memory."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from mquans.errors import MquansError
from mquans.files import PathLike, printable, reason
from mquans.sources.frames import TIMES

Outputs = Mapping[str, npt.NDArray[Any]]
Shape = tuple[int, ...]


@dataclass(slots=True)
class _Output:
    """One output of the network while frames come: its values in a file, and what they are."""

    file: BinaryIO
    dtype: np.dtype[Any]
    shapes: list[Shape]

    def add(self, name: str, array: npt.NDArray[Any]) -> None:
        if array.dtype != self.dtype or (self.shapes and array.ndim != len(self.shapes[0])):
            raise MquansError(
                f"changes from {self.dtype} of {len(self.shapes[0])} axes to {array.dtype} of "
                f"{array.ndim}, which no array file can hold.",
                where=f"output {printable(name)!r}, frame {len(self.shapes)}",
            )
        self.file.write(np.ascontiguousarray(array).data)
        self.shapes.append(array.shape)

    def close(self, frames: int) -> None:
        """Leaves so many frames in the file; more may have been begun."""
        del self.shapes[frames:]
        self.file.truncate(sum(map(prod, self.shapes)) * self.dtype.itemsize)
        self.file.close()

    def forms(self) -> tuple[Shape, dict[str, npt.NDArray[np.int64]]]:
        """(shape of all values together, arrays that say where those of a frame are)."""
        shapes = self.shapes
        if all(shape[:1] == (1,) for shape in shapes):
            shapes = [shape[1:] for shape in shapes]
        if len(set(shapes)) == 1:
            return (len(shapes), *shapes[0]), {}
        if len({shape[1:] for shape in shapes}) == 1:
            counts, rest = [shape[0] for shape in shapes], shapes[0][1:]
            return (sum(counts), *rest), {"offsets": _offsets(counts)}
        counts = [prod(shape) for shape in shapes]
        return (sum(counts),), {"offsets": _offsets(counts), "shapes": np.array(shapes, np.int64)}


def _offsets(counts: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


class NpzWriter:
    """Writes one array per output, of the type that the network gives, frames first: an output
    [1, C, H, W] becomes [frames, C, H, W].

    An output `y` whose shape differs from frame to frame becomes the rows of all frames one behind
    the other, and `y.offsets` [frames + 1]: those of frame i are `y[offsets[i]:offsets[i + 1]]`. If
    more than the number of rows differs, they are single values, and `y.shapes` [frames, axes] is
    the shape of each. In both the axis of a batch of one is left out. Where the times of frames are
    known, they are `frame.time_s` [frames], float64 seconds, NaN of those without.

    While frames come, each output grows in a hidden file of its own beside the target. Leaving the
    context without an error packs them and puts the archive in place at once; leaving it with one
    removes everything, and whatever was at the target stays. Of a stream that cannot be run again,
    what came before an error may be kept.

    Attributes:
        keep: after an error, pack the whole frames that came before it, and warn of it.

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
        if self._path.exists() and not self._path.is_file():
            raise MquansError(
                "is a folder, pipe or device; outputs are written to a file.",
                where=printable(str(path)),
                hint="Give another name.",
            )
        self.keep = False
        self._stem = f".mquans-{secrets.token_hex(8)}"
        self._outputs: dict[str, _Output] = {}
        self._times: list[float | None] = []

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
            elif self.keep and self._frames and issubclass(kind, Exception):
                with contextlib.suppress(OSError):  # such as the full disk that is the error
                    self._pack()
                    where = printable(str(self._path))
                    warnings.warn(f"{where} holds the {self._frames} frames before.", stacklevel=2)
        finally:
            self._clean()

    def add(self, outputs: Outputs, time_s: float | None = None) -> None:
        """Appends the outputs of one frame.

        Args:
            time_s: of the frame, see `Source.time_s`.
        """
        with self._explained():
            for index, (name, array) in enumerate(outputs.items()):
                if array.dtype.hasobject:
                    raise MquansError(
                        "holds strings or other objects, which are not written to files.",
                        where=f"output {printable(name)!r}",
                    )
                if name not in self._outputs:
                    file = self._temporary(str(index)).open("xb")
                    self._outputs[name] = _Output(file, array.dtype, [])
                self._outputs[name].add(name, array)
        self._times.append(time_s)

    @property
    def _frames(self) -> int:
        """Frames of which all outputs were added."""
        return min((len(output.shapes) for output in self._outputs.values()), default=0)

    def _pack(self) -> None:
        frames = self._frames
        target = self._temporary("zip")
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for index, (name, output) in enumerate(self._outputs.items()):
                output.close(frames)
                raw = self._temporary(str(index))
                shape, places = output.forms()
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    header = {
                        "descr": np.lib.format.dtype_to_descr(output.dtype),
                        "fortran_order": False,
                        "shape": shape,
                    }
                    np.lib.format.write_array_header_1_0(member, header)
                    with raw.open("rb") as source:
                        shutil.copyfileobj(source, member, 1 << 20)
                raw.unlink()
                for place, array in places.items():
                    with archive.open(f"{name}.{place}.npy", "w") as member:
                        np.lib.format.write_array(member, array)
            if any(time_s is not None for time_s in self._times):
                with archive.open(f"{TIMES}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.array(self._times[:frames], np.float64))
        with target.open("rb") as packed:
            os.fsync(packed.fileno())
        target.replace(self._path)

    def _temporary(self, part: str) -> Path:
        return self._path.parent / f"{self._stem}-{part}.tmp"

    def _clean(self) -> None:
        for output in self._outputs.values():
            with contextlib.suppress(OSError):  # a full disk also fails the last flush
                output.file.close()
        for index in range(len(self._outputs)):
            self._temporary(str(index)).unlink(missing_ok=True)
        self._temporary("zip").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = printable(str(self._path))
            raise MquansError(f"cannot be written: {reason(error)}", where=where) from error

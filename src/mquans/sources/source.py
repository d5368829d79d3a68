"""A source of frames, whatever it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from mquans.errors import SourceError
from mquans.plan import AudioFormat, InputFormat
from mquans.sources.arrays import is_ready
from mquans.sources.clips import Recorded
from mquans.sources.frames import FirstFrame, Timed, in_place_of
from mquans.sources.preparation import (
    Picture,
    Preparation,
    Tensor,
    check_picture,
    frame_to_rgb,
    place_boxes,
)
from mquans.sources.selection import Selection
from mquans.sources.unreadable import Unreadable

PICTURE_RANK = 4
"""Axes from which on an input takes pictures."""

Feed = Tensor | dict[str, Tensor]
"""One network input, or several by name; see `FirstFrame` for where a recording begins."""


class Reader(Protocol):
    """Where items come from: pictures (decoded video frames or arrays), tuples of them, ready
    arrays, or arrays by input name (of sound: ready for the network)."""

    @property
    def name(self) -> str: ...

    @property
    def total(self) -> int | None:
        """Frames before selection, if known."""

    def frames(self, selection: Selection) -> Iterator[Any]: ...

    def close(self) -> None: ...


@runtime_checkable
class Endless(Protocol):
    """A reader of a camera, microphone or pipe: it goes on until somebody ends it."""

    def end(self) -> None:
        """Let whoever waits for an item find the end; safe in signal handlers."""


class Source:
    """An iterator of network inputs with a batch axis, float32 or, of pixels, uint8; also a context
    manager.

    Pictures are prepared by the format; ready tensors pass through (see `open_source`). Iterating
    consumes the source; open it again for another pass.

    Attributes:
        name: for messages and provenance, without passwords.
        length: frames that will come, if known; for video as its container declares it.
        live: of a camera, microphone or pipe; it goes on until it is ended, and cannot be run
            again.
        time_s: when the frame that came last was taken, in seconds: of a window its last picture,
            as its video or camera counts; of sound the end of the frame, counted from the beginning
            of its recording. None where nothing says so, as of arrays and pictures in files.
    """

    def __init__(
        self,
        reader: Reader,
        selection: Selection,
        format: InputFormat | AudioFormat | None,
        input_shapes: Mapping[str, Sequence[int]] | None,
        *,
        pixels: bool = False,
        unreadable: Unreadable | None = None,
    ) -> None:
        self.name = reader.name
        self.length = _selected(reader.total, selection)
        self.live = isinstance(reader, Endless)
        self.time_s: float | None = None
        self._reader = reader
        self._items = reader.frames(selection)
        self._preparation = (
            Preparation(format, pixels=pixels) if isinstance(format, InputFormat) else None
        )
        self._ranks = {name: len(shape) for name, shape in (input_shapes or {}).items()}
        if isinstance(format, AudioFormat):
            self._ranks[format.name] = len(format.shape)
        self._frames = 0
        self._unreadable = unreadable
        self._window: dict[int, tuple[Any, Tensor]] = {}
        """Pictures of the last window by identity, and prepared."""
        self._item: Any = None
        self._reformatter: Any = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Feed:
        self.advance()
        return self.frame()

    def advance(self) -> None:
        """Goes on to the next frame without preparing it: `frame` does, for those that are wanted.

        Raises:
            StopIteration: the source has ended.
        """
        self._item = self._next_item()

    def frame(self) -> Feed:
        """The frame that came last, as the network's input."""
        item = self._item
        if isinstance(item, dict):
            tensors = {
                name: self._tensor(value, self._ranks.get(name)) for name, value in item.items()
            }
            return in_place_of(item, tensors)
        if isinstance(item, Recorded):
            prepared = {self._format().format.name: self._prepared(item.item)}
            return FirstFrame(prepared) if item.first else prepared
        if isinstance(item, np.ndarray) and not self._is_picture(item):
            return self._tensor(item, self._only_rank())
        return self._prepared(item)

    @property
    def skipped(self) -> int:
        """Files that could not be read and were left out; see `open_source(on_error=...)`."""
        return 0 if self._unreadable is None else self._unreadable.count

    def _is_picture(self, array: npt.NDArray[Any]) -> bool:
        """False for other types than uint8, and for what is of the shape of a tensor instead."""
        rank = self._only_rank()
        if array.dtype != np.uint8 or rank is None:
            return array.dtype == np.uint8
        return rank >= PICTURE_RANK > array.ndim

    def pictures(self) -> Iterator[tuple[Picture, Tensor]]:
        """Pairs of a picture, uint8 [H, W, 3] in RGB at its own size, and the tensor made of it; of
        a window its last picture.

        Raises:
            SourceError: the source holds ready tensors, which cannot be shown.
        """
        self._format()
        while True:
            try:
                self.advance()
            except StopIteration:
                return
            picture = self.picture()
            yield picture, self._prepared(_shown(self._item))

    def picture(self) -> Picture:
        """The picture that came last, of a window its last one: uint8 [H, W, 3] in RGB at its own
        size.

        Raises:
            SourceError: the source holds ready tensors, which cannot be shown.
        """
        if is_ready(self._item):
            raise SourceError("holds ready tensors, not pictures.", where=self.name)
        shown = _shown(self._item)
        if isinstance(shown, tuple):
            shown = shown[-1]
        if isinstance(shown, np.ndarray):
            return shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2)
        if self._reformatter is None:
            import av

            self._reformatter = av.video.reformatter.VideoReformatter()
        return frame_to_rgb(shown, self._reformatter)

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """Width and height of the picture that was prepared last; None without any."""
        return None if self._preparation is None else self._preparation.picture_size

    def place(self, boxes: Tensor) -> Tensor:
        """Boxes in pixels of the picture that came last, in pixels of the network's input.

        Args:
            boxes: [boxes, 4 or more], see `place_boxes`.

        Raises:
            SourceError: no picture has come; the source holds ready tensors.
        """
        if self._preparation is None or self._preparation.picture_size is None:
            raise SourceError(
                "gives no pictures that boxes could be placed in.",
                where=self.name,
                hint="Beside ready tensors, boxes are in pixels of the network's input (.jsonl).",
            )
        return place_boxes(boxes, self._preparation.format, *self._preparation.picture_size)

    def end(self) -> bool:
        """Ends a live source, as if the camera had: for signal handlers.

        Returns:
            False if it is none, or has given no frame so far: then nothing was done.
        """
        if not isinstance(self._reader, Endless) or self._frames == 0:
            return False
        self._reader.end()
        return True

    def close(self) -> None:
        """Release files and devices; the source ends here."""
        self._items = iter(())
        self._frames = max(self._frames, 1)
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _next_item(self) -> Any:
        try:
            item = next(self._items)
        except StopIteration:
            if self._frames == 0:
                raise SourceError("gave no frame.", where=self.name) from None
            raise
        self._frames += 1
        if isinstance(item, Timed):
            self.time_s = item.time_s
            return item.feeds
        self.time_s = _time_of(item)
        return item

    def _prepared(self, item: Any) -> Tensor:
        """A picture, or a window of them, as the network's input."""
        if isinstance(item, tuple):
            # Most pictures of a window were in the one before.
            known, self._window = self._window, {}
            for picture in item:
                key = id(picture)
                self._window[key] = known.get(key) or (picture, self._prepared(picture))
            return self._format().window([self._window[id(picture)][1] for picture in item])
        if isinstance(item, np.ndarray):
            check_picture(item)
            return self._format().picture(item)
        return self._format().frame(item)

    def _format(self) -> Preparation:
        if self._preparation is None:
            raise SourceError(
                "holds pictures, but nothing says how they become the network's input.",
                where=self.name,
                hint="Give an input format (mquans.sources.guess_format).",
            )
        return self._preparation

    def _only_rank(self) -> int | None:
        """Rank of the input that unnamed tensors are for; None when it is not known."""
        if self._preparation is not None:
            return len(self._preparation.format.layout)
        return next(iter(self._ranks.values())) if len(self._ranks) == 1 else None

    def _tensor(self, array: npt.NDArray[Any], rank: int | None) -> Tensor:
        if array.dtype.kind not in "biuf":
            raise SourceError(
                f"a frame must be numbers (a ready tensor) or uint8 (a picture), not {array.dtype} "
                f"{list(array.shape)}.",
                where=f"{self.name}, frame {self._frames - 1}",
            )
        # Without the network's rank, a leading axis of length 1 is taken for the batch.
        batched = array.ndim == rank if rank is not None else array.ndim > 1 and len(array) == 1
        kept = np.float32 if array.dtype.kind == "f" else array.dtype
        with np.errstate(over="ignore"):  # too large for float32 becomes inf, which streams refuse
            # Of a single number ascontiguousarray would make a vector.
            return np.asarray(array if batched else array[np.newaxis], dtype=kept, order="C")


def _shown(item: Any) -> Any:
    """A picture, or a window of them."""
    return item.item if isinstance(item, Recorded) else item


def _time_of(item: Any) -> float | None:
    """Seconds, of a decoded frame."""
    item = _shown(item)
    if isinstance(item, tuple):
        item = item[-1]
    return getattr(item, "time", None)


def _selected(total: int | None, selection: Selection) -> int | None:
    return None if total is None else len(selection.indices(total))

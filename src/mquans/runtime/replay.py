"""The loop over frames: a clip through a stream, or past engines that are compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from mquans.errors import MetricError, RefusedFrameError
from mquans.runtime.stats import StreamStats
from mquans.runtime.stream import Frame
from mquans.sources.frames import Feeds, FirstFrame, Numbered, begins, finite, numbered

if TYPE_CHECKING:
    from mquans.runtime.session import Session

Outputs = dict[str, npt.NDArray[np.float32]]


class Stepper(Protocol):
    """What frames are run through: a stream, or a guard of one."""

    @property
    def frames(self) -> int: ...

    @property
    def stats(self) -> StreamStats: ...

    def step(self, frame: Frame) -> Outputs: ...


@dataclass(frozen=True, slots=True)
class Replayed:
    """One frame of a clip, and what the stream made of it.

    Attributes:
        index: its number, from 0.
        first: a recording begins with it, or the stream did: it was computed whole.
        outputs, stats: None when it was refused.
        time_ms: of the step.
        error: why it was refused.
    """

    index: int
    feeds: Feeds
    first: bool
    label: Any = None
    outputs: Outputs | None = None
    stats: StreamStats | None = None
    time_ms: float = 0.0
    error: RefusedFrameError | None = None

    @property
    def refused(self) -> bool:
        """It, or a state of the network, held NaN or infinite values."""
        return self.error is not None

    @property
    def made(self) -> tuple[Outputs, StreamStats]:
        """Outputs and statistics, where no frame may be left out.

        Raises:
            RefusedFrameError: it was refused.
        """
        if self.error is not None:
            raise self.error
        assert self.outputs is not None
        assert self.stats is not None
        return self.outputs, self.stats


def replay(
    session: Session,
    frames: Iterable[Frame],
    *,
    stream: Stepper | None = None,
    labels: Sequence[Any] | None = None,
) -> Iterator[Replayed]:
    """Runs frames through a stream, which begins anew with every recording, one for each `next`.

    A frame with NaN or infinite values is refused; where a recording begins with such, the next
    one is its first.

    Args:
        stream: to go on with; by default a new one.
        labels: one per frame.

    Raises:
        FrameError: a frame of a shape or dtype that the network does not take: the wrong source.
        MetricError: there are fewer labels than frames.
    """
    stream = session.stream() if stream is None else stream
    waiting = False
    for index, feeds, _ in numbered(frames, session.frame_inputs):
        label = _label_of(index, labels)
        waiting = waiting or begins(feeds)
        if waiting:
            feeds = FirstFrame(feeds)
        first = waiting or stream.frames == 0
        start = perf_counter_ns()
        try:
            outputs = stream.step(feeds)
        except RefusedFrameError as error:
            yield Replayed(index, feeds, first, label, error=error)
            continue
        time_ms = (perf_counter_ns() - start) / 1e6
        waiting = False
        yield Replayed(index, feeds, first, label, outputs, stream.stats, time_ms)


def usable(session: Session, frames: Iterable[Frame], refused: list[int]) -> Iterator[Numbered]:
    """Frames that every engine takes, for engines side by side; where a recording begins with
    others, the next one is its first.

    Args:
        refused: numbers of those with NaN or infinite values are added.

    Raises:
        FrameError: as `replay`.
    """
    waiting = False
    for index, feeds, first in numbered(frames, session.frame_inputs):
        session.frame_arrays(feeds)
        waiting = waiting or first
        if not finite(feeds):
            refused.append(index)
            continue
        yield Numbered(index, FirstFrame(feeds) if waiting else feeds, waiting)
        waiting = False


def _label_of(index: int, labels: Sequence[Any] | None) -> Any:
    """The label of a frame, None without labels.

    Raises:
        MetricError: there are too few.
    """
    if labels is None:
        return None
    if index >= len(labels):
        raise MetricError(f"there are only {len(labels)} labels.", hint="Give one per frame.")
    return labels[index]

"""Interlaced video, two moments woven line by line, as whole pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import av

FILTER, OPTIONS = "yadif", "mode=send_frame:deint=interlaced"
"""FFmpeg's; one frame for each, and those that are not interlaced as they are."""


class Deinterlacer:
    """Frames in, whole pictures out. Those before the first interlaced one pass as they are; from
    then on a frame comes out once the next one is in, which it is compared with."""

    def __init__(self) -> None:
        self._graph: Any = None
        self._form: tuple[int, int, str] | None = None

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """The frames that this one completes."""
        form = (frame.width, frame.height, frame.format.name)
        if self._graph is not None and form != self._form:
            yield from self.finish()
        if self._graph is None:
            if not frame.interlaced_frame:
                yield frame
                return
            self._graph, self._form = _graph_for(frame), form
        self._graph.push(frame)
        yield from self._pull()

    def finish(self) -> Iterator[av.VideoFrame]:
        """What is left at the end, or in front of a gap."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pull()
            self._graph = None

    def _pull(self) -> Iterator[av.VideoFrame]:
        import av

        while True:
            try:
                yield self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return


def _graph_for(frame: av.VideoFrame) -> Any:
    import av

    graph = av.filter.Graph()
    graph.threads = 1  # as decoding
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    graph.link_nodes(source, graph.add(FILTER, OPTIONS), graph.add("buffersink")).configure()
    return graph

"""Where in the picture a plan spends its work: a short run over frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mquans.evaluate.work_map import WorkMap
from mquans.report.content import Floats
from mquans.runtime.replay import replay
from mquans.runtime.session import Session
from mquans.sources.frames import Feeds


def picture_axes(session: Session) -> tuple[str, int, int] | None:
    """(input name, axis of rows, axis of columns) if the network's only input is a picture."""
    inputs = session.graph.inputs
    if len(inputs) != 1 or len(session.graph.shape(inputs[0])) != 4:
        return None
    format = session.plan.input
    rows = 1 if format is not None and format.layout == "nhwc" else 2
    return inputs[0], rows, rows + 1


def watch(
    session: Session, frames: Sequence[Feeds]
) -> tuple[Floats, npt.NDArray[np.float32]] | None:
    """Runs frames through a new stream.

    Args:
        frames: consecutive; the first is computed whole and not counted.

    Returns:
        (MACs per pixel of the network's input and frame, grey values of the last frame), both
        [height, width]; None for networks that see no pictures, or fewer than two frames.
    """
    axes = picture_axes(session)
    if axes is None or len(frames) < 2:
        return None
    name, rows, columns = axes
    shape = session.graph.shape(name)
    work = WorkMap(session.graph, shape[rows], shape[columns])
    with session.stream() as stream:
        for done in replay(session, frames, stream=stream):
            _ = done.made  # none may be left out
            if done.index:
                work.add(stream)
    channels = next(axis for axis in (1, 3) if axis not in (rows, columns))
    picture = frames[-1][name].mean(axis=channels)[0]
    return work.total / (len(frames) - 1), picture

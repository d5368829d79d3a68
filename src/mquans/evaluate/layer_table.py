"""Which layers reuse pays in, and whether it is worth it on this clip, in one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mquans.baselines import open_engine
from mquans.evaluate.compare import OURS, REFERENCE
from mquans.evaluate.interleave import Outputs, Step, interleave
from mquans.evaluate.progress import Track, silent
from mquans.evaluate.work import Work
from mquans.onnx import ModelFile
from mquans.runtime.session import Session
from mquans.runtime.stats import LayerMode
from mquans.runtime.stream import Frame
from mquans.sources.frames import numbered, resetting

CLEARLY = 1.2
"""Speed-up from which reuse is called worth it; between this and its inverse it makes no odds on a
machine whose speed varies."""


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One reuse layer, means over the frames after the first.

    Attributes:
        macs: of one dense evaluation; taps on padding are not counted.
        similarity: fraction of inputs whose held value did not change.
        macs_fraction: MACs done / MACs of the dense layer.
        mode: how it was updated in most frames.
        time_ms: per frame, the compare of the layers that read it included where that is fused.
        time_share: of the whole frame.
    """

    name: str
    macs: int
    similarity: float
    macs_fraction: float
    mode: LayerMode
    time_ms: float
    time_share: float


@dataclass(frozen=True, slots=True)
class LayerTable:
    """All reuse layers of a network on a clip.

    Attributes:
        frames: after the first, which is computed whole and not counted.
        frame_ms, dense_ms: median per frame, ours and onnxruntime fp32, interleaved.
        other_ms: mean per frame outside reuse layers: compares that could not be fused, other
            operators, input, output and Python.
        macs_fraction: MACs done / MACs of the dense network.
    """

    rows: tuple[LayerRow, ...]
    frames: int
    frame_ms: float
    dense_ms: float
    other_ms: float
    macs_fraction: float

    @property
    def speedup(self) -> float:
        """Dense time / ours."""
        return self.dense_ms / self.frame_ms

    @property
    def verdict(self) -> str:
        """Is reuse worth it on this clip? One sentence."""
        if self.speedup >= CLEARLY:
            worth = "Reuse is worth it on this clip"
        elif self.speedup >= 1 / CLEARLY:
            worth = "Reuse is hardly worth it on this clip"
        else:
            worth = "Reuse is not worth it on this clip"
        found = (
            f"{worth}: {self.frame_ms:.2f} ms a frame where onnxruntime takes {self.dense_ms:.2f} "
            f"({self.speedup:.1f}x as fast), with {100 * self.macs_fraction:.0f} % of the MACs left"
        )
        layers_ms = sum(row.time_ms for row in self.rows)
        if self.other_ms > layers_ms:
            return f"{found}; most of the time goes into what lies between the layers."
        slowest = max(self.rows, key=lambda row: row.time_ms, default=None)
        if slowest is None:
            return f"{found}."
        return (
            f"{found}; the slowest layer is {slowest.name!r} with "
            f"{100 * slowest.time_share:.0f} % of the time."
        )

    def as_dict(self) -> dict[str, Any]:
        """Keys of `layer_table` in `inspect --json`."""
        return {**asdict(self), "speedup": self.speedup, "verdict": self.verdict}


def layer_table(
    session: Session,
    model: ModelFile,
    frames: Iterable[Frame],
    *,
    total: int | None = None,
    track: Track = silent,
) -> LayerTable:
    """Runs a clip through a stream, every step timed, beside onnxruntime fp32.

    Args:
        session: on `model`, under the plan in question.
        frames: finite, of the network's shapes; at least two.
        total: number of frames, if known, for progress.

    Raises:
        FrameError: a frame does not fit the network.
        SourceError: there are fewer than two frames.
    """
    dense = open_engine(REFERENCE, model, session.plan.options, threads=session.threads)
    stream = session.stream()
    shown = numbered(track(frames, "timing layers", total), session.frame_inputs)
    every = resetting([dense], shown)
    for first in every:
        stream.step(first)
        dense.step(first)
        break
    work = Work()
    modes: dict[str, Counter[LayerMode]] = {name: Counter() for name in session.layer_names}

    def watch(_: dict[str, Outputs]) -> None:
        stats = stream.stats
        work.add(stats)
        for layer in stats.layers:
            modes[layer.name][layer.mode] += 1

    stream.profile = True
    steps: dict[str, Step] = {OURS: stream.step, REFERENCE: dense.step}
    times = interleave(
        steps,
        every,
        reference=REFERENCE,
        on_frame=watch,
        threads=session.threads,
        compared=lambda feeds, outputs: {},
    ).times_ms
    spent = stream.profile or {}
    frame_ms = float(np.mean(times[OURS]))
    rows = tuple(
        LayerRow(
            name=name,
            macs=layer.macs // work.frames,
            similarity=layer.similarity,
            macs_fraction=layer.macs_fraction,
            mode=modes[name].most_common(1)[0][0],
            time_ms=spent.get(name, 0.0) / work.frames,
            time_share=spent.get(name, 0.0) / work.frames / frame_ms,
        )
        for name, layer in work.layers.items()
    )
    return LayerTable(
        rows=rows,
        frames=work.frames,
        frame_ms=float(np.median(times[OURS])),
        dense_ms=float(np.median(times[REFERENCE])),
        other_ms=max(frame_ms - sum(row.time_ms for row in rows), 0.0),
        macs_fraction=work.macs_fraction,
    )

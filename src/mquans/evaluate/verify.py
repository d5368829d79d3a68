"""The law, tested on a clip: accumulators are exact products, and recomputing changes no code and
no output."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.errors import NothingToVerifyError, SourceError
from mquans.evaluate.progress import Track, silent
from mquans.graph import Fallback, Graph
from mquans.onnx import RANDOM
from mquans.runtime.replay import replay
from mquans.runtime.session import Session
from mquans.runtime.stream import Frame, Stream


@dataclass(frozen=True, slots=True)
class BrokenLaw:
    """The first place where a run is not exact.

    Attributes:
        frame: counted from 0.
        layer: whose accumulator is wrong; or the tensor whose code, or the output that recomputing
            changed.
        kind: `accumulator`, `code` or `output`.
        position: (row, column, channel) of the accumulator or code, or the output's index; () where
            the output has another size.
        expected, found: the exact value and the one held; of another size, the numbers of values.
    """

    frame: int
    layer: str
    kind: str
    position: tuple[int, ...]
    expected: float
    found: float

    def __str__(self) -> str:
        whose = {"accumulator": "accumulator of layer", "code": "code of tensor"}
        what = f"{whose.get(self.kind, 'output')} {self.layer!r}"
        cause = "" if self.kind == "accumulator" else ", changed by recomputing"
        return (
            f"frame {self.frame}, {what}, position {self.position}: expected {self.expected:g}, "
            f"found {self.found:g}{cause}"
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome over a clip; it ends at the first violation."""

    frames: int
    layers: int
    refused: int
    first_violation: BrokenLaw | None

    @property
    def exact(self) -> bool:
        """True when the law held in every layer and frame."""
        return self.first_violation is None

    def as_dict(self) -> dict[str, Any]:
        """The stable keys of `verify --json`."""
        found = self.first_violation
        return {
            "frames": self.frames,
            "layers": self.layers,
            "exact": self.exact,
            "first_violation": None if found is None else asdict(found),
            "refused": self.refused,
        }


def verify(
    session: Session,
    frames: Iterable[Frame],
    *,
    stream: Stream | None = None,
    total: int | None = None,
    track: Track = silent,
) -> Verification:
    """Runs a clip and tests the law after every frame.

    Every accumulator of every layer is compared with the scalar product of weights and held values,
    and a clone that is recomputed must have the same codes and give bit-equal outputs. Frames with
    NaN are refused by the stream and counted.

    Args:
        stream: to go on with; by default a new one.
        total: number of frames, if known, for progress.

    Raises:
        FrameError: frames of a shape or dtype that the network does not take.
        NothingToVerifyError: no layer runs with reuse, or outputs are drawn by chance.
        SourceError: every frame was refused.
    """
    if not session.layer_names:
        raise NothingToVerifyError(
            "there is nothing to verify: no layer of the network runs with reuse.",
            where=f"model {session.graph.name!r}",
            hint="mquans inspect says why.",
        )
    if chance := _drawn_by_chance(session.graph):
        raise NothingToVerifyError(
            f"there is nothing to verify: it draws random numbers ({chance}), so no frame gives "
            "the same twice.",
            where=f"model {session.graph.name!r}",
            hint="Export it in evaluation mode, or without that operator.",
        )
    stream = session.stream() if stream is None else stream
    layers = sum(1 for _ in session.graph.reuse_layers())
    done = refused = 0
    violation = None
    for frame in replay(session, track(frames, "verifying", total), stream=stream):
        if frame.outputs is None:
            refused += 1
            continue
        done += 1
        violation = _violation(stream, frame.outputs, frame.index)
        if violation is not None:
            break
    if not done:
        raise SourceError("no frame could be verified: all were refused.")
    return Verification(done, layers, refused, violation)


def _drawn_by_chance(graph: Graph) -> str | None:
    """The operator of a network whose results differ from run to run."""
    for op in (node.op for node in graph.nodes if isinstance(node.op, Fallback)):
        kinds = RANDOM | {"Dropout"} if "training mode" in op.reason else RANDOM
        if found := next((kind for kind in op.op_types if kind in kinds), None):
            return found
    return None


def _violation(
    stream: Stream, outputs: dict[str, npt.NDArray[np.float32]], frame: int
) -> BrokenLaw | None:
    wrong = stream.check()
    if wrong is not None:
        return BrokenLaw(
            frame, wrong.layer, wrong.kind, wrong.position, wrong.expected, wrong.found
        )
    with stream.clone() as again:
        again.recompute()
        recomputed = again.outputs()
    for name, expected in recomputed.items():
        if expected.shape != outputs[name].shape:
            return BrokenLaw(frame, name, "output", (), expected.size, outputs[name].size)
        # As bits, since NaN differs from itself and -0 equals 0.
        bits = np.dtype(f"u{expected.itemsize}")
        differs = expected.view(bits) != outputs[name].view(bits)
        if differs.any():
            position = tuple(int(index) for index in np.argwhere(differs)[0])
            found = float(outputs[name][position])
            return BrokenLaw(frame, name, "output", position, float(expected[position]), found)
    return None

"""What the commands `compare` and `verify` do, as functions: a model, its plan and a clip in, a
result out. `calibrate` and `inspect` are such functions already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mquans.evaluate import Comparison, Track, Verification, silent
from mquans.evaluate import compare as compare_engines
from mquans.evaluate import verify as verify_law
from mquans.onnx import read_model
from mquans.plan import Plan
from mquans.runtime.session import Session
from mquans.sources import OnError, open_planned

if TYPE_CHECKING:
    from pathlib import Path

    from mquans.calibration import Spec


def compare(
    model: Any,
    plan: Plan | str | Path,
    source: Spec,
    *,
    engines: Sequence[str] = ("ort-fp32",),
    frames: int | None = None,
    skip: int = 0,
    stride: int = 1,
    on_error: OnError = "stop",
    threads: int = 1,
    track: Track = silent,
) -> Comparison:
    """Work, agreement and speed beside dense engines, frame by frame in one process.

    Args:
        model: ONNX file, its bytes, a ModelProto, or a torch module.
        plan: a Plan, or the path of one.
        source: a clip as `open_source` takes it.
        engines: of `mquans.baselines.ENGINES`; ours and `ort-fp32` always run.
        frames: of the clip, at most; all without it.
        skip: first frames that are left out.
        stride: every so-many-th frame is taken.
        on_error: what to do about files that cannot be read, see `open_source`.
        threads: of every engine.
        track: shows progress, see `mquans.evaluate.Track`.

    Raises:
        ModelError, PlanError: as `Session`.
        SourceError, FrameError: the clip cannot be read, or does not suit the network.
        MquansError: there is no such engine.
    """
    file = read_model(model)
    session = Session(file, plan, threads=threads)
    with open_planned(
        session.plan,
        source,
        frames=frames,
        skip=skip,
        stride=stride,
        pixels=True,
        on_error=on_error,
    ) as clip:
        return compare_engines(session, file, clip, engines=engines, total=clip.length, track=track)


def verify(
    model: Any,
    plan: Plan | str | Path,
    source: Spec,
    *,
    frames: int | None = None,
    skip: int = 0,
    stride: int = 1,
    on_error: OnError = "stop",
    threads: int = 1,
    track: Track = silent,
) -> Verification:
    """Proves on a clip that reuse changes nothing: recomputing everything after every frame changes
    no code, no accumulator and no output. Arguments and errors as `compare`."""
    session = Session(model, plan, threads=threads)
    with open_planned(
        session.plan, source, frames=frames, skip=skip, stride=stride, on_error=on_error
    ) as clip:
        return verify_law(session, clip, total=clip.length, track=track)

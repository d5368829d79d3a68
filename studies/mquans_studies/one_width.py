"""Plans with one bit width for the whole network, as the reuse papers have them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mquans.calibration.allocation import uniform_layers
from mquans.calibration.observe import DenseRun, Observer
from mquans.evaluate import Track, silent
from mquans.plan import Plan
from mquans.runtime.session import Session
from mquans.runtime.stream import Frame
from mquans.sources.frames import feeds_of


def one_width(
    session: Session,
    frames: Iterable[Frame],
    *,
    bits: int,
    quantizer: str = "linear",
    track: Track = silent,
) -> Plan:
    """The plan of a session with one width for all neurons, value by value, and the rule `nearest`:
    by default that of Riera et al. (ISCA 2018).

    Args:
        frames: that ranges are taken from.
        quantizer: one of `allocation.QUANTIZERS`.
    """
    observer = Observer(session.graph, rules=())
    run = DenseRun(session.graph, session.plan.feedback, threads=session.threads)
    inputs = session.frame_inputs
    observer.add((feeds_of(frame, inputs) for frame in track(frames, "observing", None)), run)
    layers = uniform_layers(session.graph, observer.result().ranges, bits=bits, quantizer=quantizer)
    return msgspec.structs.replace(
        session.plan, rule="nearest", layers=layers, tensors=(), tolerance=0.0
    )

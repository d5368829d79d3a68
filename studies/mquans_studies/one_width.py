"""Plans with one bit width for the whole network, as the reuse papers have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from mquans.calibration import LayerRange, Observer
from mquans.calibration.allocation import uniform_layers
from mquans.calibration.observe import DenseRun
from mquans.evaluate import Track, silent
from mquans.plan import Plan, Rule
from mquans.runtime.session import Session
from mquans.runtime.stream import Frame
from mquans.sources.frames import feeds_of

Ranges = Mapping[str, LayerRange]


def one_width(
    session: Session,
    frames: Iterable[Frame],
    *,
    bits: float,
    quantizer: str = "linear",
    track: Track = silent,
) -> Plan:
    """The plan of a session with one width for all neurons, value by value, and the rule `nearest`:
    by default that of Riera et al. (ISCA 2018).

    Args:
        frames: that ranges are taken from.
        quantizer: one of `allocation.QUANTIZERS`.
    """
    ranges = ranges_of(session, frames, track=track)
    return of_one_width(session, ranges, bits=bits, quantizer=quantizer)


def ranges_of(session: Session, frames: Iterable[Frame], *, track: Track = silent) -> Ranges:
    """Ranges of what every layer reads, in the dense network."""
    observer = Observer(session.graph, rules=())
    run = DenseRun(session.graph, session.plan.feedback, threads=session.threads)
    inputs = session.frame_inputs
    observer.add((feeds_of(frame, inputs) for frame in track(frames, "observing", None)), run)
    return observer.result().ranges


def of_one_width(
    session: Session,
    ranges: Ranges,
    *,
    bits: float,
    rule: Rule = "nearest",
    quantizer: str = "linear",
) -> Plan:
    """As `one_width`, from known ranges.

    Args:
        bits: the step is the range / (2**bits - 1) with `linear`, also between whole numbers.
    """
    layers = uniform_layers(session.graph, ranges, bits=bits, quantizer=quantizer)
    return msgspec.structs.replace(
        session.plan, rule=rule, layers=layers, tensors=(), tolerance=0.0
    )

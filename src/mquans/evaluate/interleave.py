"""Engines timed frame by frame, one after the other, so that all of them see the same moments of a
machine whose speed changes (decision 9)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns, sleep

import numpy as np
import numpy.typing as npt

from mquans.errors import SourceError
from mquans.metrics.agreement import Agreement, AgreementMeter
from mquans.sources.frames import Feeds

Outputs = dict[str, npt.NDArray[np.float32]]
Step = Callable[[Feeds], Outputs]
"""One frame through an engine."""

Handed = Callable[[Feeds], Mapping[str, Feeds]]
"""The same frame in another form, by the engine that takes it so; made outside timing."""

Compared = Callable[[Feeds, dict[str, Outputs]], dict[str, Outputs]]
"""From a frame and the outputs of all engines: what agreement is taken of, by engine; made outside
timing. Engines that it leaves out are only timed."""

GATED = "gated"
REST_S = 0.003


@dataclass(frozen=True, slots=True)
class Interleaved:
    """What a run of several engines over the same frames measured.

    Attributes:
        times_ms: [frames] per engine, the first frame of a stream included.
        agreement: of every engine but the reference, with the reference.
    """

    times_ms: dict[str, npt.NDArray[np.float64]]
    agreement: dict[str, Agreement]

    @property
    def time_ms(self) -> dict[str, dict[str, float]]:
        """Median, 95th percentile and mean per frame, by engine."""
        return {name: summary(times) for name, times in self.times_ms.items()}


def interleave(
    steps: Mapping[str, Step],
    frames: Iterable[Feeds],
    *,
    reference: str,
    scored: Collection[str] | None = None,
    on_frame: Callable[[dict[str, Outputs]], None] | None = None,
    threads: int = 1,
    handed: Handed = lambda _: {},
    compared: Compared = lambda _, outputs: outputs,
) -> Interleaved:
    """Runs every engine on every frame, one after the other within the frame.

    The order rotates from frame to frame, so that none always finds the caches as the same
    neighbour left them.

    Args:
        steps: by engine.
        reference: the engine that the others are compared with.
        scored: values that agreement is taken of; by default all outputs.
        compared: what is compared in place of outputs.
        on_frame: called with the outputs of all engines after every frame, outside timing.
        threads: of the engines. With more than one, each waits `REST_S` before its turn: idle
            workers of the one before spin on for a while and would slow it down.

    Raises:
        SourceError: there are no frames.
    """
    order = list(steps)
    times_ns: dict[str, list[int]] = {name: [] for name in steps}
    meters: dict[str, AgreementMeter] = {}
    for feeds in frames:
        outputs: dict[str, Outputs] = {}
        forms = handed(feeds)
        for name in order:
            form = forms.get(name, feeds)
            if threads > 1:
                sleep(REST_S)
            start = perf_counter_ns()
            outputs[name] = steps[name](form)
            times_ns[name].append(perf_counter_ns() - start)
        order.append(order.pop(0))
        values = compared(feeds, outputs)
        for name in [name for name in values if name != reference]:
            meter = meters.setdefault(name, AgreementMeter(scored))
            meter.add(values[reference], values[name])
        if on_frame is not None:
            on_frame(outputs)
    if not times_ns[reference]:
        raise SourceError("no frame could be compared: there was none, or all were refused.")
    return Interleaved(
        times_ms={name: np.array(times) / 1e6 for name, times in times_ns.items()},
        agreement={name: meter.result() for name, meter in meters.items()},
    )


def take_turns(
    steps: Mapping[str, Step],
    frames: Sequence[Feeds],
    *,
    turn: int,
    threads: int = 1,
    handed: Handed = lambda _: {},
) -> dict[str, npt.NDArray[np.float64]]:
    """Milliseconds per frame of every engine, [frames], where each runs `turn` frames in a row
    before the next one does: caches are then those of a process that runs one network, and all
    engines still see the same minutes of the machine.

    Args:
        steps, threads, handed: as `interleave`; streams begin where they are.
    """
    times_ns: dict[str, list[int]] = {name: [] for name in steps}
    order = list(steps)
    for first in range(0, len(frames), turn):
        for name in order:
            if threads > 1:
                sleep(REST_S)
            forms = [handed(feeds).get(name, feeds) for feeds in frames[first : first + turn]]
            for feeds in forms:
                start = perf_counter_ns()
                steps[name](feeds)
                times_ns[name].append(perf_counter_ns() - start)
        order.append(order.pop(0))
    return {name: np.array(times) / 1e6 for name, times in times_ns.items()}


def summary(times_ms: npt.NDArray[np.float64]) -> dict[str, float]:
    """Median, 95th percentile and mean of at least one time."""
    return {
        "median": float(np.median(times_ms)),
        "p95": float(np.percentile(times_ms, 95)),
        "mean": float(np.mean(times_ms)),
    }


def speedups(
    time_ms: Mapping[str, Mapping[str, float]], ours: str, *, motion_gate: bool = False
) -> dict[str, float]:
    """Time of each other engine / ours: above 1, ours is faster.

    Ratios of medians. Behind a motion gate a frame takes either no time or that of a whole one, and
    the median is one of the two: `gated` is compared by means, and all are where ours has one.
    """
    return {
        name: times[kind] / time_ms[ours][kind]
        for name, times in time_ms.items()
        if name != ours
        for kind in ("mean" if motion_gate or name == GATED else "median",)
    }

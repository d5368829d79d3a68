"""Energy that the machine measured, where it has counters that this user may read (RAPL).

Counters are per socket and count everything that runs on it: measure on an idle machine, for a
second or more at a time, since they are updated about every millisecond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from mquans.baselines import open_engine
from mquans.errors import MquansError
from mquans.onnx import ModelFile
from mquans.runtime.session import Session
from mquans.runtime.stream import Frame
from mquans.sources.frames import feeds_of, finite

RAPL = Path("/sys/class/powercap")
LEAST_S = 1.0
FRAMES = 64
UNAVAILABLE = "not available on this machine"


@dataclass(frozen=True, slots=True)
class Counter:
    """A running energy counter.

    Attributes:
        name: of the domain, such as `package-0`.
        range_uj: where it starts again from 0.
    """

    name: str
    path: Path
    range_uj: int

    def read_uj(self) -> int:
        """Microjoules, modulo its range."""
        return int((self.path / "energy_uj").read_text())


def packages(folder: Path = RAPL) -> list[Counter]:
    """Counters of whole sockets that this user may read; those of parts of one are left out."""
    found = []
    for entry in sorted(folder.glob("*-rapl:*")):
        if entry.name.count(":") > 1:
            continue
        try:
            counter = Counter(
                (entry / "name").read_text().strip(),
                entry,
                int((entry / "max_energy_range_uj").read_text()),
            )
            counter.read_uj()
        except (OSError, ValueError):
            continue
        found.append(counter)
    return found


class EnergyMeter:
    """Joules of all sockets between start and stop.

    Raises:
        MquansError: there are no counters.
    """

    def __init__(self, counters: list[Counter] | None = None) -> None:
        self._counters = packages() if counters is None else counters
        if not self._counters:
            raise MquansError(
                f"energy counters are {UNAVAILABLE}.",
                hint="They are files in /sys/class/powercap that often only root may read.",
            )
        self._started = [0] * len(self._counters)

    def start(self) -> None:
        """From here."""
        self._started = [counter.read_uj() for counter in self._counters]

    def stop(self) -> float:
        """Joules since start. A counter may have started again from 0 once."""
        total = 0
        for counter, before in zip(self._counters, self._started, strict=True):
            total += (counter.read_uj() - before) % (counter.range_uj + 1)
        return total / 1e6


def joules_per_call(
    call: Callable[[], object],
    *,
    meter: EnergyMeter | None = None,
    least_s: float = LEAST_S,
) -> float:
    """Energy of one call above that of the idle machine, mean over as many as fill `least_s`.

    Raises:
        MquansError: there are no counters.
    """
    meter = EnergyMeter() if meter is None else meter
    meter.start()
    began = perf_counter()
    sleep(least_s)
    idle_w = meter.stop() / (perf_counter() - began)
    meter.start()
    began, calls = perf_counter(), 0
    while not calls or perf_counter() - began < least_s:
        call()
        calls += 1
    spent = meter.stop() - idle_w * (perf_counter() - began)
    return spent / calls


def frame_energy(
    session: Session,
    model: ModelFile,
    frames: Iterable[Frame],
    engines: Sequence[str],
    *,
    counters: list[Counter] | None = None,
) -> Mapping[str, float] | str:
    """Joules per frame that each engine takes above the idle machine; `UNAVAILABLE` where there is
    nothing to measure with.

    The first `FRAMES` frames are run forwards and backwards again and again, so that consecutive
    frames are always neighbours in time.

    Args:
        engines: of `mquans.baselines.ENGINES`; our own always runs.
    """
    counters = packages() if counters is None else counters
    if not counters:
        return UNAVAILABLE
    read = (feeds_of(frame, session.frame_inputs) for frame in frames)
    clip = [dict(feeds) for feeds in islice(read, FRAMES) if finite(feeds)]  # none begins anew
    there_and_back = [*clip, *clip[-2:0:-1]]
    steps: dict[str, Callable[[Mapping[str, Any]], object]] = {"mquans": session.stream().step}
    for name in engines:
        if name != "mquans":
            engine = open_engine(
                name, model, session.plan.options, threads=session.threads, calibration=clip
            )
            steps[name] = engine.step
    found = {}
    for name, step in steps.items():
        order = cycle(there_and_back)
        found[name] = joules_per_call(
            lambda step=step, order=order: step(next(order)),  # type: ignore[misc]
            meter=EnergyMeter(counters),
        )
    return found

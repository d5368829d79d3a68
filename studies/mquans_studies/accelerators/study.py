"""One network and clip under several schemes on several accelerators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from mquans.errors import MquansError
from mquans.evaluate import Track, silent
from mquans.metrics import AnyMetric
from mquans.onnx import ModelFile
from mquans.plan import Plan
from mquans.runtime.session import Session
from mquans.runtime.stream import Frame
from mquans_studies.accelerators.accelerator import Accelerator
from mquans_studies.accelerators.fallback import Objective, cheaper_dense
from mquans_studies.accelerators.model import Simulation, simulate
from mquans_studies.accelerators.scaling import widened
from mquans_studies.accelerators.schemes import SCHEMES, scheme
from mquans_studies.traces.layer_shape import LayerShape
from mquans_studies.traces.trace import MEMORY, Trace
from mquans_studies.traces.traced import TracedRun, run_traced

VARIANTS = ("nearest", "hold", "uniform")
"""Reuse under other plans than the given one: with another rule, or with one width for all."""

NOTHING_LEFT_OUT = ("dense", "dense-int8")

STUDIED = (*SCHEMES, *VARIANTS)
"""All schemes, in the order of tables."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """How layers are chosen that are left dense.

    Attributes:
        frames: opens the clip that they are chosen on, which judges nothing.
        objective: what they are chosen for.
    """

    frames: Callable[[], Iterable[Frame]]
    objective: Objective = "energy"


@dataclass(frozen=True, slots=True)
class Row:
    """One scheme on one accelerator.

    Attributes:
        falls_back: whether layers that are cheaper dense are left dense.
    """

    scheme: str
    accelerator: str
    simulation: Simulation
    run: TracedRun
    falls_back: bool = False

    @property
    def label(self) -> str:
        """The scheme in tables."""
        return f"{self.scheme}, fallback" if self.falls_back else self.scheme

    def as_dict(self) -> dict[str, Any]:
        """The stable keys of `simulate --json`. Similarity is 0 for schemes that do not look for
        it, and the dense network has nothing to agree with."""
        dense = self.scheme in NOTHING_LEFT_OUT
        trace, reuses = self.run.trace, scheme(base_scheme(self.scheme)).compares
        return {
            **self.simulation.as_dict(),
            "scheme": self.label,
            "accelerator": self.accelerator,
            "similarity": trace.similarity if reuses else 0.0,
            "computation_reuse": trace.computation_reuse if reuses else self.simulation.macs_saved,
            "agreement": None if dense else self.run.agreement.as_dict(),
            "accuracy": {
                "task_loss": self.run.dense_task_loss if dense else self.run.task_loss,
                "dense_task_loss": self.run.dense_task_loss,
            },
        }


def study(
    session: Session,
    model: ModelFile,
    frames: Callable[[], Iterable[Frame]],
    schemes: Sequence[str],
    designs: Mapping[str, Accelerator],
    *,
    uniform: Plan | None = None,
    sites: Session | None = None,
    metric: AnyMetric | None = None,
    labels: Sequence[Any] | None = None,
    widen: Sequence[LayerShape] | None = None,
    fallback: Fallback | None = None,
    on_trace: Callable[[str, Trace], None] | None = None,
    track: Track = silent,
) -> list[Row]:
    """Simulates every scheme on every accelerator; a clip is run once for each plan.

    Args:
        session: of the model, under the plan of `reuse`.
        frames: opens the clip from its start.
        schemes: of `STUDIED`.
        designs: accelerators by name.
        uniform: the plan of the scheme `uniform`.
        sites: the session of the scheme `sites`, under a plan with gates.
        metric, labels: of the task, see `run_traced`.
        widen: layers of the network at its true width, if the session's is a narrow one.
        fallback: adds, behind every scheme but `dense`, one that leaves layers dense where that is
            cheaper.
        on_trace: called with each scheme that has a trace of its own, and the trace.

    Raises:
        MquansError: an unknown scheme, `uniform` without a plan, or too few frames.
    """
    for name in schemes:
        if name not in STUDIED:
            raise MquansError(
                f"there is no scheme {name!r}.", hint=f"Choose one of {', '.join(STUDIED)}."
            )
    memory = MEMORY if "memory" in schemes else 0
    runs: dict[str, TracedRun] = {}
    seen: dict[str, TracedRun] = {}

    def own(name: str) -> str:
        apart = (*VARIANTS, "sites")
        return name if name in apart and name != session.plan.rule else "reuse"

    def session_of(name: str) -> Session:
        if name == "sites":
            if sites is None:
                raise MquansError(
                    "the scheme 'sites' needs a plan with gates.",
                    hint="`mquans calibrate` makes one for networks with convolutions.",
                )
            return sites
        return session if name == "reuse" else session.with_plan(_variant(session, name, uniform))

    def traced(
        name: str,
        clip: Callable[[], Iterable[Frame]],
        metric: AnyMetric | None = None,
        labels: Sequence[Any] | None = None,
    ) -> TracedRun:
        return run_traced(
            session_of(name),
            model,
            clip(),
            metric=metric,
            labels=labels,
            memory=memory if name == "reuse" else 0,
            track=track,
        )

    def wide(run: TracedRun) -> TracedRun:
        return run if widen is None else replace(run, trace=widened(run.trace, widen))

    def run(name: str) -> TracedRun:
        if name not in runs:
            found = traced(name, frames, metric, labels)
            if on_trace is not None:
                on_trace(name, found.trace)
            runs[name] = wide(found)
        return runs[name]

    def row(name: str, where: str, chosen: Fallback | None) -> Row:
        design, left_out = designs[where], scheme(base_scheme(name))
        dense = frozenset[str]()
        if chosen is not None:
            if own(name) not in seen:
                seen[own(name)] = wide(traced(own(name), chosen.frames))
            dense = cheaper_dense(seen[own(name)].trace, design, left_out, chosen.objective)
        done = run(own(name))
        simulation = simulate(done.trace, design, left_out, fallback=dense)
        return Row(name, where, simulation, done, chosen is not None)

    return [
        row(name, where, chosen)
        for name in schemes
        for chosen in (
            (None,) if fallback is None or name in NOTHING_LEFT_OUT else (None, fallback)
        )
        for where in designs
    ]


def base_scheme(name: str) -> str:
    """What is left out under one of `STUDIED`."""
    return "reuse" if name in VARIANTS else name


def _variant(session: Session, name: str, uniform: Plan | None) -> Plan:
    if name != "uniform":
        return msgspec.structs.replace(session.plan, rule=name)
    if uniform is None:
        raise MquansError("the scheme 'uniform' needs a plan with one width for all.")
    return uniform


def markdown(rows: Sequence[Row], *, title: str) -> str:
    """A table of rows."""
    lines = [
        f"# {title}",
        "",
        "| accelerator | scheme | similarity | computation reuse | loss (p95) | task loss "
        "| cycles | speed | energy, uJ | energy saved |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda row: row.accelerator):
        found = row.as_dict()
        agreement, task = found["agreement"], found["accuracy"]["task_loss"]
        cells = (
            row.accelerator,
            row.label,
            f"{100 * found['similarity']:.1f} %",
            f"{100 * found['computation_reuse']:.1f} %",
            "" if agreement is None else f"{agreement['loss_p95']:.4f}",
            "" if task is None else f"{task:.4f}",
            f"{found['cycles']:.0f}",
            f"{found['speedup']:.2f}x",
            f"{found['energy_pj'] / 1e6:.2f}",
            f"{100 * found['energy_saved']:.1f} %",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join((*lines, ""))

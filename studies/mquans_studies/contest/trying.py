"""Candidates of one network, run on the data that choose and on those that judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mquans.plan import Plan
from mquans_studies.accelerators import (
    SCHEMES,
    Scheme,
    cheaper_dense,
    load_accelerator,
)
from mquans_studies.contest.candidates import Candidates
from mquans_studies.contest.cases import Case
from mquans_studies.contest.choosing import Places, chosen
from mquans_studies.contest.intervals import Draws, Sums
from mquans_studies.contest.rules import Entry, Rules
from mquans_studies.contest.runs import Costs, Run, costs, errors, run_every, run_plan
from mquans_studies.traces.trace import MEMORY, Trace

Said = Callable[[str], None]
REUSE = SCHEMES["reuse"]
PUBLISHED = "published width"
"""The literature's, one candidate."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate.

    Attributes:
        value: of its scheme's list.
        scheme: what it leaves out, for the model of accelerators.
        traces: on the data that choose, and that judge; of a candidate without an engine those of
            another one, whose dense costs are the same.
        error_choosing, energy_choosing: [1]; error: on the data that judge, [1 + draws].
    """

    name: str
    value: float
    plan: Plan | None
    scheme: Scheme
    run: Run
    traces: tuple[Trace, Trace]
    error_choosing: Sums
    energy_choosing: Sums
    error: Sums


class Bench:
    """Runs candidates of a network; what all schemes share is measured once.

    Attributes:
        draws: of blocks of the data that judge.
        dense, allowed: the dense network's error there, and the largest that counts as no loss,
            [1 + draws]; `allowed_choosing` [1].
        published: the literature's width.
    """

    def __init__(self, case: Case, rules: Rules, say: Said) -> None:
        self.case, self._rules, self._say = case, rules, say
        self.designs = {name: load_accelerator(name) for name in rules.designs}
        self.draws = Draws.of(
            case.judging.blocks, draws=rules.draws, seed=rules.seed, level=rules.level
        )
        self._once = Draws.of(case.choosing.blocks, draws=0, seed=0, level=rules.level)
        self.dense = errors(run_every(case, case.judging, 1), self.draws, case.judging)
        self.allowed = case.task.no_loss(self.dense)
        before = errors(run_every(case, case.choosing, 1), self._once, case.choosing)
        self.allowed_choosing = case.task.no_loss(before)
        self._makes = Candidates(case)
        self._costs: dict[tuple[str, float, str, str, bool], Costs] = {}
        bits = rules.networks[case.name].published
        (self.published,) = self.tried(PUBLISHED, Entry("width", [bits], "nearest"))

    def tried(self, name: str, entry: Entry) -> list[Tried]:
        """All candidates of a scheme, one per value."""
        self._say(f"{self.case.name}: {name}")
        case = self.case
        if entry.kind == "every":
            return [
                self._made(
                    name, value, None, REUSE, self.published.traces,
                    *(run_every(case, part, int(value)) for part in (case.choosing, case.judging)),
                )
                for value in entry.values
            ]  # fmt: skip
        scheme = SCHEMES["sites"] if entry.kind == "tolerance" else REUSE
        found = []
        for value, plan in zip(entry.values, self._makes.plans(entry), strict=True):
            session = self._makes.session.with_plan(plan)
            (before, first), (run, second) = (
                run_plan(case, session, part) for part in (case.choosing, case.judging)
            )
            found.append(self._made(name, value, plan, scheme, (first, second), before, run))
        return found

    def with_memory(self, one: Tried) -> Tried:
        """A candidate, with a count of windows that come again."""
        assert one.plan is not None
        session = self._makes.session.with_plan(one.plan)
        run, trace = run_plan(self.case, session, self.case.judging, memory=MEMORY)
        _, before = run_plan(self.case, session, self.case.choosing, memory=MEMORY)
        return replace(one, run=run, traces=(before, trace))

    def before(self, several: Sequence[Tried]) -> Tried:
        """The candidate that the data that choose would have chosen."""
        places = chosen(
            [one.error_choosing for one in several],
            [one.energy_choosing for one in several],
            self.allowed_choosing,
        )
        return several[int(places[0])]

    def hindsight(self, several: Sequence[Tried]) -> Places:
        """Candidates that the data that judge choose, draw by draw."""
        spent = [self.costs(one, self._rules.chosen_on).energy for one in several]
        return chosen([one.error for one in several], spent, self.allowed)

    def costs(
        self,
        one: Tried,
        design: str,
        *,
        scheme: Scheme | None = None,
        falls_back: bool = False,
    ) -> Costs:
        """On the data that judge; kept, as candidates stand in several tables.

        Args:
            scheme: in place of the candidate's own.
            falls_back: leave layers dense where that is cheaper on the data that choose.
        """
        leaves = scheme or one.scheme
        key = (one.name, one.value, design, leaves.name, falls_back)
        if key not in self._costs:
            before, trace = one.traces
            where = self.designs[design]
            dense = frozenset[str]()
            if falls_back and one.run.every == 1:
                dense = cheaper_dense(before, where, leaves)
            judging = self.case.judging
            self._costs[key] = costs(one.run, trace, self.draws, judging, where, leaves, dense)
        return self._costs[key]

    def _made(
        self,
        name: str,
        value: float,
        plan: Plan | None,
        scheme: Scheme,
        traces: tuple[Trace, Trace],
        before: Run,
        run: Run,
    ) -> Tried:
        choosing, design = self.case.choosing, self.designs[self._rules.chosen_on]
        spent = costs(before, traces[0], self._once, choosing, design, scheme).energy
        error = errors(run, self.draws, self.case.judging)
        self._say(f"  {value:g}: error {error[0]:.4f} (dense {self.dense[0]:.4f})")
        return Tried(
            name, value, plan, scheme, run, traces, errors(before, self._once, choosing), spent,
            error,
        )  # fmt: skip

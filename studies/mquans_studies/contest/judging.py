"""The record of one network of a contest: every scheme chosen by one rule and put on every
design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mquans.plan import Plan
from mquans_studies.accelerators import SCHEMES
from mquans_studies.contest.cases import Case
from mquans_studies.contest.choosing import picked
from mquans_studies.contest.intervals import Sums
from mquans_studies.contest.rules import Rules
from mquans_studies.contest.runs import Costs, frozen_error
from mquans_studies.contest.trying import Bench, Said, Tried
from mquans_studies.traces.trace import Trace

BEFORE, HINDSIGHT = "before", "hindsight"
"""Chosen on data that do not judge; on those that do, as tables in the literature are."""

EXTRA = ("repetition", "reuse+repetition", "memory")
"""Schemes without candidates of their own: under the plan of Mquans."""

Choice = tuple[Sums, dict[tuple[str, bool], Costs]]
"""The error of what was chosen, and its costs by (design, with fallback)."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A network of a contest.

    Attributes:
        record: as plain data; plans: of every scheme that has one, chosen before.
        trace: of the best plan of Mquans chosen before, on the data that judge.
    """

    record: dict[str, Any]
    plans: dict[str, Plan]
    trace: Trace


def judge(case: Case, rules: Rules, say: Said) -> Judged:
    """Runs all candidates of a network, and chooses among them."""
    own = rules.networks[case.name]
    bench = Bench(case, rules, say)
    tried = {
        name: bench.tried(name, entry)
        for name, entry in rules.schemes.items()
        if name not in own.without
    }
    tried[bench.published.name] = [bench.published]
    rows = [
        row
        for name, several in tried.items()
        for choice in (BEFORE, HINDSIGHT)
        for row in _rows(bench, name, choice, _choice(bench, several, choice))
    ]
    pairs = []
    for pair, sides in rules.pairs.items():
        pools = [[one for name in side for one in tried[name]] for side in sides]
        for choice in (BEFORE, HINDSIGHT):
            ours, theirs = (_choice(bench, pool, choice) for pool in pools)
            pairs += _ratios(bench, pair, choice, ours, theirs)
        if pair == "best":
            best = [bench.before(pool) for pool in pools]
    rows += _extra(bench, best[0])
    record = {
        "task": case.task.name,
        "frames": dict(zip(("plans", "choosing", "judging"), own.frames, strict=True)),
        "judged": {"frames": len(case.judging.blocks), "blocks": len(bench.draws.names)},
        "dense_error": bench.draws.interval(bench.dense),
        "allowed_error": float(bench.allowed[0]),
        "frozen_error": frozen_error(case, case.judging),
        "best": [{"scheme": one.name, "value": one.value} for one in best],
        "candidates": [
            _candidate(bench, one) for several in tried.values() for one in several
        ],
        "rows": rows,
        "pairs": pairs,
    }  # fmt: skip
    plans = {name: bench.before(several).plan for name, several in tried.items()}
    own_plans = {name: plan for name, plan in plans.items() if plan is not None}
    return Judged(record, own_plans, best[0].traces[1])


def _choice(bench: Bench, several: Sequence[Tried], choice: str) -> Choice:
    if choice == BEFORE:
        one = bench.before(several)
        return one.error, {
            (name, falls_back): bench.costs(one, name, falls_back=falls_back)
            for name in bench.designs
            for falls_back in ((False, True) if one.plan is not None else (False,))
        }
    places = bench.hindsight(several)
    return picked([one.error for one in several], places), {
        (name, False): Costs.picked([bench.costs(one, name) for one in several], places)
        for name in bench.designs
    }


def _rows(bench: Bench, scheme: str, choice: str, made: Choice) -> list[dict[str, Any]]:
    error, spent = made
    return [
        {
            "scheme": scheme,
            "choice": choice,
            "design": design,
            "fallback": falls_back,
            "error": bench.draws.interval(error),
            "loses": float(np.mean(error[1:] > bench.allowed[1:])),
            "speed": bench.draws.interval(costs.speed),
            "energy_saved": bench.draws.interval(costs.saved),
        }
        for (design, falls_back), costs in spent.items()
    ]


def _ratios(
    bench: Bench, pair: str, choice: str, ours: Choice, theirs: Choice
) -> list[dict[str, Any]]:
    return [
        {
            "pair": pair,
            "choice": choice,
            "design": design,
            "fallback": falls_back,
            "speed": bench.draws.interval(costs.speed / theirs[1][design, falls_back].speed),
            "energy": bench.draws.interval(theirs[1][design, falls_back].energy / costs.energy),
        }
        for (design, falls_back), costs in ours[1].items()
    ]


def _extra(bench: Bench, best: Tried) -> list[dict[str, Any]]:
    """Against dense weights of the same width, see `Scheme.baseline`."""
    counted = bench.with_memory(best)
    return [
        row
        for name in EXTRA
        for row in _rows(
            bench,
            name,
            BEFORE,
            (
                bench.dense if name != "reuse+repetition" else best.error,
                {
                    (where, falls_back): bench.costs(
                        counted, where, scheme=SCHEMES[name], falls_back=falls_back
                    )
                    for where in bench.designs
                    for falls_back in (False, True)
                },
            ),
        )
    ]


def _candidate(bench: Bench, one: Tried) -> dict[str, Any]:
    trace = one.traces[1]
    own = one.plan is not None
    return {
        "scheme": one.name,
        "value": one.value,
        "error_choosing": float(one.error_choosing[0]),
        "loses_choosing": bool(one.error_choosing[0] > bench.allowed_choosing[0]),
        "error": bench.draws.interval(one.error),
        "loses": bool(one.error[0] > bench.allowed[0]),
        "similarity": trace.similarity if own else None,
        "computation_reuse": trace.computation_reuse if own else 1 - 1 / one.value,
    }

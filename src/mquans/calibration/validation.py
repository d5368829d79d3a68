"""The last stage under a budget: a plan is accepted on frames that have chosen nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mquans.calibration.context import CalibrationContext
from mquans.calibration.measure import Measured
from mquans.plan import Plan

MARGIN = 0.85
"""Share of the budget that a plan may use on the frames that it is chosen on: others differ."""

QUIET_MARGIN = 0.4
"""The same where outputs frozen at the first frame would have kept the budget on these frames: then
only stress segments speak for the plan. Within one the loss hardly varies, in a stream that comes
alive its 95th percentile is about twice its mean (decision 16)."""

REPAIRS = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan that selection proposes.

    Attributes:
        loss: on the frames of selection.
        kept: whether that is within the budget that selection was given.
        measured: the same frames, without stress segments.
    """

    plan: Plan
    loss: float
    kept: bool
    measured: Measured


@dataclass(frozen=True, slots=True)
class Validated:
    """The choice that was accepted, or the last one that was not.

    Attributes:
        measured: on the frames of validation.
        stress: on their stress segments; None if they were left out.
        reached: whether both keep the budget.
        repairs: how often a more careful plan was asked for.
    """

    choice: Choice
    measured: Measured
    stress: Measured | None
    reached: bool
    repairs: int


def clips_tell(context: CalibrationContext, max_loss: float) -> bool:
    """Whether outputs frozen at the first frame would lose too much on the frames of selection."""
    return context.bench.frozen_loss(context.selection.clips) > max_loss


def first_budget(context: CalibrationContext, max_loss: float) -> float:
    """What a plan may lose on the frames of selection."""
    return (MARGIN if clips_tell(context, max_loss) else QUIET_MARGIN) * max_loss


def validate(
    context: CalibrationContext,
    max_loss: float,
    budget: float,
    choose: Callable[[float], Choice],
) -> Validated:
    """Asks for plans until one keeps the budget on the frames of validation and their stress
    segments.

    Args:
        budget: on the frames of selection, to begin with (`first_budget`).
        choose: the cheapest plan within a budget on the frames of selection. It is asked again,
            for less, when its plan breaks the budget on the others.
    """
    bench, part = context.bench, context.validation
    repairs = 0
    while True:
        choice = choose(budget)
        measured = bench.measure(choice.plan, part.clips)
        stress = bench.measure(choice.plan, part.stress) if part.stress else None
        worst = max(measured.loss, stress.loss if stress else 0.0)
        if worst <= max_loss or not choice.kept or repairs == REPAIRS:
            return Validated(choice, measured, stress, worst <= max_loss, repairs)
        repairs += 1
        # Of what was used of the budget, lest the same plan be validated again.
        budget = min(budget, choice.loss) * MARGIN * max_loss / worst

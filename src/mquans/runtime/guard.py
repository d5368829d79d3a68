"""A stream that compares itself with the dense network from time to time, and acts on what it
finds.

Calibration promises a loss on clips like those it saw. A stream may leave them: dusk falls, the
camera is moved. Every so many frames the guard computes one dense frame beside the stream's own. If
the loss is above the budget

1. the current frame becomes a keyframe, which ends all staleness;
2. if it was above the budget in one of the last `AGAIN` checks too, a keyframe is no cure, and the
   stream is *tightened*: it goes on under a plan with more bits (`mquans.plan.tightened`).

After `QUIET` checks within the budget a tightened stream is *loosened* by one step again; each time
that this is taken back the next try waits twice as long.

Of a network with states the dense frame sets out from the stream's own states, and is compared in
outputs that are none: a check sees what one frame loses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from math import ceil, log
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mquans.errors import MquansError
from mquans.metrics.agreement import nothing_comparable
from mquans.metrics.meter import AnyMetric, MetricMeter, new_meter
from mquans.metrics.scored import inner_values, scored_axes
from mquans.plan import Feedback, Plan, finest, plan_fingerprint, tightened
from mquans.runtime.running_loss import RunningLoss
from mquans.runtime.session import Session
from mquans.runtime.stats import StreamStats
from mquans.runtime.stream import Frame, State, Stream, plan_of
from mquans.sources.frames import Feeds, feeds_of, in_place_of, states_at

Outputs = dict[str, npt.NDArray[np.float32]]
Dense = Callable[[Feeds], Outputs]
Action = Literal["none", "keyframe", "tighten", "loosen"]

AGAIN = 10
"""Checks that a violation is remembered for. A budget holds for 95 of 100 frames, so a single one
is no reason to pay more for all that follow, but one in ten is."""

QUIET = 50
"""Checks without a violation before a tightened stream is loosened, at first."""

MOST_EXCESS = 4.0**12
"""Loss over budget beyond which only all the bits of the grid are worth trying."""

LOG = 1000
"""Checks that the report lists; streams may have no end."""


@dataclass(frozen=True, slots=True)
class GuardCheck:
    """One comparison with the dense network.

    Attributes:
        frame: counted from 0.
        loss: of the stream's own outputs.
        action: what was done about it.
    """

    frame: int
    loss: float
    action: Action


@dataclass(slots=True)
class GuardReport:
    """What a guard has seen and done so far.

    Attributes:
        budget, every: as given.
        checks: dense frames computed for comparison.
        violations: checks that counted and whose loss was above the budget.
        keyframes, tightenings, loosenings: actions taken.
        out_of_reach: violations that neither action can cure, with nothing stale or all the bits of
            the grid. Calibrate again, on a clip like this stream.
        half_steps: how far the plan was tightened, see `mquans.plan.tightened`.
        worst, log: largest loss of all checks, and the last `LOG` checks.
    """

    budget: float
    every: int
    checks: int = 0
    violations: int = 0
    keyframes: int = 0
    tightenings: int = 0
    loosenings: int = 0
    out_of_reach: int = 0
    half_steps: int = 0
    worst: float = 0.0
    log: deque[GuardCheck] = field(default_factory=lambda: deque(maxlen=LOG))

    def as_dict(self) -> dict[str, Any]:
        """The stable keys of `guard` in `run --json`."""
        return asdict(self) | {"log": [asdict(check) for check in self.log]}


class Guard:
    """A stream of a session that watches its own loss; `step` is used as a stream's.

    The outputs of a checked frame are the stream's own. Only if they are beyond the budget, those
    after the keyframe, or of the tightened stream, are returned instead: what is known to be bad is
    not handed out.

    A check costs about one dense frame, and a second stream's memory unless `dense` is given.
    Tightening packs the weights again, once, under the new plan.

    Args:
        session: whose network and plan to start with.
        budget: largest loss of a frame.
        every: frames from check to check.
        metric: of a single frame, as `mquans.evaluate.new_meter` takes it, without labels; by
            default the loss that calibration budgets are stated in, relative to the variance of the
            stream so far. Outputs with few values per channel must first be seen often enough
            before a check counts (`running_loss.LEAST_VALUES`).
        dense: feeds to the dense network's outputs, such as `open_reference(...).step`, which adds
            what losses are taken of in place of outputs. By default the same integer network with
            nothing stale and all the bits of the grid, which cannot show what weights and ranges
            lose.
        stream: of the session, to go on with, such as a restored one; by default a new one.

    Raises:
        MquansError: a budget or a distance that is not positive; no value that a loss can be taken
            of, and no metric.
    """

    def __init__(
        self,
        session: Session,
        *,
        budget: float,
        every: int = 100,
        metric: AnyMetric | None = None,
        dense: Dense | None = None,
        stream: Stream | None = None,
    ) -> None:
        if not budget > 0:
            raise MquansError(f"the largest loss must be greater than 0, not {budget:g}.")
        if every < 1:
            raise MquansError(f"a guard checks every 1 or more frames, not {every}.")
        self.session = session
        self.stream = session.stream() if stream is None else stream
        self.report = GuardReport(budget, every)
        self.last_check: GuardCheck | None = None
        self._plan = session.plan
        self._holds = session.plan.rule == "hold"
        self._dense = dense
        # A keyframe takes all the bits of the grid under `hold`; `nearest` rounds to its steps
        # always.
        self._reference: Stream | None = None
        if dense is None:
            exact = session if self._holds else session.with_plan(finest(session.plan))
            self._reference = exact.stream()
        self._metric = metric
        self._meter: MetricMeter | None = None if metric is None else new_meter(metric)
        self._frames = 0
        self._states = Feedback(session.plan.feedback, session.plan.input_shapes)
        self._take_states()
        self._scored = scored_axes(session.graph, session.plan.feedback)
        self._running = RunningLoss(self._scored)
        if metric is None and not self._scored:
            raise nothing_comparable()
        self._inner = inner_values(session.graph, session.plan.feedback) if metric is None else ()
        self._patience, self._last_tightening = QUIET, 0
        self._since_violation: int | None = None

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees the memory of all streams."""
        self.stream.close()
        if self._reference is not None:
            self._reference.close()

    def restore(self, state: State) -> None:
        """Goes on from a saved stream, under the plan to which its guard had tightened it by then.

        Raises:
            StateError: damaged, or saved under another model or plan; nothing has changed.
        """
        saved, plan, half_steps = plan_of(state), self._plan, 0
        while plan_fingerprint(plan) != saved and half_steps < 2 * plan.grid_bits:
            half_steps += 1
            plan = tightened(self._plan, half_steps)
        session = self.session.with_plan(plan)
        self._go_over(session, session.restore(state))
        self.report.half_steps = half_steps

    def reset(self) -> None:
        """The next frame begins a new recording; what the guard has learned is kept."""
        self.stream.reset()
        self._states.reset()

    @property
    def frames(self) -> int:
        """Frames since the start."""
        return self._frames

    @property
    def state_bytes(self) -> int:
        """Memory of the stream and of the one it is compared with."""
        return self.stream.state_bytes + (
            0 if self._reference is None else self._reference.state_bytes
        )

    @property
    def stats(self) -> StreamStats:
        """What the stream's last step cost. The dense frame of a check is in it only if it
        made a keyframe."""
        return self.stream.stats

    def step(self, frame: Frame, *, keyframe: bool = False) -> Outputs:
        """As `Stream.step`, with a check at every `every`-th frame.

        Raises:
            FrameError: as `Stream.step`; nothing has changed and the frame does not count.
            MetricError: the metric fails.
            MquansError: `dense` lacks a value that the loss is taken of.
        """
        given = feeds_of(frame, self.session.frame_inputs)
        states = states_at(given, self._states)  # kept only if the stream takes the frame
        feeds = in_place_of(given, states.fill(given))
        outputs = self._step(self.stream, feeds, keyframe=keyframe)
        self._states = states
        self._frames += 1
        self.last_check = None
        if self._frames % self.report.every == 0:
            outputs = self._check(feeds, outputs)
        elif self._meter is None and not self._running.ready:
            self._running.learn(self._shown(outputs))
        self._states.keep(outputs)
        return {name: a for name, a in outputs.items() if name not in self._inner}

    def _step(self, stream: Stream, feeds: Feeds, *, keyframe: bool = False) -> Outputs:
        """Outputs of a stream, and what the loss is taken of in place of them."""
        return stream.step(feeds, keyframe=keyframe) | stream.values(self._inner)

    def _shown(self, outputs: Outputs) -> Outputs:
        """What the loss is taken of."""
        if missing := [name for name in self._scored if name not in outputs]:
            raise MquansError(
                f"the dense network gives no value {missing[0]!r}, which the loss is taken of.",
                hint="Open it with mquans.baselines.open_reference.",
            )
        return {name: outputs[name] for name in self._scored}

    def _check(self, feeds: Feeds, outputs: Outputs) -> Outputs:
        if self._reference is None:
            assert self._dense is not None
            found = self._dense(feeds)
            dense = {name: found[name] for name in outputs if name in found}
        else:
            dense = self._step(self._reference, feeds, keyframe=True)
        if self._meter is None:
            self._running.learn(self._shown(dense))
        loss = self._loss(outputs, dense)
        action: Action = "none"
        if loss > self.report.budget and (self._meter is not None or self._running.ready):
            action, outputs = self._respond(feeds, dense, loss)
            self._since_violation = 0
        elif self._since_violation is not None:
            self._since_violation += 1
            if self.report.half_steps and self._since_violation >= self._patience:
                action, outputs = "loosen", self._loosen(feeds)
                self._since_violation = 0
        report = self.report
        report.checks += 1
        report.worst = max(report.worst, loss)
        self.last_check = GuardCheck(self._frames - 1, loss, action)
        report.log.append(self.last_check)
        return outputs

    def _loss(self, outputs: Outputs, dense: Outputs) -> float:
        if self._meter is None:
            return self._running.loss(self._shown(outputs), self._shown(dense))
        self._meter.add(outputs, dense, None)
        if self._meter.per_frame:
            return float(self._meter.per_frame[-1])
        assert self._metric is not None
        loss, self._meter = self._meter.result(), new_meter(self._metric)
        return loss

    def _respond(self, feeds: Feeds, dense: Outputs, loss: float) -> tuple[Action, Outputs]:
        """Makes a keyframe or tightens the stream; the action and the outputs after it."""
        report = self.report
        report.violations += 1
        again = self._since_violation is not None and self._since_violation < AGAIN
        fresh = self._keyframe(feeds, dense)
        stale = not self._holds or self._reference is not None
        curable = stale or self._loss(fresh, dense) <= report.budget
        if again and curable:
            plan = self._tighter(loss / report.budget)
            if plan is not None:
                report.tightenings += 1
                if report.loosenings:
                    self._patience *= 2
                return "tighten", self._go_on_under(plan, feeds)
            curable = False
        report.out_of_reach += not curable
        report.keyframes += 1
        return "keyframe", fresh

    def _keyframe(self, feeds: Feeds, dense: Outputs) -> Outputs:
        """Ends all staleness. Under `hold` the reference that the comparison was made with has
        none, and the two change places."""
        if self._reference is None or not self._holds:
            return self._step(self.stream, feeds, keyframe=True)
        self.stream, self._reference = self._reference, self.stream
        return dense

    def _tighter(self, excess: float) -> Plan | None:
        """A plan that brings the loss down by a factor, as far as a bit quarters it; None when all
        neurons have all bits.

        Where the last check was followed by tightening, that was not enough, and the next goes
        further: very coarse steps lose less than they should since outputs are all but frozen.
        """
        report = self.report
        more = 2 * ceil(log(min(excess, MOST_EXCESS), 4)) - 1
        if report.log and report.log[-1].action == "tighten":
            more = max(more, self._last_tightening + 1)
        self._last_tightening = more = max(more, 1)
        for half_steps in range(report.half_steps + more, 2 * self._plan.grid_bits + more):
            plan = tightened(self._plan, half_steps)
            if plan_fingerprint(plan) != self.session.plan_fingerprint:
                report.half_steps = half_steps
                return plan
        return None

    def _loosen(self, feeds: Feeds) -> Outputs:
        """Goes on with one step less of tightening that makes a difference."""
        report, plan = self.report, self._plan
        for half_steps in range(report.half_steps - 1, -1, -1):
            report.half_steps = half_steps
            plan = tightened(self._plan, half_steps) if half_steps else self._plan
            if plan_fingerprint(plan) != self.session.plan_fingerprint:
                break
        report.loosenings += 1
        return self._go_on_under(plan, feeds)

    def _go_on_under(self, plan: Plan, feeds: Feeds) -> Outputs:
        session = self.session.with_plan(plan)
        self._go_over(session, session.stream())
        return self._step(self.stream, feeds)

    def _take_states(self) -> None:
        """Those that a restored stream has reached; a new one goes on from the guard's own."""
        if self.stream.frames:
            self._states.keep(self.stream.outputs())

    def _go_over(self, session: Session, stream: Stream) -> None:
        self.stream.close()
        self.session, self.stream = session, stream
        self._take_states()
        if self._reference is not None and self._holds:
            self._reference.close()
            self._reference = session.stream()

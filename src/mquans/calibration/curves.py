"""How often the inputs of a layer change, and by how much held values are off, per step size.

For both reuse rules and a ladder of steps, in one pass over the frames: the rules are played on a
sample of the positions of a layer's input. Steps are absolute, octaves apart, so that nothing need
be known about ranges beforehand; between them curves are interpolated in log-log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mquans.plan import Rule

Values = npt.NDArray[np.float32]
Sums = npt.NDArray[np.float64]
Floating = npt.NDArray[np.floating]

RULES: tuple[Rule, ...] = ("hold", "nearest")
SAMPLED_VALUES = 8192
"""Values of a tensor that rules are played on, per frame, at least."""
LEAST_POSITIONS = 100
OCTAVES = 14
"""Of the ladder of steps: from twice the first frame's reach down."""

FINE = 4
FEW_NEURONS = 16
"""Tensors of so few neurons, pictures above all, have `FINE` steps per octave."""

CARE = 1 / 8
"""Octaves."""

AT_ONCE = 1 << 14
"""Values of all rungs that are worked on together, at least one rung."""

SEED = 7


@dataclass(frozen=True, slots=True)
class Curves:
    """Change and error of the neurons of one tensor.

    Attributes:
        steps: [rungs], growing geometrically, in the tensor's own units.
        change: per rule, [neurons, rungs]: share of values that moved per frame.
        error: per rule, [neurons, rungs]: mean squared distance of held values, units squared.
        power: [neurons]: mean square.
    """

    steps: Sums
    change: dict[Rule, Sums]
    error: dict[Rule, Sums]
    power: Sums

    def at(self, rule: Rule, steps: Floating, *, careful: bool = False) -> tuple[Sums, Sums]:
        """(change, error) of every neuron at steps [neurons, n] or [n], interpolated.

        Args:
            careful: the change of slightly finer and the error of slightly coarser steps. Where
                values are whole numbers, as in pictures, a step just wide enough to hold back a
                change of one and a step just not are worlds apart, and rounding to the grid decides
                which it is.
        """
        if careful:
            change, _ = self.at(rule, steps * 2.0**-CARE)
            _, error = self.at(rule, steps * 2.0**CARE)
            return change, error
        neurons = len(self.change[rule])
        per_octave = 1 / np.log2(self.steps[1] / self.steps[0])
        position = np.clip(per_octave * np.log2(steps / self.steps[0]), 0, len(self.steps) - 1)
        position = np.broadcast_to(position, (neurons, position.shape[-1]))
        below = np.minimum(position.astype(int), len(self.steps) - 2)
        part = position - below
        change = _between(self.change[rule], below, part)
        error = _between(self.error[rule], below, part)
        return change, error


def _between(curve: Sums, below: npt.NDArray[np.int_], part: Sums) -> Sums:
    low = np.take_along_axis(curve, below, axis=1)
    high = np.take_along_axis(curve, below + 1, axis=1)
    both = (low > 0) & (high > 0)
    safe_low, safe_high = np.where(both, low, 1.0), np.where(both, high, 1.0)
    geometric = safe_low ** (1 - part) * safe_high**part
    return np.where(both, geometric, low + (high - low) * part)


class CurveMeter:
    """Plays the rules on one tensor, frame by frame."""

    def __init__(self, first: Values, rules: Sequence[Rule] = RULES) -> None:
        """`first`: the first frame, [neurons, positions]."""
        neurons, positions = first.shape
        count = min(positions, max(LEAST_POSITIONS, SAMPLED_VALUES // max(neurons, 1)))
        rng = np.random.default_rng(SEED)
        self._positions = np.sort(rng.choice(positions, count, replace=False))
        reach = float(np.abs(first).max(initial=0.0)) or 1.0
        top = 2.0 ** (np.ceil(np.log2(reach)) + 1)
        per_octave = FINE if neurons <= FEW_NEURONS else 1
        count = OCTAVES * per_octave
        self.steps = top * 2.0 ** (np.arange(-count, 1, dtype=np.float64) / per_octave)
        x = np.take(first, self._positions, axis=1)
        shape = (len(self.steps), *x.shape)
        self._rules = tuple(rules)
        self._frames = 0
        self._held = np.broadcast_to(x, shape).copy()
        self._code = self._rounded(x)
        self._power = np.zeros(neurons)
        self._change = {rule: np.zeros(shape[:2], np.int64) for rule in rules}
        self._error = {rule: np.zeros(shape[:2]) for rule in rules}

    def restart(self, x: Values) -> None:
        """The first frame of another clip."""
        x = np.take(x, self._positions, axis=1)
        self._held[:] = x
        self._code = self._rounded(x)

    def add(self, x: Values) -> None:
        """The next frame, [neurons, positions]."""
        x = np.take(x, self._positions, axis=1)
        self._frames += 1
        self._power += np.einsum("cp,cp->c", x, x)
        # A few rungs at a time: what is worked on stays in cache, and windows of sound, a few
        # hundred values, are not dealt with rung by rung.
        at_once = max(1, AT_ONCE // max(x.size, 1))
        for start in range(0, len(self.steps), at_once):
            rungs = slice(start, start + at_once)
            step = self.steps[rungs].astype(np.float32)[:, None, None]
            if "hold" in self._rules:
                held = self._held[rungs]
                off = x - held
                moved = off * off > (step / 2) ** 2
                np.multiply(off, ~moved, out=off)
                np.subtract(x, off, out=held)
                self._count("hold", rungs, moved, off)
            if "nearest" in self._rules:
                off = x / step
                code = np.rint(off)
                moved = code != self._code[rungs]
                off -= code
                off *= step
                self._code[rungs] = code
                self._count("nearest", rungs, moved, off)

    def _rounded(self, x: Values) -> Values:
        codes: Values = np.rint(x / self.steps.astype(np.float32)[:, None, None])
        return codes

    def _count(self, rule: Rule, rungs: slice, moved: npt.NDArray[np.bool_], off: Values) -> None:
        self._change[rule][rungs] += np.count_nonzero(moved, axis=2)
        self._error[rule][rungs] += np.einsum("scp,scp->sc", off, off)

    def result(self) -> Curves:
        """Averages over the frames so far but the first of each clip."""
        n = max(self._frames, 1) * len(self._positions)
        return Curves(
            self.steps,
            {r: np.minimum.accumulate(self._change[r].T / n, axis=1) for r in self._rules},
            {r: np.maximum.accumulate(self._error[r].T / n, axis=1) for r in self._rules},
            self._power / n,
        )

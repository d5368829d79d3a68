"""Plans of every scheme that takes part."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import msgspec

from mquans import Session, calibrate
from mquans.calibration import CalibrationOptions, calibrate_fully, plans_within
from mquans.plan import Plan
from mquans_studies.contest.cases import Case
from mquans_studies.contest.rules import Entry
from mquans_studies.one_width import of_one_width, ranges_of


class Candidates:
    """Makes them from the frames of a case that make plans.

    Attributes:
        session: of the case, to run plans in.
    """

    def __init__(self, case: Case) -> None:
        self._model = case.model
        self._frames = case.planning.segment.frames
        self.session = Session(case.model, calibrate(case.model, self._frames, bits=8))
        self._ranges = ranges_of(self.session, iter(self._frames))

    def plans(self, entry: Entry) -> Iterator[Plan]:
        """One per value of the entry, in its order; none of `every`, which needs no plan."""
        options = CalibrationOptions(rule=entry.rule, stress=False, frames=len(self._frames))
        match entry.kind:
            case "width":
                for bits in entry.values:
                    yield of_one_width(self.session, self._ranges, bits=bits, rule=entry.rule)
            case "budget":
                options = dataclasses.replace(options, objective="energy")
                for result in plans_within(entry.values, self._model, self._frames, options):
                    yield result.plan
            case "tolerance":
                made = calibrate_fully(self._model, self._frames, options, max_loss=entry.budget)
                for factor in entry.values:
                    tolerance = made.plan.tolerance * factor
                    yield msgspec.structs.replace(made.plan, tolerance=tolerance)
            case "every":
                return

"""What reuse could do for a network: its nodes, and, with a clip, a sweep over bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mquans.calibration.inputs import Spec, resolve_shapes
from mquans.calibration.pipeline import sweep
from mquans.calibration.result import Sweep
from mquans.evaluate import Coverage, Track, coverage, silent
from mquans.importers import import_model, read_model
from mquans.plan import InputFormat, Rule

SWEPT_BITS = (4, 5, 6, 7, 8)

PAYS = 0.35
"""Share of the MACs up to which skipping beats the dense engine clearly, see docs/benchmarks.md."""

PAYS_SOMEWHAT = 0.6


@dataclass(frozen=True, slots=True)
class Inspection:
    """Coverage of a network; with a clip, the measured sweep and one sentence of advice."""

    coverage: Coverage
    sweep: Sweep | None = None

    @property
    def advice(self) -> str | None:
        """Is reuse worth it on this clip? Judged at the most careful bits of the sweep."""
        if self.sweep is None:
            return None
        bits = max(self.sweep.measured)
        done = self.sweep.measured[bits].work.macs_fraction
        found = f"at {bits} bits {100 * done:.0f} % of the MACs are left"
        if done <= PAYS:
            return f"Reuse is worth it on this clip: {found}."
        if done <= PAYS_SOMEWHAT:
            return f"Reuse may be worth it on this clip: {found}; try fewer bits with --max-loss."
        return f"Reuse is hardly worth it on this clip: {found}. A fixed camera would help."

    def as_dict(self) -> dict[str, Any]:
        """The stable keys of `inspect --json`."""
        found = self.coverage.as_dict()
        if self.sweep is not None:
            found["bits"] = {
                str(bits): {
                    "similarity": m.work.similarity,
                    "computation_reuse": m.work.computation_reuse,
                    "loss": m.loss,
                    "layers": {name: work.similarity for name, work in m.work.layers.items()},
                }
                for bits, m in self.sweep.measured.items()
            }
            found["advice"] = self.advice
        return found


def inspect_model(
    model: Any,
    source: Spec | None = None,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input: InputFormat | Mapping[str, Any] | None = None,
    frames: int | None = None,
    skip: int = 0,
    stride: int = 1,
    rule: Rule = "hold",
    threads: int = 1,
    track: Track = silent,
) -> Inspection:
    """Shows how each node runs and, given a clip, measures 4 to 8 bits on its last part.

    Arguments as `calibrate`.
    """
    file = read_model(model)
    if source is None:
        shapes = resolve_shapes(file, input_shapes=input_shapes, input=input)
        return Inspection(coverage(import_model(file, input_shapes=shapes)))
    found = sweep(
        file,
        source,
        SWEPT_BITS,
        input_shapes=input_shapes,
        input=input,
        frames=frames,
        skip=skip,
        stride=stride,
        rule=rule,
        threads=threads,
        track=track,
    )
    shapes = next(iter(found.plans.values())).input_shapes
    return Inspection(coverage(import_model(file, input_shapes=shapes)), found)

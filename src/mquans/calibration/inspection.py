"""What reuse could do for a network: its nodes, and, with a clip, a sweep over bits and the time of
every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mquans.calibration.context import open_context, open_network
from mquans.calibration.inputs import Spec
from mquans.calibration.options import CalibrationOptions
from mquans.calibration.pipeline import sweep
from mquans.calibration.resolution import Format
from mquans.calibration.result import Sweep
from mquans.evaluate import Coverage, LayerTable, Track, coverage, layer_table, silent
from mquans.onnx import read_model
from mquans.plan import Rule
from mquans.runtime.session import Session

SWEPT_BITS = (4, 5, 6, 7, 8)
TIMED_BITS = 8
"""Of the sweep, the most careful."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """Coverage of a network; with a clip, the measured sweep, and the layers timed at `TIMED_BITS`
    beside onnxruntime."""

    coverage: Coverage
    sweep: Sweep | None = None
    layers: LayerTable | None = None

    @property
    def advice(self) -> str | None:
        """Is reuse worth it on this clip? One sentence."""
        return None if self.layers is None else self.layers.verdict

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
        if self.layers is not None:
            found["layer_table"] = {"bits": TIMED_BITS, **self.layers.as_dict()}
            found["advice"] = self.advice
        return found


def inspect(
    model: Any,
    source: Spec | None = None,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, float] | None = None,
    feedback: Mapping[str, str] | None = None,
    carry_state: bool = False,
    input: Format | Mapping[str, Any] | None = None,
    frames: int | None = None,
    skip: int = 0,
    stride: int = 1,
    rule: Rule = "hold",
    threads: int = 1,
    track: Track = silent,
) -> Inspection:
    """Shows how each node runs and, given a clip, measures 4 to 8 bits on its last part, and there
    times every layer.

    Arguments as `calibrate`.
    """
    file = read_model(model)
    options = CalibrationOptions(
        frames=frames,
        skip=skip,
        stride=stride,
        input_shapes=input_shapes,
        constants=constants,
        feedback=feedback,
        carry_state=carry_state,
        input=input,
        rule=rule,
        threads=threads,
        track=track,
    )
    if source is None:
        graph, setup = open_network(file, None, options)
        return Inspection(coverage(graph, setup.options.feedback))
    context = open_context(file, source, options)
    found = sweep(context, SWEPT_BITS)
    clip = context.held_out[0].frames
    session = Session(file, found.plans[TIMED_BITS], threads=threads)
    layers = layer_table(session, file, clip, total=len(clip), track=track)
    return Inspection(coverage(context.graph, context.feedback), found, layers)

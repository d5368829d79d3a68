"""What a user can ask of calibration, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from mquans.calibration.allocation import METHODS, WeightBits
from mquans.calibration.criticality import METHODS as CRITICALITIES
from mquans.calibration.criticality import WITH_ERROR_WEIGHTS
from mquans.calibration.objectives import OBJECTIVES
from mquans.calibration.resolution import Format
from mquans.errors import MquansError
from mquans.evaluate import Track, silent
from mquans.metrics import AnyMetric, OutputWeights
from mquans.plan import Rule
from mquans.sources import OnError
from mquans.threads import check_threads

RuleChoice = Rule | Literal["either"]
"""A rule, or the one under which less is left to do."""

DEFAULT_CRITICALITY = "fisher"
"""Of networks value by value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationOptions:
    """What `calibrate` can be told beyond bits and budget; fields as its arguments.

    Raises:
        MquansError: there is no such method, criticality, objective or number of threads; or
            labels, with files left out.
    """

    method: str = "criticality"
    criticality: str | None = None
    objective: str = "macs"
    accelerator: str = "reuse"
    rule: RuleChoice = "hold"
    weight_bits: WeightBits | None = None
    metric: AnyMetric | None = None
    task_loss: Any = None
    labels: Sequence[Any] | None = None
    stress: bool = True
    motion_gate: bool = False
    compare: Sequence[str] = ()
    frames: int | None = None
    skip: int = 0
    stride: int = 1
    on_error: OnError = "stop"
    input_shapes: Mapping[str, Sequence[int]] | None = None
    constants: Mapping[str, float] | None = None
    feedback: Mapping[str, str] | None = None
    carry_state: bool = False
    input: Format | Mapping[str, Any] | None = None
    threads: int = 1
    track: Track = silent

    def __post_init__(self) -> None:
        check_threads(self.threads)
        if isinstance(self.input, str):
            raise MquansError(
                f"input is a preparation or fields of one, not {self.input!r}.",
                hint=f'For a preset: input={{"preset": "{self.input}"}}.',
            )
        if self.labels is not None and self.on_error == "skip":
            raise MquansError(
                "labels are by the number of a frame, which is lost where files are left out.",
                hint="Remove the files that cannot be read, and their labels, instead.",
            )
        for kind, name, known in (
            ("method", self.method, METHODS),
            *(("method", name, METHODS) for name in self.compare),
            ("criticality method", self.criticality or DEFAULT_CRITICALITY, CRITICALITIES),
            ("objective", self.objective, OBJECTIVES),
        ):
            if name not in known:
                raise MquansError(
                    f"there is no {kind} {name!r}.", hint=f"Choose one of: {', '.join(known)}."
                )

    @property
    def of_a_budget(self) -> list[str]:
        """Names of what was asked for that only a choice under a budget looks at."""
        names = ("method", "criticality", "objective", "accelerator", "compare")
        defaults = {field.name: field.default for field in fields(self)}
        return [name for name in names if getattr(self, name) != defaults[name]]

    @property
    def error_weights(self) -> OutputWeights | None:
        """What the metric makes of errors at the outputs, where it says so and criticality can
        follow."""
        follows = (self.criticality or DEFAULT_CRITICALITY) in WITH_ERROR_WEIGHTS
        found: OutputWeights | None = getattr(self.metric, "error_weights", None)
        return found if follows and self.task_loss is None else None

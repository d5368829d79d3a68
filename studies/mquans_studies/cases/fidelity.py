"""How faithful outputs are to the dense fp32 network, and the rule by which plans are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mquans.evaluate.interleave import Outputs
from mquans.metrics import Decoder
from mquans.metrics.agreement import Agreement, AgreementMeter
from mquans.metrics.detections import DetectionScore

REL_SQ_P95 = 0.01
"""Where static int8 cannot run."""

F1 = 0.98
"""At IoU 0.5 against fp32, where the network finds something."""


@dataclass(slots=True)
class Fidelity:
    """Agreement with fp32, and for detectors F1.

    Attributes:
        f1: None where fp32 finds nothing, or the network is no detector.
        objects: boxes that fp32 finds.
    """

    agreement: Agreement
    f1: float | None
    objects: int

    def as_dict(self) -> dict[str, Any]:
        """Keys of the agreement, `f1` and `objects`."""
        return {**self.agreement.as_dict(), "f1": self.f1, "objects": self.objects}


@dataclass(frozen=True, slots=True)
class Rule:
    """What engines must keep to be compared: no worse than static int8 on the same frames, and no
    object lost.

    Attributes:
        int8_rel_sq_p95: of onnxruntime int8; None where it cannot run.
    """

    int8_rel_sq_p95: float | None

    def kept(self, found: Fidelity) -> bool:
        """True for an engine that is faithful."""
        limit = REL_SQ_P95 if self.int8_rel_sq_p95 is None else self.int8_rel_sq_p95
        return found.agreement.rel_sq_p95 <= limit and (found.f1 is None or found.f1 >= F1)


@dataclass(slots=True)
class Detections:
    """Boxes of one engine against those of fp32, over frames."""

    decode: Decoder | None
    score: DetectionScore = field(default_factory=DetectionScore)

    def add(self, dense: Outputs, outputs: Outputs) -> None:
        """One frame."""
        if self.decode is not None:
            self.score.add(self.decode(dense), self.decode(outputs))

    @property
    def objects(self) -> int:
        """Boxes that fp32 finds."""
        return self.score.matched + self.score.missed

    @property
    def f1(self) -> float | None:
        """None where fp32 finds nothing."""
        return self.score.f1 if self.objects else None


def fidelity(
    dense: Sequence[Outputs], outputs: Sequence[Outputs], decode: Decoder | None
) -> Fidelity:
    """Outputs of a clip, frame by frame, against the dense ones."""
    meter, boxes = AgreementMeter(), Detections(decode)
    for wanted, found in zip(dense, outputs, strict=True):
        meter.add(wanted, found)
        boxes.add(wanted, found)
    return Fidelity(meter.result(), boxes.f1, boxes.objects)

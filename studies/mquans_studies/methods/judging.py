"""Plans measured on frames that they were not made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import mquans
from mquans.evaluate import Work
from mquans.evaluate.interleave import Outputs
from mquans.onnx import ModelFile
from mquans.plan import Plan
from mquans.runtime.replay import replay
from mquans.sources.frames import Feeds
from mquans_studies.cases.fidelity import fidelity
from mquans_studies.cases.networks import NETWORKS
from mquans_studies.cases.plans import run_dense


@dataclass(slots=True)
class Judge:
    """Frames of one stream and what fp32 says to them.

    The first frame, which every plan computes whole, is compared but not counted as work: streams
    are long.
    """

    network: str
    model: ModelFile
    frames: Sequence[Feeds]
    dense: list[Outputs] = field(init=False)

    def __post_init__(self) -> None:
        self.dense = run_dense(self.model, self.frames, NETWORKS[self.network].shapes)

    def judge(self, plan: Plan) -> dict[str, Any]:
        """Work and losses of a plan as plain data.

        `changed_fraction` of the MACs are those that changed values take part in. `agreement` as of
        `compare --json`, `f1` where the network finds something, `steering_rms` of PilotNet.
        """
        session = mquans.Session(self.model, plan)
        work, outputs = Work(), []
        with session.stream() as stream:
            for frame in replay(session, self.frames, stream=stream):
                made, stats = frame.made
                outputs.append(made)
                if frame.index:
                    work.add(stats)
        return {
            "changed_fraction": work.changed_fraction,
            "similarity": work.similarity,
            **self._losses(outputs),
        }

    def frozen(self) -> dict[str, Any]:
        """Losses of outputs that stay as they were on the first frame."""
        return self._losses([self.dense[0]] * len(self.dense))

    def _losses(self, outputs: Sequence[Outputs]) -> dict[str, Any]:
        found = fidelity(self.dense, outputs, NETWORKS[self.network].decode)
        losses: dict[str, Any] = {"agreement": found.agreement.as_dict(), "f1": found.f1}
        if self.network == "pilotnet":
            pairs = zip(self.dense, outputs, strict=True)
            errors = [a["steer"].item() - b["steer"].item() for a, b in pairs]
            losses["steering_rms"] = float(np.sqrt(np.mean(np.square(errors))))
        return losses

"""Which part of which clip plans are made from, and which other part they are judged on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mquans.errors import SourceError
from mquans.sources import guess_format, open_source
from mquans.sources.frames import Feeds
from mquans_studies.cases.networks import NETWORKS, VIDEOS
from mquans_studies.cases.steering import load_track

BUDGET_FRAMES = 120
"""Of every clip, for a plan within a budget."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive frames of a clip."""

    clip: str
    start: int
    frames: int

    def load(self, network: str, shared: Path) -> list[Feeds]:
        """The frames as a network takes them.

        Raises:
            SourceError: the clip is not there, or too short.
        """
        name = NETWORKS[network].input
        if self.clip == "driving":
            found = list(load_track(shared, self.start + self.frames)[0][self.start :, None])
        else:
            format = guess_format(
                name, NETWORKS[network].shapes[name], **NETWORKS[network].preparation
            )
            path = shared / "data" / VIDEOS[self.clip]
            with open_source(
                path, format, input_shapes=NETWORKS[network].shapes,
                skip=self.start, frames=self.frames,
            ) as source:  # fmt: skip
                found = list(source)
        if len(found) < self.frames:
            raise SourceError(f"has no {self.frames} frames from {self.start}.", where=self.clip)
        return [{name: frame} for frame in found]


@dataclass(frozen=True, slots=True)
class Scene:
    """A stream as it is calibrated and then met: another part of the clip, or another clip."""

    calibrated: tuple[Segment, ...]
    judged: Segment

    def source(self, network: str, shared: Path) -> Any:
        """What `mquans.calibrate` takes, beginning with the frames that are calibrated on."""
        first = self.calibrated[0]
        if first.clip == "driving":
            longer = Segment(first.clip, first.start, BUDGET_FRAMES)
            return [frame[NETWORKS[network].input][0] for frame in longer.load(network, shared)]
        return [shared / "data" / VIDEOS[segment.clip] for segment in self.calibrated]


SCENES = {
    "vtest": Scene((Segment("vtest", 0, 80),), Segment("vtest", 500, 120)),
    "bottle": Scene((Segment("bottle", 0, 80),), Segment("bottle", 700, 120)),
    "asl": Scene(
        (Segment("asl-book", 0, 40), Segment("asl-learn", 0, 40)), Segment("asl-thanks", 0, 50)
    ),
    "driving": Scene((Segment("driving", 400, 80),), Segment("driving", 1400, 60)),
}

UNSEEN = {
    "vtest": (Segment("vtest", 300, 40), Segment("vtest", 600, 40)),
    "bottle": (Segment("bottle", 500, 40), Segment("bottle", 900, 40)),
    "asl": (Segment("asl-thanks", 0, 25), Segment("asl-thanks", 25, 25)),
    "driving": (Segment("driving", 1000, 40), Segment("driving", 1600, 40)),
}
"""Where budgets are tried: twice per network and scene."""

CELLS = [
    *((network, scene) for network in ("centerface", "fastestdet", "yunet")
      for scene in ("vtest", "bottle", "asl")),
    ("pilotnet", "driving"),
]  # fmt: skip

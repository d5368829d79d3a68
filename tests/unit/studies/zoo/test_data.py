"""What is tested on was not trained on; else every accuracy of the zoo is too high."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mquans.errors import SourceError
from mquans.metrics.speech import greedy_ctc

torch = pytest.importorskip("torch")

from mquans_studies.zoo import driving, gestures, phones, strings  # noqa: E402
from mquans_studies.zoo.alignment import SILENCE, align  # noqa: E402
from mquans_studies.zoo.driving import Driving  # noqa: E402
from mquans_studies.zoo.gestures import Gestures  # noqa: E402
from mquans_studies.zoo.phones import Phones, states_of  # noqa: E402
from mquans_studies.zoo.speech import (  # noqa: E402
    BY_TAKE,
    HOP,
    MASKED,
    RATE,
    Recording,
    at_speeds,
    read_noise,
    read_recordings,
    split,
    split_speakers,
    split_takes,
    varied,
)
from mquans_studies.zoo.splicing import Splicer, blocks_of, emission_targets  # noqa: E402
from mquans_studies.zoo.strings import StreamedStrings  # noqa: E402


@pytest.fixture
def _no_aligner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)


@pytest.fixture
def _few_strings(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (phones, strings):
        monkeypatch.setattr(module, "TEST_STRINGS", 3)
        monkeypatch.setattr(module, "CALIBRATION_STRINGS", 2)
    monkeypatch.setattr(phones, "TRAIN_STRINGS", 4)
    monkeypatch.setattr(strings, "NORMALISED_BY", 4)


def test_speakers_are_on_one_side_only(digits_folder: Path) -> None:
    train, test = split_speakers(read_recordings(digits_folder), ["anna"])
    assert {recording.speaker for recording in train} == {"ben"}
    assert {recording.speaker for recording in test} == {"anna"}


def test_plans_are_made_from_other_recordings_of_every_digit_than_judge(
    digits_folder: Path,
) -> None:
    recordings = read_recordings(digits_folder)
    sample, judging = split_takes(recordings)
    assert {r.name for r in sample} | {r.name for r in judging} == {r.name for r in recordings}
    assert not {r.name for r in sample} & {r.name for r in judging}
    for part in (sample, judging):
        assert {(r.speaker, r.digit) for r in part} == {(r.speaker, r.digit) for r in recordings}


@pytest.mark.parametrize("held_out", [["nobody"], ["anna", "ben"], []])
def test_a_split_without_one_side_is_refused(digits_folder: Path, held_out: list[str]) -> None:
    with pytest.raises(SourceError, match="anna, ben"):
        split_speakers(read_recordings(digits_folder), held_out)


def test_by_take_every_speaker_is_heard_and_no_recording_is_on_two_sides() -> None:
    """A network that knows its speakers errs less, so that a small loss is more than one digit."""
    sound = np.zeros(8, np.float32)
    recordings = [
        Recording(f"{digit}_{speaker}_{take:02}", digit, speaker, sound)
        for digit in range(10)
        for speaker in ("anna", "ben")
        for take in range(20)
    ]
    parts = split(recordings, [BY_TAKE])
    names = [{recording.name for recording in part} for part in parts]
    assert [len(part) for part in names] == [320, 40, 40]
    assert len(set.union(*names)) == len(recordings)
    for part in parts:
        assert {(r.speaker, r.digit) for r in part} == {(r.speaker, r.digit) for r in recordings}


def test_by_take_asks_for_enough_recordings(digits_folder: Path) -> None:
    with pytest.raises(SourceError, match="too few recordings"):
        split(read_recordings(digits_folder), [BY_TAKE])


def test_blocks_are_speakers_where_there_are_several(digits_folder: Path) -> None:
    """Intervals of confidence draw speakers; of one speaker alone they draw strings."""
    recordings = read_recordings(digits_folder)
    noise = read_noise(digits_folder, begin=0, end=1)
    several = Splicer(recordings, noise, snr=(20, 20), seed=0)
    assert set(blocks_of([several.string(2, 120) for _ in range(8)])) == {"anna", "ben"}
    one = Splicer([r for r in recordings if r.speaker == "anna"], noise, snr=(20, 20), seed=0)
    assert blocks_of([one.string(2, 120) for _ in range(3)]) == ["0", "1", "2"]


def test_noise_is_split_by_time(digits_folder: Path) -> None:
    (early,) = read_noise(digits_folder, begin=0, end=0.7)
    (late,) = read_noise(digits_folder, begin=0.8, end=1)
    (whole,) = read_noise(digits_folder, begin=0, end=1)
    assert np.array_equal(whole[: len(early)], early)
    assert np.array_equal(whole[-len(late) :], late)
    assert len(early) + len(late) < len(whole)


def test_strings_are_said_by_one_speaker_and_hold_their_digits(digits_folder: Path) -> None:
    recordings = read_recordings(digits_folder)
    noise = read_noise(digits_folder, begin=0, end=1)
    splicer = Splicer(recordings, noise, snr=(300, 300), seed=0)
    for _ in range(5):
        string = splicer.string(3, 200)
        assert len(string.samples) == 200 * HOP
        assert len({span.recording.speaker for span in string.spans}) == 1
        for span in string.spans:
            heard = string.samples[span.begin : span.end]
            np.testing.assert_allclose(heard, span.recording.samples, atol=1e-3)


def test_too_many_digits_are_refused(digits_folder: Path) -> None:
    noise = read_noise(digits_folder, begin=0, end=1)
    splicer = Splicer(read_recordings(digits_folder), noise, snr=(20, 20), seed=0)
    with pytest.raises(SourceError, match="do not fit"):
        splicer.string(9, 50)


def test_digits_are_written_when_they_have_been_heard(digits_folder: Path) -> None:
    """A streaming network cannot know a digit at its beginning."""
    noise = read_noise(digits_folder, begin=0, end=1)
    splicer = Splicer(read_recordings(digits_folder), noise, snr=(20, 20), seed=0)
    string = splicer.string(2, 90)
    targets = emission_targets(string, 30, hop=3 * HOP)
    assert [token - 1 for token in greedy_ctc(targets.tolist())] == string.digits
    for span in string.spans:
        assert targets[span.begin // (3 * HOP)] == 0


def test_faster_speech_is_shorter(digits_folder: Path) -> None:
    (recording, *_) = read_recordings(digits_folder)
    slow, fast = at_speeds([recording], (0.8, 1.25))
    assert len(slow.samples) == pytest.approx(len(recording.samples) / 0.8, abs=2)
    assert len(fast.samples) == pytest.approx(len(recording.samples) / 1.25, abs=2)


def test_another_microphone_is_the_same_at_all_times() -> None:
    """A filter adds to log energies; frames that are stacked were heard through the same one."""
    frames = np.random.default_rng(1).normal(0, 1, (7, 1, 120)).astype(np.float32)
    heard = varied(frames, np.random.default_rng(2)).reshape(21, 40)
    kept = ~(heard == 0).all(axis=0)
    curve = (heard - frames.reshape(21, 40))[:, kept]
    assert kept.sum() >= 40 - 2 * MASKED
    assert np.abs(curve).max() > 0.1
    np.testing.assert_allclose(curve, np.broadcast_to(curve[0], curve.shape), atol=1e-5)


@pytest.mark.usefixtures("_no_aligner")
def test_without_an_aligner_phones_share_the_recording(digits_folder: Path) -> None:
    """And the card says so: numbers of such labels are not comparable."""
    recordings = read_recordings(digits_folder)
    alignment = align(recordings)
    assert "not installed" in alignment.method
    assert alignment.names[0] == SILENCE
    states = alignment.states["8_anna_0"]
    assert [state.name for state in states] == ["EY.0", "EY.1", "EY.2", "T.0", "T.1", "T.2"]
    assert states[-1].end == pytest.approx(2400 / RATE)


@pytest.mark.usefixtures("_no_aligner")
def test_states_lie_where_the_digit_was_spliced(digits_folder: Path) -> None:
    recordings = read_recordings(digits_folder)
    alignment = align(recordings)
    noise = read_noise(digits_folder, begin=0, end=1)
    made = [Splicer(recordings, noise, snr=(20, 20), seed=s).string(2, 120) for s in (0, 1)]
    states = states_of(made, alignment)
    assert len(states) == 240
    for number, string in enumerate(made):
        for span in string.spans:
            first = number * 120 + span.begin // HOP
            last = number * 120 + span.end // HOP
            assert (states[first + 1 : last - 2] > 0).all()
        gap = slice(number * 120 + string.spans[-1].end // HOP, (number + 1) * 120)
        assert (states[gap] == 0).all()


@pytest.mark.usefixtures("_no_aligner", "_few_strings")
def test_windows_of_the_acoustic_model_have_a_label_each(digits_folder: Path) -> None:
    task = Phones(digits_folder, seed=0, held_out=["anna"])
    for stream, count in ((task.held_out(), 3), (task.calibration(), 2)):
        assert count * phones.FRAMES - 3 < len(stream.frames) <= count * phones.FRAMES
        assert stream.frames.shape[1:] == (1, 440)
        assert len(stream.labels) == len(stream.frames)
        assert np.array_equal(stream.frames[1, 0, :400], stream.frames[0, 0, 40:])


@pytest.mark.usefixtures("_few_strings")
def test_the_text_of_a_string_stands_at_its_last_step(digits_folder: Path) -> None:
    """The word error rate is counted where a label stands."""
    task = StreamedStrings(digits_folder, seed=0, held_out=["anna"])
    stream = task.held_out()
    assert stream.frames.shape == (3 * strings.TEST_STEPS, 1, 1, 120)
    texts = {step: text for step, text in enumerate(stream.labels) if text is not None}
    assert list(texts) == [96 * (n + 1) - 1 for n in range(3)]
    assert all(len(text.split()) == strings.TEST_DIGITS for text in texts.values())
    assert len(task.calibration().frames) == 2 * strings.TEST_STEPS


def test_a_drive_is_split_by_time_with_a_gap(drive_folder: Path) -> None:
    """Pictures are as bright as their number, so brightness tells where they come from."""
    task = Driving(drive_folder, seed=0)
    trained, _ = task._train
    stream = task.held_out()
    assert stream.frames.shape == (12, 1, 3, 66, 200)
    assert float(trained.max()) == pytest.approx(4 * 41 / 255)
    assert float(stream.frames.min()) == pytest.approx(4 * 48 / 255)
    assert len(stream.labels) == 12
    planned = task.calibration()
    assert float(planned.frames.max()) < float(stream.frames.min()), "plans see no test picture"
    assert len(planned.labels) == len(planned.frames) == 18


def test_a_folder_without_a_drive_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"labels\.csv"):
        driving.read_drive(tmp_path)


def test_clips_are_split_by_time_with_a_gap(clips_folder: Path) -> None:
    task = Gestures(clips_folder, seed=0, width=1)
    stream = task.held_out()
    assert stream.frames.shape[1:] == (1, 3, 16, 112, 112)
    # Pictures are as bright as their number: 36 train, the others come at least 3 later.
    assert [part.shape[1] for part in task._train] == [36, 36]
    trained = torch.cat([part.flatten() for part in task._train])
    step = float(trained.max() - trained.min()) / 35
    assert float(stream.frames.min()) == pytest.approx(float(trained.max()) + 4 * step, rel=0.05)
    assert set(stream.labels) == {0, 1}
    planned = task.calibration()
    assert float(planned.frames.max()) == float(trained.max())
    assert set(planned.labels) == {0, 1}


def test_a_folder_without_clips_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no clips"):
        gestures.Gestures(tmp_path, seed=0)

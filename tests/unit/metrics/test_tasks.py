"""Classification, regression and word errors, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mquans.errors import MquansError
from mquans.metrics import (
    ClassificationLoss,
    MetricMeter,
    RegressionLoss,
    VoiceActivityLoss,
    WordErrorLoss,
    edit_distance,
    greedy_ctc,
)
from mquans.metrics.regression import ROUNDING


def scores(*classes: int | str, of: int = 3) -> dict[str, np.ndarray]:
    """An output [1, time, classes] whose best classes are given."""
    return {"y": np.eye(of, dtype=np.float32)[[int(c) for c in classes]][None]}


def filled(meter: MetricMeter, *frames: tuple[Any, Any, Any]) -> MetricMeter:
    for frame in frames:
        meter.add(*frame)
    return meter


def number(value: float) -> dict[str, np.ndarray]:
    return {"steer": np.array([[value]], np.float32)}


def test_top1_without_labels_is_disagreement_with_the_dense_network() -> None:
    """One frame of four is another class."""
    meter = filled(
        ClassificationLoss(),
        *(
            (scores(found), scores(dense), None)
            for found, dense in ((0, 0), (1, 1), (2, 2), (2, 1))
        ),
    )
    assert meter.result() == 0.25
    assert list(meter.per_frame) == [0, 0, 0, 1]


def test_top1_with_labels_is_lost_accuracy() -> None:
    """The dense network's own mistakes are not ours; a lucky hit makes up for a miss."""
    frames = [(scores(0), scores(1), 0), (scores(1), scores(1), 2), (scores(2), scores(0), 0)]
    assert filled(ClassificationLoss(), *frames[:2]).result() == 0
    assert filled(ClassificationLoss(), *frames).result() == 0
    assert filled(ClassificationLoss(), *frames[1:]).result() == 0.5


def test_frame_accuracy_counts_time_steps() -> None:
    """An acoustic model gives a class for each of them."""
    meter = filled(ClassificationLoss(axis=-1), (scores(0, 1, 2, 2), scores(0, 1, 1, 1), None))
    assert meter.result() == 0.5


@pytest.mark.parametrize(("label", "words"), [("cat", "not a class"), ([1, 2], "2 classes")])
def test_label_that_is_no_class_is_refused(label: Any, words: str) -> None:
    """Rather than counted as a mistake in every frame."""
    with pytest.raises(MquansError, match=words):
        ClassificationLoss().add(scores(0), scores(0), label)


def test_rmse_is_in_standard_deviations_of_the_dense_output() -> None:
    """Dense 0, 2, 4, 6 has variance 5; every output is 1 off."""
    meter = filled(RegressionLoss(), *((number(y + 1), number(y), None) for y in (0, 2, 4, 6)))
    assert meter.result() == pytest.approx(1 / 5**0.5)
    assert meter.per_frame == pytest.approx([1 / 5**0.5] * 4)


def test_steering_error_is_what_grows_beyond_the_dense_networks() -> None:
    """Labels 0 and 2 have deviation 1; dense errs by 1, we by 3 and 1: mae grows from 1 to 2."""
    meter = filled(
        RegressionLoss(kind="mae"),
        (number(3), number(1), 0.0),
        (number(1), number(1), 2.0),
    )
    assert meter.result() == pytest.approx(1.0)
    assert meter.per_frame == pytest.approx([2, 0])


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(*[st.floats(-100, 100)] * 3), min_size=1, max_size=12))
def test_regression_matches_numpy_over_the_clip(frames: list[tuple[float, float, float]]) -> None:
    """Running sums must be those of the whole clip."""
    z, y, r = np.array(frames).T
    meter = RegressionLoss()
    for frame in zip(z, y, r, strict=True):
        meter.add({"s": np.array(frame[0])}, {"s": np.array(frame[1])}, frame[2])
    wanted = np.sqrt(np.mean((z - r) ** 2)) - np.sqrt(np.mean((y - r) ** 2))
    scale = r.std() if r.var() > ROUNDING * r.mean() ** 2 else 1.0
    assume(scale > 1e-4)
    assert meter.result() == pytest.approx(max(0, wanted) / scale, rel=1e-6, abs=1e-9)


def test_wrong_label_or_output_of_a_regression_is_refused() -> None:
    """A label file of another clip, a misspelt output."""
    with pytest.raises(MquansError, match="not a number"):
        RegressionLoss().add(number(0), number(0), "left")
    with pytest.raises(MquansError, match="3 values"):
        RegressionLoss().add(number(0), number(0), [1, 2, 3])
    with pytest.raises(MquansError, match=r"no output 'angle'.*steer"):
        RegressionLoss(output="angle").add(number(0), number(0), None)


ALPHABET = ("", " ", "a", "b")


def text(letters: str) -> dict[str, np.ndarray]:
    """CTC output, one step per letter, `_` for blank."""
    return scores(*(0 if letter == "_" else ALPHABET.index(letter) for letter in letters), of=4)


def test_ctc_merges_repeats_and_drops_blanks() -> None:
    """`aa_a b` is `aa b`."""
    assert greedy_ctc([2, 2, 0, 2, 1, 3]) == [2, 2, 1, 3]
    assert greedy_ctc([]) == []


def test_word_errors_of_utterances_that_end_at_their_labels() -> None:
    """Two words of three are wrong in ours, one in the dense network's."""
    meter = WordErrorLoss(ALPHABET)
    meter.add(text("a_"), text("a_"), None)
    meter.add(text(" b"), text("_a"), "a b")  # we: "a b"; dense: "aa"
    meter.add(text("a"), text("b"), "b")  # we: 1 error; dense: none
    assert meter.result() == 0  # 1 error of ours against 2 of the dense network's
    meter.add(text("a a"), text("b b"), "b b")
    assert meter.result() == pytest.approx((3 - 2) / 5)


def test_word_errors_without_labels_are_against_the_dense_text() -> None:
    """Frames of one hop each; nothing ends the utterance but the end of the clip."""
    meter = filled(
        WordErrorLoss(ALPHABET),
        *((text(ours), text(dense), None) for ours, dense in zip("ab a", "aa a", strict=True)),
    )
    assert meter.result() == 0.5  # "ab a" against "a a"
    assert meter.result() == 0.5  # asking does not end it
    assert not meter.per_frame


def test_tokens_are_words_without_symbols() -> None:
    """A token error rate needs nothing but the outputs."""
    meter = filled(WordErrorLoss(), (scores(1, 0, 2, 0, 1), scores(1, 0, 2, 0, 2), None))
    assert meter.result() == pytest.approx(1 / 3)


def test_symbols_must_fit_the_network() -> None:
    """The alphabet of another model."""
    with pytest.raises(MquansError, match=r"class 2.*2 symbols"):
        filled(WordErrorLoss(["", "a"]), (scores(2), scores(2), None)).result()


@settings(deadline=None, derandomize=True)
@given(*[st.lists(st.sampled_from("abc"), max_size=7)] * 2)
def test_edit_distance_is_a_metric(a: list[str], b: list[str]) -> None:
    """Symmetric, 0 only for equal texts, between the difference and the maximum of lengths."""
    found = edit_distance(a, b)
    assert found == edit_distance(b, a)
    assert (found == 0) == (a == b)
    assert abs(len(a) - len(b)) <= found <= max(len(a), len(b))


def test_edit_distance_worked_out_by_hand() -> None:
    """kitten, sitting."""
    assert edit_distance("kitten", "sitting") == 3


@pytest.mark.parametrize("meter", [RegressionLoss(), ClassificationLoss(), VoiceActivityLoss()])
def test_outputs_of_another_size_are_not_compared_value_by_value(meter: MetricMeter) -> None:
    """One value against many would broadcast: a number that means nothing."""
    with pytest.raises(MquansError, match=r"'y' is of shape \[1, 1, 3\] where .* \[1, 2, 3\]"):
        meter.add(scores(0), scores(0, 1), None)

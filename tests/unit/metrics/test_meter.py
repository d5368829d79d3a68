"""Users' own metrics: functions per frame, classes over a clip, and what goes wrong with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mquans.errors import MquansError
from mquans.metrics import READY, MetricMeter, metric_name, new_meter

Y = {"y": np.zeros((1, 2), np.float32)}


def distance(outputs: Any, dense: Any, label: Any) -> float:
    return float(np.abs(outputs["y"] - dense["y"]).max())


class Largest:
    """Keeps the largest label."""

    def __init__(self) -> None:
        self.per_frame: list[float] = []

    def add(self, outputs: Any, dense_outputs: Any, label: Any) -> None:
        self.per_frame.append(label)

    def result(self) -> float:
        return max(self.per_frame)


def test_function_is_judged_by_its_95th_percentile() -> None:
    """A stale output hides in a mean."""
    meter = new_meter(distance)
    for error in range(21):
        meter.add({"y": Y["y"] + error}, Y, None)
    assert meter.result() == 19
    assert list(meter.per_frame) == list(range(21))


@pytest.mark.parametrize("metric", [Largest, Largest()])
def test_every_meter_counts_from_zero(metric: Any) -> None:
    """Else one candidate's loss would leak into the next one's."""
    first, second = new_meter(metric), new_meter(metric)
    first.add(Y, Y, 3.0)
    second.add(Y, Y, 1.0)
    assert (first.result(), second.result()) == (3, 1)
    assert isinstance(first, MetricMeter)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "good", None])
def test_result_that_is_no_loss_is_refused(value: Any) -> None:
    """NaN compares false with every budget and would let everything pass."""
    with pytest.raises(MquansError, match="finite number, at least 0"):
        new_meter(lambda outputs, dense, label: value).add(Y, Y, None)


def test_failing_metric_is_named() -> None:
    """A user's mistake gives a sentence, not our traceback."""
    with pytest.raises(MquansError, match=r"'distance'.*KeyError") as caught:
        new_meter(distance).add({"other": Y["y"]}, Y, None)
    assert isinstance(caught.value.__cause__, KeyError)


def test_meter_that_fails_in_its_result_is_named() -> None:
    """Such as one that saw no frame."""
    with pytest.raises(MquansError, match=r"Largest.*ValueError"):
        new_meter(Largest()).result()


class NeedsArguments(Largest):
    def __init__(self, size: int) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("metric", "words"), [(3, "is a int"), (NeedsArguments, "without arguments"), (object, "not a")]
)
def test_thing_that_is_no_metric_is_refused(metric: Any, words: str) -> None:
    """Before a long run, not after it."""
    with pytest.raises(MquansError, match=words):
        new_meter(metric)


def test_ready_metric_for_another_network_says_which_it_is() -> None:
    """`--metric yunet_f1` with a network that has none of YuNet's outputs."""
    assert metric_name(READY["yunet_f1"]) == "f1 of decode_yunet"
    with pytest.raises(MquansError, match=r"'f1 of decode_yunet'.*KeyError"):
        new_meter(READY["yunet_f1"]).add(Y, Y, None)


def test_ready_metrics_are_not_changed_by_use() -> None:
    """They are shared by everything in a process."""
    meter = new_meter(READY["rmse"])
    meter.add({"y": Y["y"] + 1}, Y, None)
    assert meter.result() == 1
    assert new_meter(READY["rmse"]).result() == 0

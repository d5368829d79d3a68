"""The loss that budgets are stated in, against numbers worked out by hand and against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from mquans.errors import MquansError
from mquans.metrics.agreement import FLOOR, AgreementMeter, channels_first


def meter(dense: list[np.ndarray], found: list[np.ndarray]) -> AgreementMeter:
    made = AgreementMeter()
    for y, z in zip(dense, found, strict=True):
        made.add({"y": y}, {"y": z})
    return made


def test_two_frames_worked_out_by_hand() -> None:
    """y is 0 then 1, z is half too large: variance 1/4, squared error 1/4 per frame."""
    result = meter(
        [np.array([[0.0]]), np.array([[1.0]])], [np.array([[0.5]]), np.array([[1.5]])]
    ).result()
    assert result.loss_mean == pytest.approx(1.0)
    assert result.loss_p95 == pytest.approx(1.0)
    # Energies 0 and 1: the first is floored at a hundredth of their mean.
    assert result.rel_sq_mean == pytest.approx((0.25 / 0.005 + 0.25 / 1) / 2)
    assert result.unexplained == pytest.approx(0.5 / 0.5)
    assert result.max_abs == 0.5
    assert result.argmax == 1.0


def test_outputs_that_hold_nothing_are_left_out() -> None:
    """Such as the state of a convolution over one step of time."""
    made = AgreementMeter()
    made.add(
        {"y": np.ones((1, 2)), "state": np.ones((1, 2, 0))},
        {"y": np.ones((1, 2)), "state": np.ones((1, 2, 0))},
    )
    assert made.result().loss_mean == 0
    empty = AgreementMeter()
    empty.add({"y": np.ones((0, 2))}, {"y": np.ones((0, 2))})
    with pytest.raises(MquansError, match="nothing to compare"):
        empty.result()


def test_equal_outputs_lose_nothing() -> None:
    """Or a perfect plan would not pass its budget."""
    frames = [np.random.default_rng(i).normal(size=(1, 3, 4, 4)) for i in range(3)]
    result = meter(frames, frames).result()
    assert (result.loss_mean, result.rel_sq_p95, result.max_abs) == (0, 0, 0)
    assert result.unexplained == 0
    assert result.argmax == 1


def test_loss_is_per_channel_whatever_its_unit() -> None:
    """A detector's scores drown beside its pixel coordinates in plain relative error."""
    rng = np.random.default_rng(0)
    dense = [np.stack([rng.normal(0, 100, 50), rng.normal(0, 20, 50)])[None] for _ in range(4)]
    wrong_scores = [np.stack([y[0, 0], y[0, 1] + 20])[None] for y in dense]
    result = meter(dense, wrong_scores).result()
    # The second channel loses its whole variance, the first nothing.
    assert result.loss_mean == pytest.approx(0.5, rel=0.2)
    assert result.rel_sq_mean < 0.05


def test_loss_matches_numpy_over_positions_and_clip() -> None:
    """The running variance must be that of the whole clip, though outputs are not kept."""
    rng = np.random.default_rng(3)
    y = rng.normal(5, 1, (6, 3, 4, 5)) * np.array([1, 10, 0.1])[:, None, None]
    z = y + rng.normal(0, 0.1, y.shape)
    result = meter(list(y[:, None]), list(z[:, None])).result()
    variance = y.transpose(1, 0, 2, 3).reshape(3, -1).var(axis=1)
    floored = np.maximum(variance, FLOOR * variance.mean())
    losses = (((z - y) ** 2).mean(axis=(2, 3)) / floored).mean(axis=1)
    assert result.loss_mean == pytest.approx(losses.mean())
    assert result.loss_p95 == pytest.approx(np.percentile(losses, 95))
    over_time = ((y - y.mean(axis=0)) ** 2).sum()
    assert result.unexplained == pytest.approx(((z - y) ** 2).sum() / over_time)


def test_output_frozen_at_its_mean_is_wholly_unexplained() -> None:
    """The number that shows a dead output where relative error does not."""
    y = np.random.default_rng(4).normal(100, 1, (10, 1, 2, 8))
    frozen = np.repeat(y.mean(axis=0, keepdims=True), 10, axis=0)
    result = meter(list(y), list(frozen)).result()
    assert result.unexplained == pytest.approx(1.0)
    assert result.rel_sq_mean < 1e-3


def test_output_that_never_moves_has_no_unexplained_share() -> None:
    """Nothing to explain: JSON must not hold infinity."""
    y = [np.ones((1, 2))] * 3
    assert meter(y, [np.full((1, 2), 1.5)] * 3).result().unexplained is None
    assert meter(y, y).result().unexplained is None


def test_silent_channel_does_not_decide_alone() -> None:
    """A channel that is always 0 is judged by its neighbours' variance."""
    rng = np.random.default_rng(5)
    y = rng.normal(0, 1, (20, 1, 2, 30))
    y[:, :, 1] = 0
    z = y.copy()
    z[:, :, 1] = 0.01
    result = meter(list(y), list(z)).result()
    mean_variance = y[:, 0, 0].var() / 2
    assert result.loss_mean == pytest.approx(1e-4 / (FLOOR * mean_variance) / 2)


def test_percentile_shows_the_frames_that_a_mean_hides() -> None:
    """Budgets apply to it."""
    y = np.random.default_rng(6).normal(0, 1, (20, 1, 1, 100))
    z = y.copy()
    z[18:] += 1
    result = meter(list(y), list(z)).result()
    assert result.loss_p95 == pytest.approx(1.0, rel=0.1)
    assert result.loss_mean == pytest.approx(0.1, rel=0.1)


def test_argmax_is_over_channels_or_positions() -> None:
    """Classes of each position; the peak of a heat map."""
    classes = np.array([[[1.0, 0.0], [0.0, 1.0]]]).reshape(1, 2, 1, 2)
    swapped = classes[..., ::-1].copy()
    swapped[..., 0] = classes[..., 0]
    assert meter([classes], [swapped]).result().argmax == 0.5
    heat = np.arange(4.0).reshape(1, 1, 2, 2)
    assert meter([heat], [-heat]).result().argmax == 0.0


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((1, 85, 22, 22), 85), ((1, 10), 10), ((1, 2100, 84), 84), ((1, 84, 2100), 84), ((7,), 1)],
)
def test_channel_axis_of_usual_outputs(shape: tuple[int, ...], channels: int) -> None:
    """Detectors write [1, values, boxes] as well as [1, boxes, values]."""
    assert channels_first(np.zeros(shape)).shape[0] == channels


def test_no_frames_is_an_error() -> None:
    """Rather than NaN in a report."""
    with pytest.raises(ValueError, match="no frame"):
        AgreementMeter().result()

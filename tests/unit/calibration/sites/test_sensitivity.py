"""Slopes of gates and their factors, and the loss that they are measured by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from msgspec.structs import replace
from tests.laws.networks import detector

import mquans
from mquans.calibration import Bench, Segment, calibrate_fully
from mquans.calibration.observe import DenseRun
from mquans.calibration.sites.codes import code_formats
from mquans.calibration.sites.gates import Gates, deviation_scales
from mquans.calibration.sites.ranges import RangeMeter
from mquans.calibration.sites.sensitivity import (
    MOST,
    GateBench,
    Slopes,
    WeightedLoss,
    as_far_as_they_help,
    best_factors,
    measured_slopes,
    screening_design,
)
from mquans.metrics.agreement import AgreementMeter
from mquans.onnx import import_model, read_model
from mquans.runtime.lowering.sites import analyse

Frames = npt.NDArray[np.float32]


@pytest.mark.parametrize("factors", [1, 2, 3, 7, 12, 23, 40])
def test_columns_of_a_design_are_orthogonal_and_balanced(factors: int) -> None:
    """Else one group's effect would be taken for another's."""
    design = screening_design(factors).astype(int)
    assert design.shape[1] == factors
    assert len(design) <= 2 * factors + 6
    np.testing.assert_array_equal(design.T @ design, len(design) * np.eye(factors))
    np.testing.assert_array_equal(design.sum(axis=0), 0)


def test_slopes_of_a_known_network() -> None:
    """A sum of what groups do by themselves is found exactly."""
    loss, work = np.array([3.0, 0.5, 1.0, 0.0]), np.array([-0.1, -0.2, 0.0, -0.3])
    found = measured_slopes(lambda u: (2 + float(loss @ u), 0.5 + float(work @ u)), 4)
    np.testing.assert_allclose(found.loss, loss, atol=1e-12)
    np.testing.assert_allclose(found.work, work, atol=1e-12)


def test_factors_lose_least_for_their_work() -> None:
    """Where a group of factor f loses a f**2 and saves b log f, no shift of tolerance from one to
    another that leaves the same work loses less."""
    a, b = np.array([1.0, 2.0, 8.0]), np.array([0.2, 0.1, 0.1])
    octaves = best_factors(Slopes(loss=a, work=-b))
    assert octaves[0] > octaves[1] > octaves[2]

    def loss(u: npt.NDArray[np.float64]) -> float:
        return float(a @ 4.0**u)

    for shift in ([0.1, -0.2, 0.0], [0.0, 0.1, -0.1], [-0.1, 0.0, 0.2]):
        step = np.array(shift)
        assert b @ step == pytest.approx(0)
        assert loss(octaves + step) > loss(octaves)


def test_factors_go_as_far_as_they_help() -> None:
    """Too timid ones are strengthened, those that harm are left out."""
    a, b = np.array([1.0, 1.0, 8.0]), np.array([0.3, 0.1, 0.1])

    def run(u: npt.NDArray[np.float64]) -> tuple[float, float]:
        return float(a @ 4.0**u), float(np.exp(-b @ u))

    best = best_factors(Slopes(loss=a, work=-b))
    np.testing.assert_allclose(as_far_as_they_help(run, best / 1.5), best)
    np.testing.assert_array_equal(as_far_as_they_help(run, -best), 0)


def test_factors_of_noise_are_bounded() -> None:
    """Slopes that came out with the wrong sign, or as nothing."""
    slopes = Slopes(loss=np.array([1.0, -0.5, 0.0]), work=np.array([-1.0, 0.1, -1e-12]))
    found = best_factors(slopes)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= MOST
    assert np.isfinite(best_factors(Slopes(np.zeros(2), np.zeros(2)))).all()


def test_loss_is_that_of_agreement() -> None:
    """Mean over frames, when nobody weighs outputs."""
    rng = np.random.default_rng(0)
    dense = [{"y": rng.normal(size=(1, 3, 4, 4)).astype(np.float32)} for _ in range(5)]
    found = [{"y": (o["y"] + rng.normal(0, 0.1, o["y"].shape)).astype(np.float32)} for o in dense]
    meter = AgreementMeter()
    for one, other in zip(dense, found, strict=True):
        meter.add(one, other)
    loss = WeightedLoss(dense, ["y"], None)
    mean = np.mean([loss.of(index, outputs) for index, outputs in enumerate(found)])
    assert mean == pytest.approx(meter.result().loss_mean, rel=1e-4)


def test_what_a_metric_weighs_counts_more() -> None:
    """And the rest still counts a little."""
    dense = [{"y": np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)}]

    def error_weights(outputs: dict[str, Frames]) -> dict[str, npt.NDArray[np.float64]]:
        return {"y": np.array([[1.0, 0.0], [0.0, 0.0]])}

    loss = WeightedLoss(dense, ["y"], error_weights)  # type: ignore[arg-type]
    wrong = [dense[0]["y"].copy() for _ in range(2)]
    wrong[0][0, 0] += 1
    wrong[1][1, 1] += 1
    heavy, light = (loss.of(0, {"y": outputs}) for outputs in wrong)
    assert heavy > 2 * light > 0


def test_moved_gates_are_those_of_a_plan_with_these_factors(
    small_model: Path, small_frames: Frames
) -> None:
    """What is measured without packing weights again is what a plan will do."""
    graph = import_model(read_model(small_model))
    analysis = analyse(graph)
    meter = RangeMeter(graph, analysis)
    frames = [{"x": frame[None]} for frame in small_frames]
    meter.add(frames, DenseRun(graph, tensors=meter.tensors))
    ranges = meter.result().tensors
    gates = Gates(
        graph, analysis, code_formats(graph, analysis, ranges),
        deviation_scales(graph, analysis, ranges), ranges,
    )  # fmt: skip
    base = calibrate_fully(small_model, small_frames).plan
    bench = Bench(read_model(small_model), graph)
    segment = Segment(frames, [None] * len(frames))
    bench.frozen_loss([segment])  # fills in dense outputs

    session = mquans.Session(small_model, replace(base, tolerance=0.2, tensors=gates.tensors()))
    probe = GateBench(session, gates, 0.2, [segment], [WeightedLoss(segment.dense, ["y"], None)])
    octaves = np.linspace(-1, 1, probe.groups)
    loss, work = probe.run(octaves)
    assert (loss, work) != probe.run(-octaves)
    plan = replace(base, tolerance=0.2, tensors=gates.tensors(probe.factors(octaves)))
    measured = bench.measure(plan, [segment])
    assert work == pytest.approx(measured.moving.macs_fraction)
    count = len(frames)
    assert loss * (count - 1) / count == pytest.approx(measured.agreement.loss_mean, rel=0.02)


def test_gates_that_are_measured_are_those_that_run() -> None:
    """Of a network with products, pools and residual sums: a plan has a gate wherever one was
    moved, and nowhere else."""
    rng = np.random.default_rng(0)
    frames = [{"x": rng.normal(size=(1, 3, 32, 144)).astype(np.float32)} for _ in range(3)]
    file = read_model(detector())
    graph = import_model(file)
    analysis = analyse(graph)
    meter = RangeMeter(graph, analysis)
    meter.add(frames, DenseRun(graph, tensors=meter.tensors))
    ranges = meter.result().tensors
    scales = deviation_scales(graph, analysis, ranges)
    gates = Gates(graph, analysis, code_formats(graph, analysis, ranges), scales, ranges)
    base = calibrate_fully(detector(), frames * 8, max_loss=0.5, stress=False).plan
    plan = replace(base, tolerance=0.2, tensors=gates.tensors())
    session = mquans.Session(file, plan)
    probe = GateBench(session, gates, 0.2, [], [])
    moved = set(probe.factors(np.zeros(probe.groups)))
    assert moved == set(scales) == {tensor.name for tensor in plan.tensors if tensor.gate}
    assert moved <= analysis.gated
    kinds = {type(graph.producers()[name].op).__name__ for name in moved if name != "x"}
    assert kinds == {"Conv", "Unary"}

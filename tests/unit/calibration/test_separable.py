"""Steps per neuron from curves and criticality, and what a multiplier does to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mquans.calibration import Observer, Problem, layer_plans, problem_of, solve
from mquans.calibration.allocation import work_factors
from mquans.calibration.allocation.problem import fan_out, tilted, with_curves
from mquans.calibration.allocation.quantizers import quantized
from mquans.calibration.allocation.widths import affordable_widths
from mquans.calibration.observe import DenseRun, Observation
from mquans.evaluate.work import LayerWork, Work
from mquans.graph import Conv, ConvTranspose, Graph, Linear, Node, ValueType, infer
from mquans.onnx import import_model, read_model

Frames = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def graph(small_model: Path) -> Graph:
    return import_model(read_model(small_model))


@pytest.fixture(scope="module")
def seen(graph: Graph, small_frames: Frames) -> Observation:
    rng = np.random.default_rng(0)
    observer = Observer(graph)
    noise = rng.normal(0, 0.02, small_frames.shape).astype(np.float32)
    frames = ({"x": frame[None]} for frame in small_frames + noise)
    observer.add(frames, DenseRun(graph))
    return observer.result()


@pytest.fixture(scope="module")
def problem(graph: Graph, seen: Observation) -> Problem:
    weights = {node.name: np.ones(graph.neurons(node)) for node in graph.reuse_layers()}
    return problem_of(graph, seen, weights, "hold")


def test_dearer_loss_means_less_loss_and_more_work(problem: Problem) -> None:
    """The setting that budgets are met with turns one way."""
    found = [solve(problem, 2.0**multiplier) for multiplier in range(-12, 13, 2)]
    macs, losses = [p.macs for p in found], [p.loss for p in found]
    assert macs == sorted(macs)
    assert losses == sorted(losses, reverse=True)
    assert macs[-1] > 2 * macs[0]


def test_no_other_steps_beat_the_solution_at_its_price(problem: Problem) -> None:
    """Every neuron decides for itself, so none can do better alone."""
    multiplier = 4.0
    best = solve(problem, multiplier)
    lagrangian = best.macs + multiplier * problem.macs * best.loss
    rng = np.random.default_rng(1)
    for _ in range(50):
        macs = loss = 0.0
        for tensor in problem.tensors:
            option = rng.integers(0, len(tensor.steps), len(tensor.cost))
            every = np.arange(len(option))
            macs += float(tensor.cost @ tensor.change[every, option])
            loss += float(tensor.criticality @ tensor.error[every, option])
        assert lagrangian <= macs + multiplier * problem.macs * loss + 1e-9


def test_critical_neurons_move_in_finer_steps(problem: Problem) -> None:
    """What the scheme is named for."""
    first = problem.tensors[0]
    weights = first.criticality * np.array([100.0, 1.0, 0.01])
    uneven = replace(problem, tensors=(replace(first, criticality=weights), *problem.tensors[1:]))
    steps = solve(uneven, 4.0).steps[first.name]
    assert steps[0] <= steps[1] <= steps[2]
    assert steps[0] < steps[2]


def test_one_step_per_tensor_is_one(problem: Problem) -> None:
    """As `per_layer` promises; and it cannot beat a step per neuron."""
    together = solve(problem, 4.0, per_tensor=True)
    apart = solve(problem, 4.0)
    assert all(len(set(steps)) == 1 for steps in together.steps.values())
    multiplier = 4.0 * problem.macs
    assert apart.macs + multiplier * apart.loss <= together.macs + multiplier * together.loss + 1e-9


def test_plans_hold_the_steps_that_were_chosen(problem: Problem) -> None:
    """Any step is written as a grid unit and bits; none is rounded."""
    steps = solve(problem, 4.0).steps
    for tensor in problem.tensors:
        for plan in layer_plans(problem, steps):
            if plan.name not in tensor.layers:
                continue
            written = np.asarray(plan.delta) * 2.0 ** (12 - np.asarray(plan.bits))
            finest = written / 2.0 ** (12 - np.asarray(plan.bits))
            np.testing.assert_allclose(written, np.maximum(steps[tensor.name], finest), rtol=1e-9)
            reach = np.asarray(plan.delta) * 2**13
            assert (reach >= 2 * np.abs(tensor.range.high) * (1 - 1e-6)).all()


def test_int8_layers_get_one_grid_and_no_coarser_steps(problem: Problem) -> None:
    """Grid units are folded into the weights, which have no room for them in int8."""
    steps = solve(problem, 1.0).steps
    for plan in layer_plans(problem, steps, weight_bits={"second": 8}):
        assert plan.weight_bits == (8 if plan.name == "second" else 16)
        if plan.name == "second":
            assert isinstance(plan.delta, float)
            tensor = next(t for t in problem.tensors if "second" in t.layers)
            written = plan.delta * 2.0 ** (12 - np.asarray(plan.bits))
            allowed = np.maximum(steps[tensor.name], plan.delta)
            assert (written <= allowed * (1 + 1e-9)).all()


def test_tensors_without_a_factor_count_as_predicted(problem: Problem) -> None:
    """A factor of one tensor is no statement about the others."""
    ones = dict.fromkeys((tensor.name for tensor in problem.tensors), 1.0)
    plain, other = solve(problem, 4.0), solve(problem, 4.0, factors=ones)
    for name, steps in plain.steps.items():
        np.testing.assert_array_equal(other.steps[name], steps)


def test_a_value_takes_part_in_as_many_macs_as_its_layer_has() -> None:
    """Else the search saves in a layer that costs little."""
    nodes = [
        Node("up", ConvTranspose((2, 2), (2, 2), (0,) * 4, (1, 1), (0, 0)), ("x", "u"), ("h",)),
        Node("conv", Conv((1, 1), (1, 1), (0,) * 4, (1, 1)), ("h", "w"), ("y",)),
        Node("fc", Linear(), ("v", "f"), ("z",)),
    ]
    weights = {"u": (3, 5, 2, 2), "w": (7, 5, 1, 1), "f": (6, 4)}
    constants = {name: np.ones(shape, np.float32) for name, shape in weights.items()}
    graph = Graph("small", ("x", "v"), ("y", "z"), nodes, constants)
    graph.types |= {"x": ValueType((1, 3, 4, 6)), "v": ValueType((2, 6))}
    graph.types = infer(graph)
    for node in graph.nodes:
        assert fan_out(graph, node).sum() == pytest.approx(graph.macs(node))


def test_factors_are_measured_over_predicted_work(problem: Problem) -> None:
    """Where the engine does twice what curves say, a change costs twice."""
    steps = quantized(problem, "uniform", 5)
    work = Work(frames=10)
    for tensor in problem.tensors:
        predicted = float(tensor.macs @ tensor.at(steps[tensor.name])[0])
        done = round(20 * predicted)
        work.layers[tensor.layers[0]] = LayerWork(1, 1, 10 * done, done)
    factors = work_factors(problem, steps, work)
    assert all(factor == pytest.approx(2, rel=0.01) for factor in factors.values())
    assert solve(problem, 4.0, factors=factors).loss >= solve(problem, 4.0).loss


def test_tilt_makes_early_steps_coarser_and_late_ones_finer(problem: Problem) -> None:
    """Early dead bands spare the layers behind them work."""
    plain, leaning = solve(problem, 4.0).steps, solve(tilted(problem, 6.0), 4.0).steps
    first, last = problem.tensors[0].name, problem.tensors[-1].name
    assert leaning[first].mean() >= plain[first].mean()
    assert leaning[last].mean() < plain[last].mean()


def test_curves_under_a_plan_count_by_half(problem: Problem, seen: Observation) -> None:
    """Plans and curves depend on each other; whole steps would swing."""
    again = with_curves(problem, seen.curves)
    for tensor, same in zip(problem.tensors, again.tensors, strict=True):
        np.testing.assert_allclose(tensor.change, same.change)
        np.testing.assert_allclose(tensor.error, same.error)


def test_published_quantizers(problem: Problem) -> None:
    """Levels as their papers count them."""
    for tensor in problem.tensors:
        low, high = float(tensor.range.low.min()), float(tensor.range.high.max())
        assert quantized(problem, "linear", 4)[tensor.name][0] == pytest.approx((high - low) / 15)
        assert quantized(problem, "dorefa", 4)[tensor.name][0] == pytest.approx(
            max(high, -low) / 15
        )


def test_objective_time_counts_what_a_change_takes(graph: Graph, seen: Observation) -> None:
    """Changes of layers that multiply little are not free."""
    weights = {node.name: np.ones(graph.neurons(node)) for node in graph.reuse_layers()}
    timed = problem_of(graph, seen, weights, "hold", "time")
    for tensor in timed.tensors:
        assert (tensor.cost > tensor.macs).all()
    plain = problem_of(graph, seen, weights, "hold")
    assert timed.macs == plain.macs


def test_int8_weights_go_where_they_cost_least(graph: Graph, seen: Observation) -> None:
    """All of them for any loss, none for nothing."""
    weights = {node.name: np.ones(graph.shape(node.outputs[0])[1]) for node in graph.reuse_layers()}
    assert set(affordable_widths(graph, seen, weights, 1e9).values()) == {8}
    assert set(affordable_widths(graph, seen, weights, 1e-15).values()) == {16}
    weights["second"] *= 1e6
    some = affordable_widths(graph, seen, weights, 1.0)
    assert some["second"] == 16

"""Searches against an engine that behaves exactly as predicted, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mquans.calibration import (
    METHODS,
    Curves,
    Family,
    Measured,
    Observer,
    Problem,
    allocate,
    problem_of,
    trace,
)
from mquans.calibration.observe import DenseRun, Observation
from mquans.evaluate import Work
from mquans.evaluate.work import LayerWork
from mquans.metrics.agreement import Agreement
from mquans.onnx import import_model, read_model
from mquans.plan import LayerPlan, Rule

Frames = npt.NDArray[np.float32]
Layers = tuple[LayerPlan, ...]


class Engine:
    """Does the work and loses what curves and criticality say, times a factor."""

    def __init__(self, problem: Problem, seen: Observation, harm: float) -> None:
        self.problem, self.seen, self.harm = problem, seen, harm
        self.runs = 0

    def measure(self, layers: Layers, rule: Rule) -> tuple[Measured, None]:
        self.runs += 1
        loss = self.probe(layers, rule)
        work = Work(frames=1)
        for tensor in self.problem.tensors:
            plan = next(layer for layer in layers if layer.name in tensor.layers)
            change, _ = tensor.at(self._steps(plan, len(tensor.cost)))
            done = round(1e3 * float(tensor.macs @ change))
            work.layers[plan.name] = LayerWork(1, 1, round(1e3 * tensor.macs.sum()), done)
        agreement = Agreement(loss, loss, loss, loss, None, 0.0, 1.0)
        return Measured(work, agreement, None, work), None

    def probe(self, layers: Layers, rule: Rule) -> float:
        del rule
        loss = 0.0
        for tensor in self.problem.tensors:
            plan = next(layer for layer in layers if layer.name in tensor.layers)
            _, error = tensor.at(self._steps(plan, len(tensor.cost)))
            loss += float(tensor.criticality @ error)
        return self.harm * loss

    def observe(self, layers: Layers, rule: Rule) -> dict[str, Curves]:
        del layers, rule
        return self.seen.curves

    def family(self, method: str) -> Family:
        return Family(method, self.problem, self.measure, self.observe, self.probe, {})

    @staticmethod
    def _steps(plan: LayerPlan, neurons: int) -> npt.NDArray[np.float64]:
        bits = np.broadcast_to(np.asarray(plan.bits), neurons)
        return np.broadcast_to(np.asarray(plan.delta), neurons) * 2.0 ** (12 - bits)


@pytest.fixture(scope="module")
def engine(small_model: Path, small_frames: Frames) -> Engine:
    graph = import_model(read_model(small_model))
    noise = np.random.default_rng(0).normal(0, 0.02, small_frames.shape).astype(np.float32)
    observer = Observer(graph)
    observer.add(({"x": frame[None]} for frame in small_frames + noise), DenseRun(graph))
    seen = observer.result()
    weights = {node.name: np.linspace(1, 2, graph.neurons(node)) for node in graph.reuse_layers()}
    return Engine(problem_of(graph, seen, weights, "hold"), seen, 3.0)


@pytest.mark.parametrize("method", METHODS)
def test_best_is_the_cheapest_within_the_budget(engine: Engine, method: str) -> None:
    """Of all that were measured; whatever the method."""
    budget = 0.1
    found = allocate(engine.family(method), budget)
    assert found.reached
    assert found.best.loss <= budget
    fitting = [candidate.work for candidate in found.tried if candidate.loss <= budget]
    assert found.best.work == min(fitting)


@pytest.mark.parametrize("method", METHODS)
def test_out_of_reach_hands_over_what_loses_least(engine: Engine, method: str) -> None:
    """So that `--best` has something to write."""
    found = allocate(engine.family(method), 1e-12)
    assert not found.reached
    assert found.best.loss == min(candidate.loss for candidate in found.tried)


def test_budget_is_nearly_used_up(engine: Engine) -> None:
    """What is left of it is work for nothing."""
    for budget in (0.02, 0.1):
        assert allocate(engine.family("criticality"), budget).best.loss > 0.6 * budget


def test_finer_choices_need_less_work(engine: Engine) -> None:
    """Where predictions hold: a step per neuron, then per layer, then one width for all."""
    work = {
        method: allocate(engine.family(method), 0.1).best.work
        for method in ("criticality", "per_layer", "uniform")
    }
    assert work["criticality"] <= 1.02 * work["per_layer"]
    assert work["per_layer"] <= 1.02 * work["uniform"]


def test_unit_of_criticality_does_not_matter(engine: Engine) -> None:
    """The closed form knows it up to a factor only."""
    tensors = tuple(
        replace(tensor, criticality=1e5 * tensor.criticality) for tensor in engine.problem.tensors
    )
    family = engine.family("criticality")
    scaled = replace(family, problem=replace(family.problem, tensors=tensors))
    assert allocate(scaled, 0.1).best.work == pytest.approx(
        allocate(family, 0.1).best.work, rel=0.05
    )


def test_searches_stay_short(engine: Engine) -> None:
    """Each candidate is a run of the engine over all frames."""
    for method in METHODS:
        before = engine.runs
        allocate(engine.family(method), 0.1)
        assert engine.runs - before <= 24


@pytest.mark.parametrize("method", METHODS)
def test_traces_lie_on_both_sides_of_the_budget(engine: Engine, method: str) -> None:
    """Methods are compared at equal loss, between points."""
    losses = [candidate.loss for candidate in trace(engine.family(method), 0.1)]
    assert min(losses) < 0.1 < max(losses)

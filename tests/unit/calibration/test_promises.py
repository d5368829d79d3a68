"""What a budget promises, for networks over sites and value by value: frames that judge have chosen
nothing, stress has its say in the verdict, and a part of the budget is left for other frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper, numpy_helper

from mquans.calibration import Bench, Curves, Measured, Observer, Segment, calibrate_fully, context
from mquans.calibration.allocation import Family, problem_of
from mquans.calibration.allocation import pipeline as allocation
from mquans.calibration.allocation.corrections import corrected, normalized
from mquans.calibration.allocation.problem import SHRINKAGE
from mquans.calibration.allocation.quantizers import quantized
from mquans.calibration.sites import pipeline
from mquans.calibration.sites.ranges import RangeMeter
from mquans.calibration.validation import MARGIN, QUIET_MARGIN
from mquans.onnx import import_model, read_model
from mquans.plan import Plan

COUNT = 80
KINDS = ("sites", "values")
Frames = list[dict[str, npt.NDArray[np.float32]]]


def network(kind: str) -> bytes:
    """Two layers over a picture [1, 3, 10, 12], or over a vector [1, 24]; the first value, a number
    of the frame, has no weight."""
    rng = np.random.default_rng(0)
    sites = kind == "sites"
    op, shape = ("Conv", [1, 3, 10, 12]) if sites else ("MatMul", [1, 24])
    sizes = [(6, 3, 3, 3), (4, 6, 3, 3)] if sites else [(24, 16), (16, 6)]
    weights = [rng.normal(0, 0.3, size).astype(np.float32) for size in sizes]
    if not sites:
        weights[0][0] = 0
    attributes: dict[str, Any] = {"pads": [1, 1, 1, 1]} if sites else {}
    nodes = [
        helper.make_node(op, ["x", "w0"], ["h"], "first", **attributes),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node(op, ["r", "w1"], ["y"], "second", **attributes),
    ]
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def frames(kind: str, moving: float = 0.2) -> Frames:
    """Values that wander; the first of each frame is its number, in thousandths."""
    rng = np.random.default_rng(1)
    shape = (1, 3, 10, 12) if kind == "sites" else (1, 24)
    steps = moving * rng.normal(size=(COUNT, *shape))
    made = np.sin(rng.normal(size=shape) + np.cumsum(steps, axis=0)).astype(np.float32)
    made.reshape(COUNT, -1)[:, 0] = np.arange(COUNT) / 1000
    return [{"x": frame} for frame in made]


def numbers(clip: Iterable[Mapping[str, Any]]) -> set[int]:
    return {round(float(frame["x"].reshape(-1)[0]) * 1000) for frame in clip}


@dataclass
class Seen:
    """Numbers of the frames that each stage looked at; ranges come first, curves under a plan are
    taken later, where it is chosen."""

    observed: list[set[int]]
    measured: list[tuple[set[int], Measured]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    found = Seen([], [])
    measure = Bench.measure

    def measuring(self: Bench, plan: Plan, segments: Sequence[Segment], **options: Any) -> Measured:
        result = measure(self, plan, segments, **options)
        found.measured.append((set().union(*(numbers(s.frames) for s in segments)), result))
        return result

    def ranging(meter: type[RangeMeter] | type[Observer]) -> None:
        add = meter.add

        def adding(self: Any, clip: Iterable[Any], run: Any) -> None:
            whole = list(clip)
            found.observed.append(numbers(whole))
            add(self, whole, run)

        monkeypatch.setattr(meter, "add", adding)

    ranging(RangeMeter)
    ranging(Observer)
    monkeypatch.setattr(Bench, "measure", measuring)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_frames_that_judge_chose_nothing(kind: str, seen: Seen) -> None:
    """Else a plan is praised for what it was fitted to."""
    result = calibrate_fully(network(kind), frames(kind), max_loss=0.2, stress=False)
    assert result.reached
    (judged,) = (ids for ids, measured in seen.measured if measured is result.measured)
    # Repairs are judged on the same frames as the first plan.
    chose = [ids for ids, _ in seen.measured if ids != judged]
    assert chose
    assert len(judged) == result.held_out_frames
    assert not judged & set().union(*chose)
    assert not judged & set().union(*seen.observed)
    assert not chose[0] & seen.observed[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_that_fails_under_stress_alone_is_not_accepted(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clips show what streams do on quiet days."""
    late, judging = COUNT * 3 // 4, set[int]()
    segments_of, measure = context.stress_segments, Bench.measure

    def stressing(items: Sequence[Any], *rest: Any) -> Any:
        made = [list(frames) for frames in segments_of(items, *rest)]
        if min(numbers(feeds for feeds, _ in items)) >= late:
            judging.update(id(feeds) for frames in made for feeds, _ in frames)
        return made

    def measuring(self: Bench, plan: Plan, segments: Sequence[Segment], **options: Any) -> Measured:
        found = measure(self, plan, segments, **options)
        return replace(found, task=9.0) if id(segments[0].frames[0]) in judging else found

    monkeypatch.setattr(context, "stress_segments", stressing)
    monkeypatch.setattr(Bench, "measure", measuring)
    result = calibrate_fully(network(kind), frames(kind), max_loss=0.2)
    assert judging
    assert result.measured.loss <= 0.2
    assert not result.reached


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("moving", "max_loss", "margin"), [(0.2, 0.1, MARGIN), (1e-3, 50.0, QUIET_MARGIN)]
)
def test_a_part_of_the_budget_is_left_for_other_frames(
    kind: str, moving: float, max_loss: float, margin: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of it where the clip is so quiet that a dead stream would have kept the budget."""
    given: list[float] = []
    allocate, best = allocation.allocate, pipeline.Trials.best

    def allocating(family: Family, limit: float) -> Any:
        given.append(limit)
        return allocate(family, limit)

    def searching(self: pipeline.Trials, limit: float, *start: float) -> float:
        given.append(limit)
        return best(self, limit, *start)

    monkeypatch.setattr(allocation, "allocate", allocating)
    monkeypatch.setattr(pipeline.Trials, "best", searching)
    clip = frames(kind, moving)
    result = calibrate_fully(network(kind), clip, max_loss=max_loss, stress=False)
    assert (result.frozen_loss > max_loss) == (margin == MARGIN)
    assert given[0] == pytest.approx(margin * max_loss)
    assert result.tuned is not None
    assert result.tuned.worst <= margin * max_loss


def family(scale: Mapping[str, float]) -> Family:
    """Plans of the network of values, each part of which loses so many times what is predicted."""
    graph = import_model(read_model(network("values")))
    observer = Observer(graph)
    rng = np.random.default_rng(2)

    def run(feeds: Any) -> dict[str, Any]:
        return {**feeds, "r": rng.normal(size=(1, 16)).astype(np.float32)}

    observer.add(frames("values"), run)
    criticality = {"first": np.ones(24), "second": np.ones(16)}
    problem = problem_of(graph, observer.result(), criticality, "hold", "macs", None)

    def probe(layers: Any, rule: Any) -> float:
        loss = 0.0
        for tensor in problem.tensors:
            (layer,) = (one for one in layers if one.name in tensor.layers)
            steps = np.broadcast_to(layer.delta, len(tensor.macs)) * 2.0 ** (
                12 - np.broadcast_to(layer.bits, len(tensor.macs))
            )
            loss += scale[tensor.name] * float(tensor.criticality @ tensor.at(steps)[1])
        return loss

    def nothing(*_: Any) -> Any:
        raise AssertionError("only probed")

    return Family("criticality", problem, nothing, nothing, probe, {})


def test_criticality_is_corrected_by_what_parts_were_measured_to_lose() -> None:
    """Errors that are alike from place to place do more harm than independent ones."""
    made = family({"x": 4.0, "r": 0.5})
    steps = quantized(made.problem, "uniform", 6)
    before = {tensor.name: tensor.criticality for tensor in made.problem.tensors}
    for tensor in corrected(made, steps).problem.tensors:
        factor = {"x": 4.0, "r": 0.5}[tensor.name]
        np.testing.assert_allclose(tensor.criticality / before[tensor.name], factor, rtol=0.2)
    for tensor in normalized(family({"x": 3.0, "r": 3.0})).problem.tensors:
        np.testing.assert_allclose(tensor.criticality / before[tensor.name], 3.0, rtol=0.2)


def test_a_neuron_that_never_moved_is_expected_to_move_a_little() -> None:
    """Else it gets the coarsest steps for nothing, and is wrong once it moves."""
    (x, _) = family({"x": 1.0, "r": 1.0}).problem.tensors
    still = frames("values")
    for frame in still:
        frame["x"][0, 5] = 0.25
    graph = import_model(read_model(network("values")))
    observer = Observer(graph)
    observer.add(still, lambda feeds: {**feeds, "r": np.zeros((1, 16), np.float32)})
    curves: Curves = observer.result().curves["x"]
    change, error = curves.at("hold", x.steps, careful=True)
    assert not change[5].any()
    criticality = {"first": np.ones(24), "second": np.ones(16)}
    problem = problem_of(graph, observer.result(), criticality, "hold", "macs", None)
    np.testing.assert_allclose(problem.tensors[0].change[5], SHRINKAGE * change.mean(axis=0))
    assert problem.tensors[0].error[5] == pytest.approx(error[5] + SHRINKAGE * error.mean(axis=0))
    assert (problem.tensors[0].change[5] > 0).any()

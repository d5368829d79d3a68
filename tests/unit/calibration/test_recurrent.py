"""Calibration of networks with states and of sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mquans
from mquans.calibration import Bench, Observer, Segment, calibrate_fully, inspect
from mquans.calibration.observe import MOST_STEPS, DenseRun, steps_of, tensor_of
from mquans.calibration.replay import observe_under
from mquans.evaluate import verify
from mquans.graph import Graph, Recurrence, RecurrenceKind
from mquans.onnx import import_model, read_model, to_onnx
from mquans.runtime.reference.interpreter import ReferenceNetwork
from mquans.sources import FirstFrame
from mquans.sources.frames import Feeds

from .recurrent_networks import HIDDEN, feedback, recurrent, sound

KINDS: list[tuple[RecurrenceKind, dict[str, Any]]] = [
    ("lstm", {}),
    ("gru", {}),
    ("gru", {"reset_after": True, "bias": True}),
    ("rnn", {}),
]
SHAPES = pytest.mark.parametrize("shape", [{"steps": 1}, {"steps": 6, "batch": 2}])


def model_of(graph: Graph) -> bytes:
    data: bytes = to_onnx(graph).SerializeToString()
    return data


def states_by_hand(graph: Graph, frames: list[Feeds]) -> list[npt.NDArray[np.float64]]:
    """What the recurrent product reads, [T, B, states * H] per frame, by the definition."""
    [node] = [node for node in graph.nodes if isinstance(node.op, Recurrence)]
    single, found = ReferenceNetwork(graph), []
    _, batch, _ = graph.shape("x")
    states = {name: np.zeros((batch, HIDDEN)) for name in feedback(graph)}
    for frame in frames:
        outputs = single.run({**frame, **states}, [*graph.outputs, "s", "p"])
        before = np.concatenate([states["h"][None], outputs["s"][:-1]])
        states = {name: outputs[f"{name}_out"] for name in states}
        if node.op.states == 2:
            sums = outputs["p"] + before @ graph.constants["R"]
            reset = 1 / (1 + np.exp(-sums[:, :, HIDDEN : 2 * HIDDEN]))
            before = np.concatenate([before, reset * before], axis=2)
        found.append(before)
    return found


@SHAPES
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_states_are_observed_as_the_product_reads_them(
    kind: RecurrenceKind, options: dict[str, Any], shape: dict[str, int]
) -> None:
    """Ranges of the state before each step, in the dense network and, at 12 bits, in the engine."""
    graph = recurrent(kind, **shape, **options)
    frames = sound(graph, 12)
    file = read_model(model_of(graph))
    imported = import_model(file)
    [node] = [node for node in imported.nodes if isinstance(node.op, Recurrence)]
    expected = np.concatenate(states_by_hand(graph, frames)).reshape(-1, imported.neurons(node))
    run = DenseRun(imported, feedback(graph))
    observer = Observer(imported)
    observer.add(frames, run)
    dense = observer.result().ranges[tensor_of(node)]
    np.testing.assert_allclose(dense.low, expected.min(axis=0), atol=1e-5)
    np.testing.assert_allclose(dense.high, expected.max(axis=0), atol=1e-5)

    plan = mquans.calibrate(file, frames, bits=12, feedback=feedback(graph))
    replayed = observe_under(mquans.Session(file, plan), [frames]).ranges[tensor_of(node)]
    np.testing.assert_allclose(replayed.low, expected.min(axis=0), atol=2e-2)
    np.testing.assert_allclose(replayed.high, expected.max(axis=0), atol=2e-2)


def test_rows_of_a_sequence_follow_each_other_in_time() -> None:
    """Backwards where time runs backwards; of long sequences a stretch, another in every frame."""
    graph = recurrent("gru", steps=5, batch=2, reverse=True)
    first, node, _ = graph.nodes
    x, rows = np.arange(5 * 2 * 6).reshape(5, 2, 6), np.arange(5 * 2 * 5).reshape(5, 2, 5)
    forward = list(steps_of(first, x.astype(np.float32), 0))
    backward = list(steps_of(node, rows.astype(np.float32), 0))
    np.testing.assert_array_equal(forward, x.transpose(0, 2, 1))
    np.testing.assert_array_equal(backward, rows[::-1].transpose(0, 2, 1))

    long = recurrent("rnn", steps=2 * MOST_STEPS)
    value = np.arange(2.0 * MOST_STEPS, dtype=np.float32).reshape(-1, 1, 1)
    starts = set()
    for number in range(3):
        cut, *steps = steps_of(long.nodes[0], value, number)
        assert cut is None
        assert len(steps) == MOST_STEPS
        assert steps[0] is not None
        starts.add(float(steps[0][0, 0]))
    assert len(starts) == 3


@pytest.mark.parametrize(("kind", "steps"), [("lstm", 1), ("gru", 6)])
def test_budget_is_kept_and_the_law_holds(kind: RecurrenceKind, steps: int) -> None:
    """From features to a plan, states found by themselves."""
    graph = recurrent(kind, steps=steps)
    model, frames = model_of(graph), sound(graph, 120 // steps)
    result = calibrate_fully(model, frames, max_loss=0.02)
    assert result.plan.feedback == feedback(graph)
    assert result.reached
    assert result.stress is not None
    assert max(result.measured.loss, result.stress.loss) <= 0.02
    assert result.measured.moving.macs_fraction < 0.95
    session = mquans.Session(model, result.plan)
    assert verify(session, sound(graph, 20, seed=4)).exact


def test_measured_loss_is_that_of_outputs_only() -> None:
    """The state is a thousand times as large as what is made of it here; an error in it must not
    drown that."""
    graph = recurrent("lstm")
    frames = sound(graph, 40)
    plan = mquans.calibrate(model_of(graph), frames, bits=6, feedback=feedback(graph))
    file = read_model(model_of(graph))
    bench = Bench(file, import_model(file), options=plan.options)
    measured = bench.measure(plan, [Segment(frames, [None] * 40)])
    outputs, dense, oracle = [], [], ReferenceNetwork(graph)
    states: dict[str, Any] = {name: np.zeros((1, HIDDEN)) for name in ("h", "c")}
    with mquans.Session(file, plan).stream() as stream:
        for frame in frames:
            outputs.append(stream.step(frame)["y"])
            found = oracle.run({**frame, **states})
            dense.append(found["y"])
            states = {name: found[f"{name}_out"] for name in states}
    squared = np.square(np.array(outputs) - dense)
    error = (squared / np.var(dense, axis=(0, 1, 2))).mean(axis=(1, 2, 3))
    assert measured.agreement.loss_p95 == pytest.approx(np.percentile(error, 95), rel=1e-3)


def test_recordings_are_measured_from_states_of_zeros() -> None:
    """By us and by the reference, wherever in a segment they begin."""
    graph = recurrent("gru", reset_after=True)
    half = sound(graph, 20)
    twice = [*half, FirstFrame(half[0]), *half[1:]]
    file = read_model(model_of(graph))
    plan = mquans.calibrate(file, half, bits=8, feedback=feedback(graph))
    bench = Bench(file, import_model(file), options=plan.options)
    once, both = Segment(half, [None] * 20), Segment(twice, [None] * 40)
    first, second = bench.measure(plan, [once]), bench.measure(plan, [both])
    assert second.agreement.loss_mean == pytest.approx(first.agreement.loss_mean, rel=1e-6)
    assert second.moving.frames == 2 * first.moving.frames == 38
    for index in range(20):
        np.testing.assert_array_equal(both.dense[index]["y"], both.dense[20 + index]["y"])


def test_carried_states_are_in_the_plan(tmp_path: Path) -> None:
    """A network without state inputs, frame by frame."""
    graph = recurrent("gru", states=False)
    model, frames = model_of(graph), sound(graph, 30)
    result = calibrate_fully(model, frames, bits=8, carry_state=True)
    assert result.plan.carry_state
    assert len(result.plan.feedback) == 1
    result.plan.save(tmp_path / "p.json")
    session = mquans.Session(model, tmp_path / "p.json")
    assert verify(session, frames[:10]).exact
    alone = calibrate_fully(model, frames, bits=8)
    assert not alone.plan.feedback


def test_inspection_of_a_network_with_states() -> None:
    """Every layer timed, with states passed on."""
    graph = recurrent("lstm")
    found = inspect(model_of(graph), sound(graph, 60), feedback=feedback(graph))
    assert found.layers is not None
    assert len(found.layers.rows) == 3

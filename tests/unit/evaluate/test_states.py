"""Networks with states: every engine keeps its own, and begins anew with every recording."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mquans
from mquans.evaluate import compare, layer_table, run_clip, verify
from mquans.metrics.agreement import AgreementMeter
from mquans.metrics.scored import without_states
from mquans.onnx import ModelFile, read_model
from mquans.runtime.guard import Guard
from mquans.sources import FirstFrame

HIDDEN, FEATURES = 8, 6

Frames = list[dict[str, npt.NDArray[np.float32]]]


@pytest.fixture(scope="module")
def model() -> ModelFile:
    """x [1, 1, 6], h [1, 1, 8] -> GRU -> y [1, 1, 3], hn."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(0, 0.6, (1, 3 * HIDDEN, FEATURES)),
        "r": rng.normal(0, 0.6, (1, 3 * HIDDEN, HIDDEN)),
        "v": rng.normal(0, 0.6, (HIDDEN, 3)),
        "axis": np.array([1]),
    }
    nodes = [
        helper.make_node("GRU", ["x", "w", "r", "", "", "h"], ["s", "hn"], "gru", hidden_size=8),
        helper.make_node("Squeeze", ["s", "axis"], ["t"]),
        helper.make_node("MatMul", ["t", "v"], ["y"], "out"),
    ]
    shapes = {"x": [1, 1, FEATURES], "h": [1, 1, HIDDEN]}
    graph = helper.make_graph(
        nodes,
        "gru",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", "hn")],
        [
            numpy_helper.from_array(a if n == "axis" else a.astype(np.float32), n)
            for n, a in weights.items()
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return read_model(made.SerializeToString())


@pytest.fixture(scope="module")
def recordings() -> Frames:
    """Two recordings of 40 frames that are the same, and loud at their ends."""
    rng = np.random.default_rng(1)
    walk = np.sin(np.cumsum(rng.normal(0, 0.2, (40, 1, 1, FEATURES)), axis=0)).astype(np.float32)
    loud = walk * np.linspace(0.2, 1, 40, dtype=np.float32)[:, None, None, None]
    return [
        FirstFrame({"x": x}) if index == 0 else {"x": x}
        for _ in range(2)
        for index, x in enumerate(loud)
    ]


@pytest.fixture(scope="module")
def session(model: ModelFile, recordings: Frames) -> mquans.Session:
    return mquans.Session(model, mquans.calibrate(model, recordings, bits=10))


def test_outputs_that_only_carry_states_do_not_count() -> None:
    """Nobody looks at them; what a wrong state does is seen in the others. A network that feeds its
    only output back is judged by it all the same."""
    assert without_states(("y", "hn"), {"h": "hn"}) == ("y",)
    assert without_states(("y",), {"x": "y"}) == ("y",)
    meter = AgreementMeter(("y",))
    for y in (0.0, 1.0):
        wrong = {"y": np.full((1, 2), y), "hn": np.full((1, 4), 9.0)}
        meter.add({"y": np.full((1, 2), y), "hn": np.full((1, 4), y)}, wrong)
    assert meter.result().loss_mean == 0


def test_recordings_do_not_hear_each_other(session: mquans.Session, recordings: Frames) -> None:
    """The same recording twice gives the same outputs twice, in whatever runs it."""
    outputs: list[npt.NDArray[np.float32]] = []
    run_clip(session, recordings, on_outputs=lambda found: outputs.append(found["y"]))
    np.testing.assert_array_equal(outputs[:40], outputs[40:])


def test_every_engine_begins_anew_with_a_recording(
    session: mquans.Session, model: ModelFile, recordings: Frames
) -> None:
    """A reference that goes on with old states would blame ours."""
    dense: list[npt.NDArray[np.float32]] = []
    result = compare(
        session,
        model,
        recordings,
        engines=["ort-int8-dynamic"],
        on_frame=lambda stream, reference, ours: dense.append(reference["y"]),
    )
    np.testing.assert_array_equal(dense[:40], dense[40:])
    assert result.agreement["mquans"].loss_p95 < 1e-3
    assert result.agreement["ort-int8-dynamic"].loss_p95 < 0.3


def test_law_and_layer_times_of_recurrent_layers(
    session: mquans.Session, model: ModelFile, recordings: Frames
) -> None:
    """`verify` and `inspect` on a network with states."""
    assert verify(session, recordings).exact
    table = layer_table(session, model, recordings)
    assert {"gru/input", "gru", "out"} <= {row.name for row in table.rows}


def test_guard_compares_from_the_streams_own_states(
    session: mquans.Session, recordings: Frames
) -> None:
    """A dense frame from states of zeros would look like a broken stream."""
    with Guard(session, budget=0.01, every=4) as guard, session.stream() as plain:
        for frame in recordings:
            if isinstance(frame, FirstFrame):
                plain.reset()
            np.testing.assert_array_equal(guard.step(frame)["y"], plain.step(frame)["y"])
    assert guard.report.checks == 20
    assert guard.report.violations == 0

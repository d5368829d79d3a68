"""Activity traces: counts against brute force, against the engine's own, and on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mquans
from mquans.onnx import read_model
from mquans.plan import Plan
from mquans_studies.traces.layer_shape import BLOCK, Geometry, layer_geometry
from mquans_studies.traces.repeated import RepeatedWindows
from mquans_studies.traces.trace import LayerTrace, Trace, TraceRecorder
from mquans_studies.traces.trace_file import TraceError, load_trace, save_trace
from mquans_studies.traces.traced import run_traced
from mquans_studies.traces.weight_repetition import weight_repetition

Frames = npt.NDArray[np.float32]


@pytest.fixture
def clip(small_frames: Frames) -> Frames:
    """[20, 1, 3, 16, 16]"""
    return small_frames[:, None]


def recorded(session: mquans.Session, frames: Frames, memory: int = 0) -> Trace:
    recorder = TraceRecorder(session, memory=memory)
    with session.stream() as stream:
        for _ in mquans.replay(session, frames, stream=stream):
            recorder.add(stream)
    return recorder.result()


def test_counts_are_those_of_the_engine(session: mquans.Session, clip: Frames) -> None:
    """Inputs changed, and multiplications change by change, as a stream in mode delta does them."""
    recorder = TraceRecorder(session)
    with session.stream() as stream:
        for frame in clip:
            stream.step(frame)
            recorder.add(stream)
            found = recorder.result()
            for layer, own in zip(found.layers, stream.stats.layers, strict=True):
                assert layer.shape.macs == own.macs
                assert sum(layer.compared) == own.inputs
                if found.frames > 1:
                    assert layer.activity.changed[-1].sum() == own.changed
                    assert layer.macs[-1].sum() == own.macs_done
    assert found.begins.tolist() == [1] + [0] * (len(clip) - 1)


def test_widths_are_told_apart(small_model: Path, plan: Plan, clip: Frames) -> None:
    """Which neurons change at which width is what a plan is judged by."""
    import msgspec

    first = plan.layers[0]
    layers = (msgspec.structs.replace(first, bits=(2, 12, 12)), *plan.layers[1:])
    session = mquans.Session(small_model, msgspec.structs.replace(plan, layers=layers))
    layer = recorded(session, clip).layers[0]
    assert (layer.widths, layer.neurons) == ((2, 12), (1, 2))
    assert layer.compared == (256, 512)
    held = []
    with session.stream() as stream:
        for frame in clip:
            stream.step(frame)
            held.append(stream.held("first"))
    moved = np.diff(np.stack(held), axis=0) != 0
    expected = [moved[..., 0].sum(), moved[..., 1:].sum()]
    assert layer.activity.changed[1:].sum(axis=(0, 2)).tolist() == expected


@pytest.mark.parametrize("groups", [1, 2])
@settings(deadline=None, derandomize=True)
@given(data=st.data())
def test_geometry_by_brute_force(groups: int, data: st.DataObject) -> None:
    """Positions reached, outputs touched and row passes, tap by tap."""
    geometry = _random_conv(data, groups)
    shape = geometry.shape
    mask = np.random.default_rng(data.draw(st.integers(0, 99))).random(
        (shape.rows, shape.width, shape.channels)
    ) < data.draw(st.sampled_from([0.02, 0.3, 1.0]))
    macs, passes = 0, set()
    touched = np.zeros((len(geometry.row_grid), len(geometry.col_grid), groups), np.bool_)
    for at_row, rows in enumerate(geometry.row_grid):
        for at_col, cols in enumerate(geometry.col_grid):
            for row in rows:
                for col in cols:
                    if row < 0 or col < 0:
                        continue
                    macs += int(mask[row, col].sum())
                    split = mask[row, col].reshape(groups, -1).any(axis=1)
                    touched[at_row, at_col] |= split
        for tap, row in enumerate(rows):
            if row >= 0:
                passes |= {(at_row, tap, c) for c in np.flatnonzero(mask[row].any(axis=0))}
    assert int(geometry.by_class(mask, geometry.one_kind)[0] @ shape.reach) == macs
    assert geometry.touched(mask, geometry.reached(mask)) == int(touched.sum()) * shape.row
    assert geometry.row_passes(mask) == len(passes)
    per_group = shape.channels // groups
    blocks = sum(
        int(mask[..., start : min(start + BLOCK, group + per_group)].any(axis=2).sum())
        for group in range(0, shape.channels, per_group)
        for start in range(group, group + per_group, BLOCK)
    )
    assert geometry.blocks(mask).sum() == blocks


def _random_conv(data: st.DataObject, groups: int) -> Geometry:
    from mquans.graph import Conv, Graph, Node, ValueType, infer_node

    kernel = data.draw(st.integers(1, 3))
    channels = groups * data.draw(st.integers(1, 18))
    size = data.draw(st.integers(kernel, 6))
    weight = (2 * groups, channels // groups, kernel, kernel)
    stride, pad = data.draw(st.integers(1, 2)), data.draw(st.integers(0, kernel - 1))
    op = Conv((kernel, kernel), (stride, stride), (pad,) * 4, (1, 1), groups)
    node = Node("layer", op, ("x", "w"), ("y",))
    x = (1, channels, size, size)
    (y,) = infer_node(node, [x, weight])
    types = {"x": ValueType(x), "w": ValueType(weight), "y": ValueType(y)}
    graph = Graph("net", ("x",), ("y",), [node], {"w": np.zeros(weight, np.float32)}, types)
    return layer_geometry(graph, node)


def test_repeated_windows_by_brute_force(session: mquans.Session, clip: Frames) -> None:
    """Windows of held values kept whole, in a memory that never forgets."""
    node = next(session.graph.reuse_layers())
    geometry = layer_geometry(session.graph, node)
    windows, seen = RepeatedWindows(geometry, 1 << 20), set[bytes]()
    with session.stream() as stream:
        for frame in clip[:6]:
            stream.step(frame)
            held = stream.held(node.name)
            padded = np.pad(held, ((1, 1), (1, 1), (0, 0)))
            hits = 0
            for row in range(16):
                for col in range(16):
                    key = padded[row : row + 3, col : col + 3].tobytes()
                    hits += key in seen
                    seen.add(key)
            assert windows.add(held) == hits


def test_memory_forgets_the_oldest(session: mquans.Session, clip: Frames) -> None:
    node = next(session.graph.reuse_layers())
    windows = RepeatedWindows(layer_geometry(session.graph, node), 256)
    rng = np.random.default_rng(0)
    first, second = (rng.integers(-9, 9, (16, 16, 3), np.int16) for _ in range(2))
    assert windows.add(first) == 0
    assert windows.add(first) == 256
    assert windows.add(second) == 0
    assert windows.add(first) == 0, "256 entries hold the second frame alone"


def test_weight_repetition(session: mquans.Session, plan: Plan) -> None:
    for node in session.graph.reuse_layers():
        found = weight_repetition(session.graph, node, plan)
        weights = session.graph.constants[node.inputs[1]]
        assert 0 < found.per_output <= found.nonzero <= weights.size
        assert 0 < found.per_input <= found.nonzero


def test_file(session: mquans.Session, clip: Frames, tmp_path: Path) -> None:
    """What is written comes back, and readers find the documented arrays without us."""
    trace = recorded(session, clip, memory=64)
    save_trace(trace, tmp_path / "trace.npz")
    again = load_trace(tmp_path / "trace.npz")
    assert again.layers[0].shape == trace.layers[0].shape
    assert again.similarity == trace.similarity
    assert again.computation_reuse == trace.computation_reuse
    with np.load(tmp_path / "trace.npz", allow_pickle=False) as archive:
        changed, macs = archive["0/changed"], archive["0/macs"]
        assert changed.shape[:2] == macs.shape == (20, 1)
        assert archive["0/weight_bytes"].shape == archive["0/weight_rows"].shape == (20, 1)
        assert archive["0/distinct_rows"].shape == archive["begins"].shape == (20,)


@pytest.mark.parametrize("damage", [b"", b"no trace", b"PK\x03\x04 broken"])
def test_damaged_file(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "trace.npz"
    path.write_bytes(damage)
    with pytest.raises(TraceError, match="not a trace"):
        load_trace(path)
    np.savez(path, header=np.array("{}"), begins=np.zeros(1, np.int64))
    with pytest.raises(TraceError, match="not a trace"):
        load_trace(path)


def test_newer_format(session: mquans.Session, clip: Frames, tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    save_trace(recorded(session, clip[:2]), path)
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["header"] = np.array(str(arrays["header"]).replace('"version":3', '"version":4'))
    np.savez(path, **arrays)
    with pytest.raises(TraceError, match="format 4"):
        load_trace(path)


def test_traced_run_compares_with_the_dense_network(
    session: mquans.Session, small_model: Path, clip: Frames
) -> None:
    def loss(found: object, dense: object, label: object) -> float:
        return float(label)  # type: ignore[arg-type]

    run = run_traced(session, read_model(small_model), clip, metric=loss, labels=[0.5] * 20)
    assert run.trace.frames == 20
    assert 0 < run.agreement.loss_p95 < 0.1
    assert (run.task_loss, run.dense_task_loss) == (0.5, 0.5)
    with pytest.raises(mquans.errors.MetricError, match="only 3 labels"):
        run_traced(session, read_model(small_model), clip, metric=loss, labels=[0.0] * 3)


def test_sites_are_those_of_the_engine(small_model: Path, clip: Frames, tmp_path: Path) -> None:
    """Under a plan with gates a site is compared as a whole, and what reads one that was taken is
    computed: as many sites as the engine computes."""
    plan = mquans.calibrate(small_model, clip, max_loss=0.3, stress=False)
    session = mquans.Session(small_model, plan)
    recorder = TraceRecorder(session)
    with session.stream() as stream:
        for frame in clip:
            stream.step(frame)
            recorder.add(stream)
            done = {layer.name: layer.macs_done for layer in stream.stats.layers}
            if stream.frames > 1:
                for layer in recorder.result().layers:
                    share = layer.activity.touched[-1] / layer.shape.outputs
                    dense = session.graph.macs(session.graph.producers()[_output(session, layer)])
                    assert share * dense == pytest.approx(done[layer.shape.name])
    trace = recorder.result()
    assert all(layer.by_sites for layer in trace.layers)
    assert 0 < trace.computation_reuse < 1
    save_trace(trace, tmp_path / "trace.npz")
    assert load_trace(tmp_path / "trace.npz").layers[0].by_sites


def _output(session: mquans.Session, layer: LayerTrace) -> str:
    nodes = session.graph.reuse_layers()
    return next(node.outputs[0] for node in nodes if node.name == layer.shape.name)


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(3, 1, 1), (3, 2, 0), (1, 1, 0)])
def test_inputs_that_outputs_need(kernel: int, stride: int, pad: int) -> None:
    """The windows of computed outputs, counted by hand."""
    from ..accelerators.layers import conv_geometry

    geometry = conv_geometry(2, 3, 8, kernel, stride, pad)
    size = geometry.shape.output_rows
    reached = np.zeros((size, size, 1), np.bool_)
    reached[0, 1] = reached[2, 2] = True
    needed = np.zeros((8 + 2 * pad, 8 + 2 * pad), np.bool_)
    for row, column in ((0, 1), (2, 2)):
        needed[row * stride :, column * stride :][:kernel, :kernel] = True
    inside = needed[pad : pad + 8, pad : pad + 8]
    assert geometry.needed(reached) == 2 * inside.sum()


def test_windows_are_those_of_the_dense_network(
    session: mquans.Session, small_model: Path, clip: Frames
) -> None:
    """A memory of windows holds nothing back: what a dead band lets stand still looked like windows
    that come again."""
    still = clip[:6].copy()
    still[1:] = still[0]
    noisy = still.copy()
    rng = np.random.default_rng(0)
    coarse = max(float(np.max(session.plan.layers[0].delta)) * 2, 1e-3)
    noisy += rng.choice([-coarse, coarse], noisy.shape).astype(np.float32)
    model = read_model(small_model)
    for frames, repeats in ((still, True), (noisy, False)):
        trace = run_traced(session, model, iter(frames), memory=1 << 16).trace
        first = trace.layers[0]
        found = int(first.activity.repeated[1:].sum())
        assert (found == 5 * first.shape.positions) if repeats else (found < first.shape.positions)

"""Front ends of speech networks: without rules for spectra they ran on onnxruntime, that of Whisper
for eight times as long as by products."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from mquans.errors import ModelError
from mquans.graph import Conv, Fallback, Linear
from mquans.onnx import import_model, read_model

from .conftest import Check, build, op

WINDOW = np.hanning(12)


def ints(value: int) -> np.ndarray[Any, Any]:
    return np.array(value, np.int64)


@pytest.mark.parametrize(
    ("names", "attributes", "bins"),
    [
        ("x step window", {}, 7),
        ("x step window length", {}, 7),
        ("x step - length", {"onesided": 1}, 7),
        ("x step window length", {"onesided": 0}, 12),
        ("x step - odd", {}, 4),
        ("x step - one", {}, 1),
    ],
)
@pytest.mark.parametrize(("step", "shape"), [(1, (2, 41, 1)), (5, (2, 41)), (40, (1, 41, 1))])
def test_windows_of_a_signal(
    check: Check,
    names: str,
    attributes: dict[str, int],
    bins: int,
    step: int,
    shape: tuple[int, ...],
) -> None:
    """With and without a window, of even and odd lengths, apart and overlapping."""
    constants = {"step": ints(step), "window": WINDOW, "length": ints(12), "odd": ints(7),
                 "one": ints(1)}  # fmt: skip
    used = {name: value for name, value in constants.items() if name in names.split()}
    model = build([op("STFT", names, "y", **attributes)], {"x": shape}, ["y"], used)
    graph = check(model)
    assert any(isinstance(node.op, Conv) for node in graph.nodes)
    assert graph.shape("y")[2:] == (bins, 2)


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((2, 9, 1), {}), ((2, 9, 2), {}), ((3, 8, 4, 1), {}), ((2, 10, 3, 2), {}),
        ((2, 9, 1), {"inverse": 1}), ((2, 10, 3, 2), {"inverse": 1}),
        ((2, 9, 1), {"onesided": 1}), ((3, 8, 4, 1), {"onesided": 1}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("length", [None, 6, 9, 15])
@pytest.mark.parametrize("opset", [17, 20])
def test_transforms_of_an_axis(
    check: Check, shape: tuple[int, ...], length: int | None, attributes: dict[str, int], opset: int
) -> None:
    """Real and complex, there and back; cut off or filled up with zeros."""
    constants = {"axis": ints(1)} | ({} if length is None else {"length": ints(length)})
    names = f"x {'-' if length is None else 'length'}"
    if opset == 17:
        constants.pop("axis")
        attributes = {**attributes, "axis": 1}
    else:
        names += " axis"
    node = op("DFT", names.removesuffix(" -") if opset == 17 else names, "y", **attributes)
    graph = check(build([node], {"x": shape}, ["y"], constants, opset=opset))
    assert any(isinstance(node.op, Linear) for node in graph.nodes)


@pytest.mark.parametrize(
    ("node", "shape", "reason"),
    [
        (op("STFT", "x step window", "y"), (1, 41, 2), "not real"),
        (op("STFT", "x step window", "y"), (1, 9, 1), "longer than the signal"),
        (op("DFT", "x huge", "y", axis=1), (1, 9, 1), "of 5000 samples"),
    ],
)
def test_other_spectra_run_on_onnxruntime(
    node: onnx.NodeProto, shape: tuple[int, ...], reason: str
) -> None:
    constants = {"step": ints(4), "window": WINDOW, "huge": ints(5000)}
    used = {name: value for name, value in constants.items() if name in node.input}
    graph = import_model(read_model(build([node], {"x": shape}, ["y"], used)))
    (fallback,) = (node.op for node in graph.nodes if isinstance(node.op, Fallback))
    assert reason in fallback.reason


def test_waves_of_many_transforms_do_not_take_all_memory() -> None:
    """Each stands in twenty bytes of a file, and is 64 MB."""
    nodes = [op("DFT", "x", f"y{index}", axis=1, onesided=1) for index in range(8)]
    model = build(nodes, {"x": (1, 4096, 1)}, [f"y{index}" for index in range(8)])
    with pytest.raises(ModelError, match="numbers are computed when the model is read"):
        import_model(read_model(model))

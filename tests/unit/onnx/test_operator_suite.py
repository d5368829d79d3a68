"""Operators by the examples of the ONNX standard: what is native means what the standard says, and
what is not goes to onnxruntime as it is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mquans.errors import MquansError
from mquans.onnx import import_model, read_model
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .conftest import kinds

SIZES = ("scales", "roi", "ratio")
"""Inputs in floats that networks have as constants."""

AT_RANDOM = ("bernoulli", "random", "training_dropout")

AS_ONNXRUNTIME = {
    "test_resize_downsample_scales_cubic_align_corners",
    "test_resize_downsample_scales_linear_align_corners",
}
"""What it computes from scales whose products with sizes are no whole numbers; so do we."""

PARTS = 4


def examples(part: int) -> Iterator[tuple[str, onnx.ModelProto, dict[str, Any], list[Any]]]:
    """(name, model, what it is given, what it gives); sizes, axes and indices are constants."""
    collect = pytest.importorskip("onnx.backend.test.case.node").collect_testcases
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect(None)
    for case in cases[part::PARTS]:
        if case.name in AS_ONNXRUNTIME or any(word in case.name for word in AT_RANDOM):
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        given, results = case.data_sets[0]
        arrays = all(isinstance(value, np.ndarray | np.generic) for value in [*given, *results])
        if not arrays or len(given) != len(model.graph.input):
            continue
        fed = {}
        for value, array in zip(list(model.graph.input), map(np.asarray, given), strict=True):
            if array.dtype.kind == "f" and value.name not in SIZES:
                fed[value.name] = array
            elif array.dtype.kind in "biuf":
                model.graph.initializer.append(numpy_helper.from_array(array, value.name))
                model.graph.input.remove(value)
        if fed and len(fed) == len(model.graph.input):
            yield case.name, model, fed, results


def difference(found: Any, expected: np.ndarray) -> str:
    """What is wrong with a result; "" where nothing is."""
    found = np.asarray(found)
    if found.shape != expected.shape:
        return f"shape {found.shape} instead of {expected.shape}"
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    same = np.isclose(found, expected, rtol=1e-3, atol=1e-5, equal_nan=True)
    return "" if same.all() else f"{found[~same][:3]} instead of {expected[~same][:3]}"


@pytest.mark.parametrize("part", range(PARTS))
def test_native_operators_follow_the_standard(part: int) -> None:
    wrong, native = {}, 0
    for name, model, fed, results in examples(part):
        try:
            graph = import_model(read_model(model.SerializeToString()))
        except MquansError:
            continue
        if "Fallback" in kinds(graph):
            continue
        native += 1
        found = ReferenceNetwork(graph).run({key: fed[key] for key in graph.inputs})
        outputs = [value.name for value in model.graph.output]
        for output, expected in zip(outputs, results, strict=True):
            if said := difference(found[output], np.asarray(expected)):
                wrong[name] = said
    assert wrong == {}
    assert native > 150

"""Valid files that hold nothing to compute: said in a sentence, before native code sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from mquans.errors import ModelError
from mquans.onnx import import_model, read_model


def model(nodes: list[Any], outputs: list[str], **constants: Any) -> bytes:
    """x [1, 3, 16, 16] -> conv -> c [1, 8, 14, 14] -> nodes."""
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"], "conv"), *nodes],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in {"w": weight, **constants}.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def indices(*values: int) -> Any:
    return np.array(values, np.int64)


EMPTY = {
    "slice": (
        helper.make_node("Slice", ["c", "a", "b", "axes"], ["y"], "cut"),
        {"a": indices(5), "b": indices(5), "axes": indices(1)},
    ),
    "pad": (
        helper.make_node("Pad", ["c", "pads"], ["y"], "cut"),
        {"pads": indices(0, 0, -50, 0, 0, 0, -50, 0)},
    ),
    "reshape": (
        helper.make_node("Reshape", ["c", "shape"], ["y"], "cut"),
        {"shape": indices(-8, -14, 14)},
    ),
}


@pytest.mark.parametrize("case", list(EMPTY))
def test_values_without_elements_are_refused(case: str) -> None:
    """They ended the process, or kept it busy for ever."""
    node, constants = EMPTY[case]
    with pytest.raises(ModelError, match=r"'y'|cut"):
        import_model(read_model(model([node], ["y"], **constants)))


def test_an_output_may_be_listed_twice() -> None:
    """Outputs are by name; one of them is enough."""
    graph = import_model(read_model(model([], ["c", "c"])))
    assert graph.outputs == ("c",)

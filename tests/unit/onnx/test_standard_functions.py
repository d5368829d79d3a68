"""Operators that ONNX defines by others run by their definition where there is no rule for them: as
fallback subgraphs, attention layers of new exports would run whole in every frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from mquans.graph import Fallback
from mquans.onnx import import_model, read_model

from .conftest import NEWEST, Check, build, kinds, op, values

TOKENS = {"x": (1, 6, 8)}


def attention(
    inputs: str = "q k v", outputs: str = "y", *, opset: int = 23, **attributes: Any
) -> onnx.ModelProto:
    """Attention of four heads of two channels behind layers of its own."""
    heads = {"q_num_heads": 4, "kv_num_heads": 4, **attributes}
    width = 2 * heads["kv_num_heads"]
    weights = {"wq": values(1, 8, 8), "wk": values(2, 8, width), "wv": values(3, 8, width)}
    others = {"mask": values(4, 6, 6), "k0": values(5, 1, 4, 3, 2), "v0": values(6, 1, 4, 3, 2)}
    layers = [op("MatMul", f"x w{name}", name) for name in "qkv"]
    model = build(
        [*layers, op("Attention", inputs, outputs, **heads)], TOKENS, outputs.split(),
        weights | others, opset=opset,
    )  # fmt: skip
    model.ir_version = 10
    return model


@pytest.mark.parametrize(
    "model",
    [
        attention(),
        attention(scale=0.3, is_causal=1),
        attention("q k v mask", softcap=2.0),
        attention("q k v - k0 v0", "y k1 v1", is_causal=1),
        attention(kv_num_heads=2),
    ],
    ids=["plain", "causal", "mask", "cache", "groups"],
)
def test_attention_leaves_its_layers_their_reuse(check: Check, model: onnx.ModelProto) -> None:
    found = kinds(check(model, scale=1))
    assert found.count("Linear") == 3
    assert found.count("MatMul") == 2


@pytest.mark.parametrize(
    ("node", "opset"),
    [
        (op("MeanVarianceNormalization", "c", "y"), 9),
        (op("MeanVarianceNormalization", "c", "y", axes=[1, 2]), 13),
        (op("ThresholdedRelu", "c", "y", alpha=0.2), 10),
        (op("Shrink", "c", "y", lambd=0.3, bias=0.1), 12),
        (op("ReduceLogSumExp", "c axes", "y", keepdims=0), 18),
        (op("CenterCropPad", "c size", "y", axes=[2, 3]), 18),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else str(value),
)
def test_what_others_say_needs_no_rule(check: Check, node: onnx.NodeProto, opset: int) -> None:
    constants = {"w": values(1, 4, 3, 3, 3), "axes": np.array([1]), "size": np.array([3, 9])}
    check(build([op("Conv", "x w", "c"), node], {"x": (1, 3, 8, 8)}, ["y"], constants, opset=opset))


def test_rotary_embedding(check: Check) -> None:
    node = op("RotaryEmbedding", "x c s", "y", num_heads=2)
    constants = {"c": values(1, 1, 6, 2), "s": values(2, 1, 6, 2)}
    model = build([node], TOKENS, ["y"], constants, opset=23)
    model.ir_version = 10
    check(model)


def test_axes_of_an_older_version_are_not_lost(check: Check) -> None:
    """Only newer versions of it are defined by others, and these take the axes as an input."""
    node = op("ReduceLogSumExp", "x", "y", axes=[1], keepdims=0)
    check(build([node], {"x": (2, 3, 4)}, ["y"], opset=13), fallbacks=True)


def test_a_definition_with_one_part_that_is_not_native_is_not_taken() -> None:
    """onnxruntime runs the whole faster than its parts."""
    nodes = [
        op("ReduceMax", "x", "most", keepdims=0),
        op("Cast", "most", "whole", to=onnx.TensorProto.INT64),
        op("Reshape", "whole one", "size"),
        op("CenterCropPad", "x size", "y", axes=[2]),
    ]
    model = build(nodes, {"x": (1, 2, 8)}, ["y"], {"one": np.array([1])}, opset=18)
    last = import_model(read_model(model)).nodes[-1].op
    assert isinstance(last, Fallback)
    assert last.op_types == ("CenterCropPad",)


def test_the_newest_attention(check: Check) -> None:
    check(attention(opset=min(NEWEST, 24), is_causal=1), scale=1)

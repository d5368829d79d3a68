"""Networks that onnxruntime's optimizers wrote keep their reuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from mquans.onnx import import_model, read_model
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .conftest import Check, build, kinds, op, values

PICTURE, TOKENS = {"x": (1, 3, 6, 6)}, {"x": (1, 5, 8)}


def ms(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    node = op(kind, inputs, outputs, domain="com.microsoft", **attributes)
    node.output[:] = ["" if name == "-" else name for name in node.output]
    return node


def model(
    nodes: list[onnx.NodeProto], inputs: dict[str, Any], outputs: str = "y", **constants: Any
) -> onnx.ModelProto:
    made = build(nodes, inputs, outputs.split(), constants)
    made.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return made


@pytest.mark.parametrize(
    ("activation", "numbers"),
    [
        ("Relu", []), ("Sigmoid", []), ("Tanh", []), ("LeakyRelu", [0.2]), ("Clip", [0.0, 0.4]),
        ("HardSigmoid", [0.3, 0.4]),
    ],
)  # fmt: skip
def test_convolutions_with_activations(check: Check, activation: str, numbers: list[float]) -> None:
    extra = {"activation_params": numbers} if numbers else {}
    node = ms("FusedConv", "x w b z", "y", activation=activation, pads=[1] * 4, **extra)
    weights = {"w": values(1, 4, 3, 3, 3), "b": values(2, 4), "z": values(3, 1, 4, 6, 6)}
    assert kinds(check(model([node], PICTURE, **weights))).count("Conv") == 1


@pytest.mark.parametrize(
    "node",
    [
        ms("FusedGemm", "x w b", "y", activation="LeakyRelu", activation_alpha=0.1, transB=1),
        ms("FusedGemm", "x w", "y", activation="Relu", alpha=0.5),
        ms("FusedMatMul", "x w", "y", alpha=0.25, transB=1),
        ms("FusedMatMul", "x w", "y", transA=1),
    ],
    ids=str,
)  # fmt: skip
def test_products(check: Check, node: onnx.NodeProto) -> None:
    weights = {"w": values(1, 8, 8), "b": values(2, 8)}
    graph = check(model([node], {"x": (8, 8)}, **weights))
    assert kinds(graph).count("Linear") == 1


def test_blocks_of_transformers(check: Check) -> None:
    nodes = [
        ms("Attention", "x w b", "a", num_heads=4, unidirectional=1),
        ms("SkipLayerNormalization", "a x g h c", "n - - sum", epsilon=1e-5),
        op("MatMul", "n v", "m"),
        ms("FastGelu", "m d", "f"),
        ms("BiasGelu", "f d", "e"),
        ms("QuickGelu", "e", "q"),
        ms("SkipSimplifiedLayerNormalization", "q sum g", "y", epsilon=1e-5),
    ]
    graph = check(
        model(
            nodes, TOKENS, w=values(1, 8, 24), b=values(2, 24), g=values(3, 8), h=values(4, 8),
            c=values(5, 8), v=values(6, 8, 8), d=values(7, 8),
        ),
        scale=1,
    )  # fmt: skip
    assert kinds(graph).count("Linear") == 2


def test_features_scaled_by_scikit_learn_stay_native(check: Check) -> None:
    scaler = op("Scaler", "x", "scaled", domain="ai.onnx.ml", offset=[0.5, 1.0], scale=[2.0, 4.0])
    product = op("MatMul", "scaled w", "y")
    made = build([scaler, product], {"x": (3, 2)}, ["y"], {"w": values(1, 2, 4)})
    made.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 1))
    assert "Fallback" not in kinds(check(made))


def test_attention_of_many_heads_with_biases_and_a_mask(check: Check) -> None:
    nodes = [
        op("MatMul", "x w", "q"), op("MatMul", "x v", "k"),
        ms("MultiHeadAttention", "q k k b - m", "y", num_heads=2, scale=0.4),
    ]  # fmt: skip
    weights = {"w": values(1, 8, 8), "v": values(2, 8, 8), "b": values(3, 24)}
    check(model(nodes, TOKENS, **weights, m=values(4, 1, 2, 5, 5)), scale=1)


def test_norm_without_means(check: Check) -> None:
    """onnxruntime keeps it in the standard domain, which does not know it."""
    nodes = [
        op("MatMul", "x w", "a"),
        op("SimplifiedLayerNormalization", "a g", "y", axis=-1, stash_type=1),
    ]
    check(build(nodes, TOKENS, ["y"], {"w": values(1, 8, 8), "g": values(2, 8)}))


def test_dynamic_quantization_is_read_without_its_rounding() -> None:
    """As of MatMulInteger: every frame would have other codes."""
    nodes = [
        ms("DynamicQuantizeMatMul", "x w s z b", "a"),
        op("DynamicQuantizeLinear", "a", "c cs cz"),
        ms("MatMulIntegerToFloat", "c w cs s cz z", "y"),
    ]
    weight = np.arange(64, dtype=np.uint8).reshape(8, 8)
    scales = np.linspace(0.01, 0.02, 8, dtype=np.float32)
    zeros = np.full(8, 30, np.uint8)
    made = model(nodes, TOKENS, w=weight, s=scales, z=zeros, b=values(1, 8))
    graph = import_model(read_model(made))
    assert kinds(graph).count("Linear") == 2
    assert "Fallback" not in kinds(graph)
    x = values(2, 1, 5, 8)
    plain = (weight.astype(np.float32) - 30) * scales
    expected = (x @ plain + values(1, 8)) @ plain
    np.testing.assert_allclose(ReferenceNetwork(graph).run({"x": x})["y"], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([ms("Attention", "x w b m", "y", num_heads=4)], "its input 'm' is not read natively"),
        ([ms("FusedMatMul", "x w", "y", transBatchA=1)], "it moves axes of the batch"),
    ],
)
def test_what_is_not_read_says_why(nodes: list[onnx.NodeProto], reason: str) -> None:
    graph = import_model(
        read_model(
            model(nodes, TOKENS, w=values(1, 8, 24), b=values(2, 24), m=np.array([4], np.int32))
        )
    )
    assert reason in [getattr(node.op, "reason", "") for node in graph.nodes]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros", [False, True])
def test_weights_of_few_bits(check: Check, bits: int, zeros: bool) -> None:
    """72 inputs are two blocks of 32 and a part, and rows of zeros end within a byte."""
    random = np.random.default_rng(3)
    node = ms("MatMulNBits", f"x w s {'z' if zeros else '-'} - b", "y", K=72, N=6, bits=bits,
              block_size=32, accuracy_level=1)  # fmt: skip
    constants = {
        "w": random.integers(0, 256, (6, 3, 32 * bits // 8), np.uint8),
        "s": random.uniform(0.01, 0.02, 18).astype(np.float32),
        "z": random.integers(0, 256, (6, -(-3 * bits // 8)), np.uint8),
        "b": values(1, 6),
    }
    graph = check(model([node], {"x": (1, 5, 72)}, **constants))
    assert kinds(graph).count("Linear") == 1

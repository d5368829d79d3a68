"""Networks as people export them, from the oldest opset to the newest, must become small native
graphs that compute the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import onnx
import pytest

from mquans.graph import Graph

from . import networks
from .conftest import NEWEST, Check, kinds

OPSETS = [7, 9, 11, 13, 17, NEWEST]


def share_of_reuse(graph: Graph) -> float:
    return sum(map(graph.macs, graph.reuse_layers())) / sum(map(graph.macs, graph.nodes))


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(
    "network", [networks.yolov8, networks.resnet, networks.mobilenet, networks.unet]
)
def test_convolutional_networks(
    check: Check, network: Callable[[int], onnx.ModelProto], opset: int
) -> None:
    graph = check(network(opset), scale=1)
    assert share_of_reuse(graph) == 1.0
    assert not {"Unary:silu", "Unary:hard_swish", "Unary:leaky_relu"} & set(kinds(graph))


@pytest.mark.parametrize("opset", OPSETS[1:])
def test_vision_transformer(check: Check, opset: int) -> None:
    graph = check(networks.vit(opset), scale=1)
    found = Counter(kinds(graph))
    assert (found["LayerNorm"], found["Linear"], found["MatMul"]) == (2, 5, 2)
    assert not {"Unary:erf", "Unary:gelu", "Reduce:mean"} & set(found)


@pytest.mark.parametrize("opset", OPSETS)
def test_channel_shuffles_become_gathers(check: Check, opset: int) -> None:
    graph = check(networks.shufflenet(opset), scale=1)
    assert not {"Reshape", "Transpose", "Slice"} & set(kinds(graph))
    gathers = [node.op for node in graph.nodes if type(node.op).__name__ == "Gather"]
    assert [(op.axis, op.indices) for op in gathers] == [
        (1, (0, 2, 4, 6)),
        (1, (1, 3, 5, 7)),
        (1, (0, 4, 1, 5)),
        (1, (2, 6, 3, 7)),
    ]


@pytest.mark.parametrize("opset", OPSETS)
def test_residual_blocks_keep_their_sum(check: Check, opset: int) -> None:
    found = Counter(kinds(check(networks.resnet(opset), scale=1)))
    assert found["Conv"] == 3
    assert found["Binary:add"] == found["Unary:relu"] == 1


@pytest.mark.parametrize("opset", OPSETS)
def test_front_ends_and_unrolled_layers_of_sound(check: Check, opset: int) -> None:
    graph = check(networks.keyword_spotter(opset), scale=1)
    found = Counter(kinds(graph))
    assert (found["Conv"], found["Linear"]) == (1, 4)
    assert share_of_reuse(graph) == 1.0

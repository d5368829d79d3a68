"""Layers of networks that publications measure: shapes without weights."""

from __future__ import annotations

from mquans.graph import Conv, Graph, Node, ValueType
from mquans_studies.traces.layer_shape import LayerShape, layer_geometry


def convolution(
    name: str, channels: int, outputs: int, size: int, kernel: int, *, stride: int = 1,
    pad: int = 0, groups: int = 1, batch: int = 1,
) -> LayerShape:  # fmt: skip
    """A convolution over square pictures [batch, channels, size, size]."""
    out = (size + 2 * pad - kernel) // stride + 1
    types = {
        "x": ValueType((batch, channels, size, size)),
        "w": ValueType((outputs, channels // groups, kernel, kernel)),
        "y": ValueType((batch, outputs, out, out)),
    }
    op = Conv((kernel,) * 2, (stride,) * 2, (pad,) * 4, (1, 1), groups)
    node = Node(name, op, ("x", "w"), ("y",))
    return layer_geometry(Graph(name, ("x",), ("y",), [node], {}, types), node).shape


def alexnet(batch: int = 1) -> tuple[LayerShape, ...]:
    """The convolutions of Krizhevsky et al., NIPS 2012."""
    return (
        convolution("conv1", 3, 96, 227, 11, stride=4, batch=batch),
        convolution("conv2", 96, 256, 27, 5, pad=2, groups=2, batch=batch),
        convolution("conv3", 256, 384, 13, 3, pad=1, batch=batch),
        convolution("conv4", 384, 384, 13, 3, pad=1, groups=2, batch=batch),
        convolution("conv5", 384, 256, 13, 3, pad=1, groups=2, batch=batch),
    )


def vgg16(batch: int = 1) -> tuple[LayerShape, ...]:
    """The convolutions of Simonyan and Zisserman, ICLR 2015."""
    return tuple(
        convolution(f"conv{block}-{index}", channels, outputs, size, 3, pad=1, batch=batch)
        for block, index, channels, outputs, size in (
            (1, 1, 3, 64, 224), (1, 2, 64, 64, 224), (2, 1, 64, 128, 112), (2, 2, 128, 128, 112),
            (3, 1, 128, 256, 56), (3, 2, 256, 256, 56), (3, 3, 256, 256, 56),
            (4, 1, 256, 512, 28), (4, 2, 512, 512, 28), (4, 3, 512, 512, 28),
            (5, 1, 512, 512, 14), (5, 2, 512, 512, 14), (5, 3, 512, 512, 14),
        )
    )  # fmt: skip


LENET = (
    convolution("conv1", 3, 32, 32, 5, pad=2),
    convolution("conv2", 32, 32, 16, 5, pad=2),
    convolution("conv3", 32, 64, 8, 5, pad=2),
)
"""As Caffe's for CIFAR-10."""


def _bottleneck(width: int, size: int, inputs: int) -> tuple[LayerShape, ...]:
    return (
        convolution("reduce", inputs, width, size, 1),
        convolution("middle", width, width, size, 3, pad=1),
        convolution("expand", width, 4 * width, size, 1),
    )


RESNET50 = tuple(
    layer
    for width, size, blocks in ((64, 56, 3), (128, 28, 4), (256, 14, 6), (512, 7, 3))
    for block in range(blocks)
    for layer in _bottleneck(width, size, 4 * width if block else 2 * width)
)
"""He et al., CVPR 2016: bottlenecks, strided ones at the size that they leave."""

PUBLISHED_LAYERS = {"LeNet": LENET, "AlexNet": alexnet(), "ResNet-50": RESNET50}
"""Of weight repetition, see `ucnn`."""

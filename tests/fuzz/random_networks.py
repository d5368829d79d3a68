"""Random networks of pictures: operators that are right one by one may be wrong together."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
import onnx

from .growing import Network, Shape
from .networks import model
from .operators import OF_ANY, OF_PICTURES

LARGEST = 20_000
"""Values of a tensor; larger ones are read by nothing."""

OPSET = 22


def random_network(seed: int) -> tuple[onnx.ModelProto, Mapping[str, Shape]]:
    """(model, shapes of its inputs)."""
    rng = np.random.default_rng(seed)
    channels = int(rng.choice([1, 3, 3, 4, 5]))
    inputs: dict[str, Shape] = {"x": (1, channels, *rng.integers(6, 22, 2).tolist())}
    if rng.random() < 0.15:
        inputs["z"] = inputs["x"]
    net, size = Network(rng, dict(inputs)), int(rng.integers(4, 16))
    while len(net.nodes) < size:
        _grow(net)
    read = {name for node in net.nodes for name in node.input}
    outputs = [name for node in net.nodes for name in node.output if name not in read][:3]
    return model(net.nodes, inputs, outputs, net.constants, opset=OPSET), inputs


def _grow(net: Network) -> None:
    """One operator more, if it fits."""
    usable = [
        name
        for name, shape in net.shapes.items()
        if len(shape) in (3, 4) and prod(shape) <= LARGEST
    ]
    x = usable[-1] if net.chance(0.6) else str(net.rng.choice(usable))
    kinds = OF_ANY | OF_PICTURES if len(net.shapes[x]) == 4 else OF_ANY
    shares = np.array(list(kinds.values())) / sum(kinds.values())
    list(kinds)[int(net.rng.choice(len(kinds), p=shares))](net, x)

"""What a change of a few pixels reaches: sites that nothing reads anew cost time, and sites beyond
the edge are no memory of the tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mquans.graph import Conv, Pool, Unary

from .networks import Network

SHRINK = Pool("max", (4, 4), (4, 4), (0,) * 4, (1, 1))
SPREAD = Conv((3, 3), (1, 1), (1,) * 4, (1, 1))


@pytest.mark.parametrize(
    "function", [Unary("relu"), Unary("clip", (-1.0, 12.0)), Unary("elu", (1.0,))],
    ids=lambda f: f.kind,
)  # fmt: skip
@pytest.mark.parametrize("width", [32, 48])
def test_a_function_of_one_tensor_is_active_where_that_moved(function: Any, width: int) -> None:
    network = Network(
        [(SHRINK, "x", "p"), (function, "p", "r"), (SPREAD, "r w", "v")],
        {"x": (1, 3, 24, width)}, {"w": np.ones((3, 3, 3, 3))}, exponents={"x": -10, "v": -6},
    )  # fmt: skip
    stream = network.session().stream()
    frame = np.random.default_rng(0).normal(size=(1, 3, 24, width)).astype(np.float32)
    stream.step(frame)
    frame[0, :, 2, 12:] = 9.0
    stream.step(frame)
    # Pixels beyond the width of what is pooled moved in rows that it has.
    [layer] = [layer for layer in stream.stats.layers if layer.name == "v"]
    assert layer.changed == 3 * (width // 4 - 3)

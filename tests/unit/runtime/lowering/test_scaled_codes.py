"""What quantized networks do last, a product of every value with the steps that it counts, is done
where codes become floats, with the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper, parser

import mquans
from mquans.runtime.session import available_isas

CHANNELS, SIZE = 5, (9, 11)
rng = np.random.default_rng(0)
NUMBERS = {
    "one": np.float32(-0.0123),
    "each": rng.normal(size=(CHANNELS, 1, 1)).astype(np.float32),
    "sites": rng.normal(size=SIZE).astype(np.float32),
    "most": np.float32(2e36),
    "least": np.float32(1e-44),
    "none": np.zeros((1, CHANNELS, 1, 1), np.float32),
}


def network() -> bytes:
    """Every product of y with one of the numbers is an output, and y itself."""
    names = ", ".join(f"float[1,{CHANNELS},9,11] by_{name}" for name in NUMBERS)
    products = "\n".join(f"by_{name} = Mul(y, {name})" for name in NUMBERS)
    model = parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        scaled (float[1,3,9,11] x) => (float[1,{CHANNELS},9,11] y, {names}, float[1,5,9,11] both)
        {{ s = Conv<pads = [1, 1, 1, 1]>(x, w)
           y = Relu(s)
           {products}
           twice = Mul(one, y)
           both = Exp(twice) }}""")
    weights = rng.normal(size=(CHANNELS, 3, 3, 3)).astype(np.float32)
    for name, array in {"w": weights, **NUMBERS}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return helper.make_model(
        model.graph, opset_imports=model.opset_import, ir_version=8
    ).SerializeToString()


@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512"])
def test_products_are_those_of_floats(isa: str) -> None:
    if isa not in available_isas():
        pytest.skip(f"this CPU has no {isa}")
    frames = [rng.normal(size=(1, 3, *SIZE)).astype(np.float32) for _ in range(6)]
    model = network()
    stream = mquans.Session(model, mquans.calibrate(model, frames, bits=12), isa=isa).stream()
    stream.profile = True
    for frame in frames:
        outputs = stream.step(frame)
        for name, number in NUMBERS.items():
            np.testing.assert_array_equal(outputs[f"by_{name}"], outputs["y"] * number)
        np.testing.assert_allclose(outputs["both"], np.exp(outputs["by_one"]), rtol=1e-6)
    steps = stream.profile
    assert steps is not None
    decoded = {name for name in NUMBERS if f"by_{name} decoded" in steps}
    assert decoded - {"none"} == {"one", "each"}

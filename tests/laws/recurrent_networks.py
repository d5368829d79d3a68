"""ONNX models of one recurrent layer, and plans for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mquans.onnx import import_model, read_model
from mquans.plan import LayerPlan, Plan
from mquans.runtime.session import Session

from .builders import plan_of
from .reference import Floats
from .strategies import SEEDS

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass(frozen=True)
class Recurrent:
    """One LSTM, GRU or RNN with its states as inputs and outputs.

    Attributes:
        attributes: of the ONNX node.
        lengths: valid time steps of each sequence, or empty.
        bits: of input and recurrent product; per neuron when `several`.
    """

    kind: str
    steps: int
    batch: int
    inputs: int
    hidden: int
    attributes: dict[str, Any]
    lengths: tuple[int, ...] = ()
    peepholes: bool = False
    rule: str = "hold"
    bits: tuple[int, int] = (6, 5)
    several: bool = False
    weight_bits: int = 8
    seed: int = 0

    @property
    def directions(self) -> int:
        return 2 if self.attributes.get("direction") == "bidirectional" else 1

    @property
    def feedback(self) -> dict[str, str]:
        return {"h": "h_out"} | ({"c": "c_out"} if self.kind == "LSTM" else {})

    def model(self, steps: int | None = None) -> bytes:
        """The model, by default of sequences as long as `steps`."""
        rng = np.random.default_rng(self.seed)
        rows, directions = GATES[self.kind] * self.hidden, self.directions
        weights = {
            "w": rng.normal(size=(directions, rows, self.inputs)) * self.inputs**-0.5,
            "r": rng.normal(size=(directions, rows, self.hidden)) * self.hidden**-0.5,
            "b": rng.normal(size=(directions, 2 * rows)) * 0.1,
        }
        arrays = {name: array.astype(np.float32) for name, array in weights.items()}
        names = ["x", "w", "r", "b", "", *self.feedback]
        if self.lengths:
            names[4] = "lengths"
            arrays["lengths"] = np.array(self.lengths, np.int32)
        if self.peepholes:
            names.append("p")
            arrays["p"] = rng.normal(size=(directions, 3 * self.hidden)).astype(np.float32)
        outputs = ["y", *self.feedback.values()]
        node = helper.make_node(
            self.kind, names, outputs, name="layer", hidden_size=self.hidden, **self.attributes
        )
        steps = steps or self.steps
        state = [directions, self.batch, self.hidden]
        shapes = {"x": [steps, self.batch, self.inputs]} | dict.fromkeys(self.feedback, state)
        made = {"y": [steps, *state]} | dict.fromkeys(self.feedback.values(), state)
        graph = helper.make_graph(
            [node],
            "recurrent",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in made.items()],
            [numpy_helper.from_array(array, name) for name, array in arrays.items()],
        )
        opset = [helper.make_opsetid("", 17)]
        return bytes(helper.make_model(graph, opset_imports=opset).SerializeToString())

    def planned(self, steps: int | None = None) -> tuple[bytes, Plan]:
        """The model, and a plan that is the same for any number of steps."""
        model = self.model(steps)
        graph = import_model(read_model(model))
        layers = []
        for node in graph.reuse_layers():
            is_input = node.name.endswith("input")
            bits = self.bits[0] if is_input else self.bits[1]
            several = tuple(min(12, bits + c % 3) for c in range(graph.neurons(node)))
            layers.append(
                LayerPlan(
                    name=node.name,
                    delta=(4.0 if is_input else 1.0) / 4096,
                    bits=several if self.several else bits,
                    weight_bits=self.weight_bits,
                )
            )
        return model, plan_of(model, layers, rule=self.rule, feedback=self.feedback)

    def session(self, steps: int | None = None, **options: Any) -> Session:
        """A session under that plan."""
        return Session(*self.planned(steps), **options)

    def frames(self, count: int) -> list[Floats]:
        """Sequences that drift, stand still and jump."""
        rng = np.random.default_rng(self.seed + 1)
        x = rng.normal(size=(self.batch, self.inputs))
        rows = []
        for _ in range(count * self.steps):
            kind = rng.integers(4)
            if kind == 0:
                x = rng.normal(size=x.shape)
            elif kind < 3:
                x = x + rng.normal(size=x.shape) * 0.1
            rows.append(x)
        shape = (count, self.steps, self.batch, self.inputs)
        return list(np.array(rows, np.float32).reshape(shape))


@st.composite
def recurrent_layers(draw: st.DrawFn, *, causal: bool = False) -> Recurrent:
    """Any variant of the three operators; `causal`: forward in time, all sequences whole."""
    kind = draw(st.sampled_from(tuple(GATES)))
    steps, batch = draw(st.sampled_from((1, 2, 5, 9))), draw(st.integers(1, 3))
    directions = ("forward",) if causal else ("forward", "reverse", "bidirectional")
    attributes: dict[str, Any] = {"direction": draw(st.sampled_from(directions))}
    if kind == "GRU":
        attributes["linear_before_reset"] = draw(st.integers(0, 1))
    if draw(st.booleans()):
        attributes["clip"] = 0.8
    lengths: tuple[int, ...] = ()
    if not causal and draw(st.booleans()):
        lengths = tuple(draw(st.integers(1, steps)) for _ in range(batch))
    return Recurrent(
        kind,
        steps,
        batch,
        draw(st.sampled_from((1, 3, 5, 17, 40))),
        draw(st.sampled_from((1, 3, 5, 17, 70, 130))),
        attributes,
        lengths,
        peepholes=kind == "LSTM" and draw(st.booleans()),
        rule=draw(st.sampled_from(("hold", "nearest"))),
        bits=(draw(st.integers(2, 12)), draw(st.integers(2, 12))),
        several=draw(st.booleans()),
        weight_bits=draw(st.sampled_from((8, 16))),
        seed=draw(SEEDS),
    )

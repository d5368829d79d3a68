"""Small recurrent networks for tests of calibration."""

from __future__ import annotations

from typing import Any

import numpy as np

from mquans.graph import (
    GATES,
    Graph,
    Linear,
    Node,
    Recurrence,
    RecurrenceKind,
    Unary,
    ValueType,
    infer,
)
from mquans.sources.frames import Feeds

FEATURES, HIDDEN, CLASSES = 6, 5, 3

ACTIVATIONS: dict[RecurrenceKind, tuple[str, ...]] = {
    "lstm": ("sigmoid", "tanh", "tanh"),
    "gru": ("sigmoid", "tanh"),
    "rnn": ("tanh",),
}


def recurrent(
    kind: RecurrenceKind,
    *,
    steps: int = 1,
    batch: int = 1,
    states: bool = True,
    bias: bool = False,
    peepholes: bool = False,
    **attributes: Any,
) -> Graph:
    """x [T, B, I] -> `layer/input` -> `layer` -> `out` -> y [T, B, 3]; with states also h (and c)
    in, and h_out (and c_out) out."""
    rng = np.random.default_rng(5)
    columns = GATES[kind] * HIDDEN
    names = [] if not states else ["h", "c"] if kind == "lstm" else ["h"]
    constants: dict[str, Any] = {
        "W": rng.normal(0, 0.6, (FEATURES, columns)),
        "b": rng.normal(0, 0.3, columns),
        "R": rng.normal(0, 0.6, (HIDDEN, columns)),
        "V": rng.normal(0, 0.6, (HIDDEN, CLASSES)),
    }
    inputs = ["p", "R", "", *(names or [""]), *[""] * (kind == "lstm" and not states)]
    if bias:
        constants["Rb"], inputs[2] = rng.normal(0, 0.3, columns), "Rb"
    if peepholes:
        constants["P"] = rng.normal(0, 0.6, 3 * HIDDEN)
        inputs = [*inputs, "P"]
    while not inputs[-1]:
        inputs.pop()
    outputs = ["s", "h_out", "c_out"][: 3 if kind == "lstm" else 2]
    op = Recurrence(kind, tuple(Unary(name) for name in ACTIVATIONS[kind]), **attributes)  # type: ignore[arg-type]
    graph = Graph(
        name=kind,
        inputs=("x", *names),
        outputs=("y", *(outputs[1:] if states else ())),
        nodes=[
            Node("layer/input", Linear(batch=batch if steps > 1 else 0), ("x", "W", "b"), ("p",)),
            Node("layer", op, tuple(inputs), tuple(outputs)),
            Node("out", Linear(batch=batch if steps > 1 else 0), ("s", "V"), ("y",)),
        ],
        constants={name: np.array(a, np.float32) for name, a in constants.items()},
        types={
            "x": ValueType((steps, batch, FEATURES)),
            **{name: ValueType((batch, HIDDEN)) for name in names},
        },
    )
    graph.types = infer(graph)
    return graph


def feedback(graph: Graph) -> dict[str, str]:
    return {name: f"{name}_out" for name in graph.inputs if name != "x"}


def sound(graph: Graph, count: int, *, seed: int = 0) -> list[Feeds]:
    """Frames of something that changes slowly."""
    rng = np.random.default_rng(seed)
    steps, batch, features = graph.shape("x")
    walk = np.cumsum(rng.normal(0, 0.3, (count * steps, batch, features)), axis=0)
    return [{"x": x} for x in np.sin(walk).reshape(count, steps, batch, features).astype("f")]

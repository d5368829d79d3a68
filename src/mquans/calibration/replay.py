"""Observation under a plan: what layers see when the layers before them hold their values.

Behind dead bands values stand still and then jump. They change less often than in the dense
network, and how often no longer depends much on how fine their own steps are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.calibration.observe import Observation, Observer, Values, tensor_of
from mquans.graph import Graph, Node, Recurrence
from mquans.plan import Feedback
from mquans.runtime.reference.functions import unary
from mquans.runtime.session import Session
from mquans.sources.frames import Feeds, in_place_of, states_at


def observe_under(session: Session, clips: Iterable[Sequence[Feeds]]) -> Observation:
    """Ranges and curves of all tensors while the engine runs a session's plan.

    Args:
        clips: frames of each; streams begin anew with each.
    """
    replay = _Replay(session)
    observer = Observer(session.graph, rules=(session.plan.rule,))
    for frames in clips:
        replay.reset()
        observer.add(frames, replay)
    return observer.result()


class _Replay:
    """From feeds to the tensors of all layers, by name, as the engine has them."""

    def __init__(self, session: Session) -> None:
        self._graph = session.graph
        self._layers = list(session.graph.reuse_layers())
        self._states = Feedback(session.plan.feedback, session.plan.input_shapes)
        self._stream = session.exposing(_needed(session.graph, self._layers)).stream()

    def reset(self) -> None:
        self._stream.reset()
        self._states.reset()

    def __call__(self, feeds: Feeds) -> Mapping[str, Values]:
        self._states = states_at(feeds, self._states)
        filled = in_place_of(feeds, self._states.fill(feeds))
        found = self._stream.step(filled)
        self._states.keep(found)
        values: dict[str, npt.NDArray[Any]] = {**self._graph.constants, **filled, **found}
        return {tensor_of(node): _read(self._graph, node, values) for node in self._layers}


def _needed(graph: Graph, layers: Sequence[Node]) -> list[str]:
    """Computed values that the tensors of layers are made of."""
    wanted: dict[str, None] = {}
    for node in layers:
        made = [node.inputs[0]]
        if isinstance(node.op, Recurrence):
            made = [node.outputs[0], *node.inputs[3:4], *made[: node.op.states - 1]]
        wanted |= dict.fromkeys(value for value in made if value)
    return [value for value in wanted if value not in {*graph.inputs, *graph.constants}]


def _read(graph: Graph, node: Node, values: Mapping[str, npt.NDArray[Any]]) -> Values:
    """The tensor of a layer; of a recurrence as `importers.state_value` has it."""
    op = node.op
    if not isinstance(op, Recurrence):
        return values[node.inputs[0]]
    y = values[node.outputs[0]]
    start = node.inputs[3] if len(node.inputs) > 3 else ""
    h = values[start][None] if start else np.zeros_like(y[:1])
    before = np.concatenate([y[1:], h] if op.reverse else [h, y[:-1]])
    if op.states == 1:
        return before
    hidden = y.shape[2]
    weight = np.asarray(graph.constants[node.inputs[1]])[:, hidden : 2 * hidden]
    sums = values[node.inputs[0]][:, :, hidden : 2 * hidden] + before @ weight
    if op.clip is not None:
        sums = np.clip(sums, -op.clip, op.clip)
    reset = unary(op.activations[0], sums)
    return np.concatenate([before, reset * before], axis=2, dtype=np.float32)

"""Observation under a plan: what layers see when the layers before them hold their values.

Behind dead bands values stand still and then jump. They change less often than in the dense
network, and how often no longer depends much on how fine their own steps are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from mquans.calibration.observe import Observation, Observer, Run
from mquans.engine.session import Session
from mquans.evaluate import Feeds
from mquans.graph import Graph
from mquans.importers import import_model, read_model, to_onnx
from mquans.plan import NetworkOptions, Plan


def observe_under(
    graph: Graph, plan: Plan, clips: Iterable[Sequence[Feeds]], *, threads: int = 1
) -> Observation:
    """Ranges and curves of all tensors while the engine runs a plan.

    Args:
        graph: the plan's network.
        clips: frames of each; streams start afresh with each.
    """
    session = _exposed(graph, plan, threads)
    observer = Observer(graph, rules=(plan.rule,))
    for frames in clips:
        with session.stream() as stream:
            observer.add(frames, _values(stream.step))
    return observer.result()


def _values(step: Run) -> Run:
    return lambda feeds: {**feeds, **step(feeds)}


def _exposed(graph: Graph, plan: Plan, threads: int) -> Session:
    """A session whose outputs are all tensors that reuse layers read.

    It runs the network as our own writer puts it, under the same plan: nodes then have other names
    but come in the same order.
    """
    tensors = dict.fromkeys(node.inputs[0] for node in graph.reuse_layers())
    outputs = [*graph.outputs, *(name for name in tensors if name not in graph.inputs)]
    file = read_model(to_onnx(graph, outputs=outputs).SerializeToString())
    exposed = import_model(file, NetworkOptions(plan.input_shapes))
    layers = tuple(
        msgspec.structs.replace(plan.layer(node.name), name=twin.name)
        for node, twin in zip(graph.reuse_layers(), exposed.reuse_layers(), strict=True)
    )
    renamed = msgspec.structs.replace(plan, layers=layers, model_sha256=file.sha256)
    return Session(file, renamed, threads=threads)

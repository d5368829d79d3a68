"""Criticality by trying: noise on some neurons, and what it does to the outputs."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mquans.calibration.criticality.closed_form import closed_form
from mquans.calibration.criticality.loss import Floats, OutputLoss
from mquans.calibration.criticality.probe import Array, Probe, neuron_axis, spread_over
from mquans.calibration.gradients import Tape
from mquans.calibration.unrolling import Part, Unrolled, unroll
from mquans.errors import MquansError
from mquans.evaluate import Track, silent
from mquans.graph import Fallback, Graph
from mquans.sources.frames import Feeds

FRAMES = 4
GROUPS = 4
"""Groups of neurons per layer; each costs one run of the network per frame and sample."""

LEVEL = 0.01
"""Standard deviation of the noise, as a share of the root mean square of the layer's input: small
against the input, large against rounding in float32."""


def perturb(
    graph: Graph,
    frames: Sequence[Feeds],
    *,
    feedback: Mapping[str, str] | None = None,
    samples: int = 1,
    seed: int = 0,
    threads: int = 1,
    track: Track = silent,
) -> dict[str, Floats]:
    """Measured growth of the loss per unit of mean squared error, without gradients.

    Normal noise is added to a group of a layer's neurons, the network is run, and the loss is
    divided by the noise's energy. All neurons of a group get the same criticality; groups are made
    of neurons that `closed_form` ranks alike, since one neuron alone changes too little to tell
    (ApproxANN makes the same remark). Sees through fallback subgraphs, which gradients do not.

    Args:
        feedback: see `criticality`.
        samples: noises per group and frame.
    """
    network = unroll(graph, feedback or {})
    values = _measured_at(network.graph)
    windows = network.windows(frames)
    picked = [windows[i] for i in spread_over(len(windows), FRAMES)]
    read = [part.node.inputs[0] for parts in network.parts.values() for part in parts]
    probe = Probe(network.graph, [*values, *read], threads=threads)
    dense = []
    energies = dict.fromkeys(network.parts, 0.0)
    for feeds in picked:
        found = probe.run(feeds)
        dense.append({value: found[value] for value in values})
        for layer, parts in network.parts.items():
            squares = [float(np.square(found[part.node.inputs[0]]).mean()) for part in parts]
            energies[layer] += float(np.mean(squares)) / len(picked)
    del probe
    loss = OutputLoss.measured(network, values, dense)
    ranking = closed_form(graph, frames, feedback=feedback, threads=threads)
    random = np.random.default_rng(seed)
    result = {}
    for layer in track(ranking, "perturbing", len(ranking)):
        parts = network.parts[layer]
        noisy, added = with_noise(network.graph, {part.node.name for part in parts})
        run = Probe(noisy, values, threads=threads)
        sigma = LEVEL * np.sqrt(energies[layer]) or LEVEL
        criticality = np.zeros(len(ranking[layer]))
        for group in np.array_split(np.argsort(ranking[layer], kind="stable"), GROUPS):
            if not len(group):
                continue
            losses = [
                loss.between(reference, run.run({**feeds, **drawn}))
                for feeds, reference in zip(picked, dense, strict=True)
                for drawn in _draws(network, parts, added, group, sigma, samples, random)
            ]
            criticality[group] = np.mean(losses) / (sigma**2 * len(group))
        result[layer] = criticality
    return result


def _measured_at(graph: Graph) -> list[str]:
    """Outputs of fixed shape, or what fallback subgraphs make them of where there are none."""
    values = [value for value in graph.outputs if _is_fixed(graph, value)]
    if not values:
        read = [v for n in graph.nodes if isinstance(n.op, Fallback) for v in n.inputs]
        values = [v for v in dict.fromkeys(read) if _is_fixed(graph, v)]
    if not values:
        raise MquansError(
            "none of its outputs is a float32 array of fixed shape.", where=f"model {graph.name!r}"
        )
    return values


def _is_fixed(graph: Graph, value: str) -> bool:
    kind = graph.types[value]
    computed = value not in graph.constants and value not in graph.inputs
    return computed and kind.dtype == "float32" and all(size >= 0 for size in kind.shape)


def with_noise(graph: Graph, layers: Container[str]) -> tuple[Graph, dict[str, str]]:
    """The network with something added to what layers read, each its own.

    Returns:
        the network, and by layer the further input of it that takes what is added.
    """
    tape = Tape(graph)
    added = {}
    for node in graph.nodes:
        if node.is_reuse and node.name in layers:
            x, *constants = node.inputs
            added[node.name] = tape.input(f"{node.name}/noise", tape.shape(x))
            node = replace(node, inputs=(tape.add(x, added[node.name]), *constants))
        tape.copy(node)
    return tape.graph, added


def _draws(
    network: Unrolled,
    parts: Sequence[Part],
    added: Mapping[str, str],
    group: npt.NDArray[np.intp],
    sigma: float,
    samples: int,
    random: np.random.Generator,
) -> list[dict[str, Array]]:
    """Noise on a group of a layer's neurons in all steps, 0 on the others, by input."""
    drawn = []
    for _ in range(samples):
        noises: dict[str, Array] = {}
        for part in parts:
            shape = network.graph.shape(part.node.inputs[0])
            axis = neuron_axis(part.node, len(shape))
            first = part.neurons.start or 0
            own = group[(group >= first) & (group < first + shape[axis])] - first
            noise = np.zeros(shape, np.float32)
            place = [own if i == axis else slice(None) for i in range(len(shape))]
            size = tuple(len(own) if i == axis else n for i, n in enumerate(shape))
            noise[tuple(place)] = random.standard_normal(size, np.float32) * np.float32(sigma)
            noises[added[part.node.name]] = noise
        drawn.append(noises)
    return drawn

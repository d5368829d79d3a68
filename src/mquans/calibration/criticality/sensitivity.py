"""Methods that differentiate: how a small error at a neuron reaches the outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mquans.calibration.criticality.loss import Floats, OutputLoss, directions
from mquans.calibration.criticality.probe import Array, Arrays, Probe, neuron_sum, spread_over
from mquans.calibration.gradients import gradient_graph
from mquans.calibration.unrolling import unroll
from mquans.errors import MquansError
from mquans.evaluate import Track, silent
from mquans.graph import ConvTranspose, Graph, Linear, Node, Recurrence
from mquans.metrics import OutputWeights
from mquans.sources.frames import Feeds

FRAMES = 24
"""Frames that gradients are taken on, spread over all that are given: neighbours on a stream tell
nearly the same."""

WINDOWS = 8
"""Of networks with states: windows of consecutive frames, at least."""

SAMPLES = 4
"""Random directions per frame."""

TINY = float(np.finfo(np.float32).tiny)


class TaskLoss(Protocol):
    """The gradient of a loss of the user's own."""

    def __call__(self, outputs: Arrays, label: Any) -> Arrays:
        """dL/dy for (some of) the outputs, by name, each of its output's shape."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Growth of the loss per unit of mean squared error, by layer.

    Attributes:
        inputs: at every neuron of the layer's input: [neurons].
        outputs: at every channel of the layer's output before its activation: [outputs].
    """

    inputs: dict[str, Floats]
    outputs: dict[str, Floats]


def fisher(
    graph: Graph,
    frames: Sequence[Feeds],
    *,
    feedback: Mapping[str, str] | None = None,
    loss: TaskLoss | None = None,
    labels: Sequence[Any] | None = None,
    error_weights: OutputWeights | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    threads: int = 1,
    track: Track = silent,
    at_outputs: bool = True,
) -> Sensitivity:
    """Fisher information, or Gauss-Newton diagonal, of neurons: with the Jacobian `J` from the
    neuron's values (one per position p) to the outputs j, and the weights `w` of `loss`

        s[c] = sum_p sum_j w_j J_jp^2 = E_v sum_p (v . J)_p^2,    v_j = +-sqrt(w_j) at random

    which is the loss that errors of variance 1, independent from position to position, cause to
    first order. One vector-Jacobian product per random `v` gives it for all neurons of all layers
    at once. Source: design, section 4; Martens 2014 (arXiv 1412.1193), section 9.

    With states `J` reaches into later frames, and steps in time are positions.

    Args:
        feedback, loss, error_weights: see `criticality`.
        at_outputs: also at the outputs of layers.
    """
    run = _Differentiated(graph, feedback or {}, threads=threads, at_outputs=at_outputs)
    inputs = {node.name: np.zeros(graph.neurons(node)) for node in graph.reuse_layers()}
    outputs = {node.name: np.zeros(_channels(graph, node)) for node in graph.reuse_layers()}
    count = 0
    for feeds, cotangents in _cotangents(
        run, frames, loss, labels, error_weights, samples, seed, track
    ):
        found = run.squares(feeds, cotangents)
        run.network.add_neurons(inputs, found.inputs)
        run.network.add_outputs(outputs, found.outputs)
        count += 1
    for total in (inputs, outputs):
        for sums in total.values():
            sums /= count
    return Sensitivity(inputs, outputs if at_outputs else {})


def taylor(
    graph: Graph,
    frames: Sequence[Feeds],
    *,
    feedback: Mapping[str, str] | None = None,
    loss: TaskLoss | None = None,
    labels: Sequence[Any] | None = None,
    error_weights: OutputWeights | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    threads: int = 1,
    track: Track = silent,
) -> dict[str, Floats]:
    """First-order effect of taking a neuron away, `|x dL/dx|`, put into the unit of `fisher`:

        s[c] = E (sum_p |x_p g_p|)^2 / sum_p x_p^2

    the squared effect over the squared error that taking it away is. Never more than `fisher`, and
    equal to it where gradients are as large as activations. Source: Molchanov et al. 2016
    (arXiv 1611.06440), section 2.2.
    """
    run = _Differentiated(graph, feedback or {}, threads=threads, products=True)
    total = {node.name: np.zeros(graph.neurons(node)) for node in graph.reuse_layers()}
    count = 0
    for feeds, cotangents in _cotangents(
        run, frames, loss, labels, error_weights, samples, seed, track
    ):
        found = [{name: np.zeros_like(sums) for name, sums in total.items()} for _ in range(2)]
        for sums, parts in zip(found, run.products(feeds, cotangents), strict=True):
            run.network.add_neurons(sums, parts)
        effects, energies = found
        for name, effect in effects.items():
            # A neuron that is 0 everywhere has no effect either.
            total[name] += np.square(effect) / np.maximum(energies[name], TINY)
        count += 1
    return {name: sums / count for name, sums in total.items()}


class _Differentiated:
    """A network's outputs, and sums over its gradients, in onnxruntime."""

    def __init__(
        self,
        graph: Graph,
        feedback: Mapping[str, str],
        *,
        threads: int,
        at_outputs: bool = False,
        products: bool = False,
    ) -> None:
        self.network = unroll(graph, feedback)
        self.graph = graph = self.network.graph
        layers = {node.name: node for node in graph.reuse_layers()}
        self.made = gradient_graph(graph)
        if not self.made.cotangents:
            raise MquansError(
                "no output of it can be differentiated.",
                where=f"model {graph.name!r}",
                hint="Calibrate with the criticality method perturb.",
            )
        self._inputs: dict[str, str] = {}
        self._outputs: dict[str, str] = {}
        self._effects: dict[str, str] = {}
        self._energies: dict[str, str] = {}
        for name, gradient in self.made.layer_inputs.items():
            node = layers[name]
            if products:
                effect = self.made.tape.mul(node.inputs[0], gradient)
                effect = self.made.tape.unary("abs", effect)
                self._effects[name] = neuron_sum(self.made.tape, node, effect)
                self._energies[name] = self._squares_of(node, node.inputs[0])
            else:
                self._inputs[name] = self._squares_of(node, gradient)
            if at_outputs:
                self._outputs[name] = self._squares_of(node, self.made.layer_outputs[name])
        parts = (self._inputs, self._outputs, self._effects, self._energies)
        fetched = [value for part in parts for value in part.values()]
        self._gradients = Probe(self.made.tape.graph, fetched, threads=threads)
        self._dense = Probe(graph, self.made.cotangents, threads=threads)

    def dense(self, feeds: Feeds) -> dict[str, Array]:
        """The values that take cotangents, for one window."""
        return self._dense.run(feeds)

    def squares(self, feeds: Feeds, cotangents: Arrays) -> Sensitivity:
        """Sums over positions of squared gradients, by layer of the unrolled network."""
        found = self._run(feeds, cotangents)
        return Sensitivity(_named(self._inputs, found), _named(self._outputs, found))

    def products(
        self, feeds: Feeds, cotangents: Arrays
    ) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Sums over positions of `|x * gradient|` and of `x^2`, by layer."""
        found = self._run(feeds, cotangents)
        return _named(self._effects, found), _named(self._energies, found)

    def _run(self, feeds: Feeds, cotangents: Arrays) -> dict[str, Array]:
        named = {self.made.cotangents[value]: array for value, array in cotangents.items()}
        found = self._gradients.run({**feeds, **named})
        if not all(np.isfinite(array).all() for array in found.values()):
            raise MquansError(
                "its gradients are not finite.",
                where=f"model {self.graph.name!r}",
                hint="Calibrate with the criticality method perturb.",
            )
        return found

    def _squares_of(self, node: Node, value: str) -> str:
        return neuron_sum(self.made.tape, node, self.made.tape.mul(value, value))


def _named(names: Mapping[str, str], arrays: Arrays) -> dict[str, Floats]:
    return {layer: arrays[value].astype(np.float64) for layer, value in names.items()}


def _cotangents(
    run: _Differentiated,
    frames: Sequence[Feeds],
    loss: TaskLoss | None,
    labels: Sequence[Any] | None,
    error_weights: OutputWeights | None,
    samples: int,
    seed: int,
    track: Track,
) -> Iterator[tuple[Feeds, Arrays]]:
    """Frames and cotangents to take gradients with."""
    length = run.network.frames
    windows = run.network.windows(frames)
    if not windows:
        raise MquansError(f"criticality needs {length} consecutive frames, not {len(frames)}.")
    picked = spread_over(len(windows), max(WINDOWS, FRAMES // run.network.steps))
    random = np.random.default_rng(seed)
    if loss is not None:
        for index in track(picked, "differentiating", len(picked)):
            start = index * length
            own = [None] * length if labels is None else labels[start : start + length]
            yield windows[index], _task_gradient(run, loss, windows[index], own, random)
        return
    dense = (run.dense(windows[index]) for index in track(picked, "weighing outputs", len(picked)))
    plain = OutputLoss.measured(run.network, run.made.cotangents, dense)
    weights = plain.weights
    rounds = [(index, sample) for index in picked for sample in range(samples)]
    for index, sample in track(rounds, "differentiating", len(rounds)):
        if error_weights is not None and sample == 0:
            weights = plain.with_weights(run.network, error_weights, run.dense(windows[index]))
        yield windows[index], directions(weights, random)


def _task_gradient(
    run: _Differentiated,
    loss: TaskLoss,
    feeds: Feeds,
    labels: Sequence[Any],
    random: np.random.Generator,
) -> dict[str, Array]:
    """The user's gradient at every output of a window's frames, 0 where it names none. Frames have
    signs of their own: losses of single frames are squared, not their sum."""
    if run.made.stopped:
        raise MquansError(
            "a task loss cannot be followed through it.",
            where=f"model {run.graph.name!r}, value {run.made.stopped[0]!r}",
            hint="Leave the loss out, or calibrate with the criticality method perturb.",
        )
    found = run.network.outputs_in(run.dense(feeds))
    gradients: dict[str, Array] = {}
    for names, outputs, label in zip(run.network.outputs, found, labels, strict=True):
        weight = np.float32(random.choice((-1.0, 1.0)) / np.sqrt(len(labels)))
        for name, gradient in _gradient_of_frame(loss, outputs, label).items():
            gradients[names[name]] = weight * gradient
    return gradients


def _gradient_of_frame(loss: TaskLoss, outputs: Arrays, label: Any) -> dict[str, Array]:
    found = loss(outputs, label)
    unknown = set(found) - set(outputs)
    if unknown:
        raise MquansError(
            f"the loss gives a gradient for {sorted(unknown)[0]!r}, which is no output.",
            hint=f"Outputs are: {', '.join(outputs)}.",
        )
    gradients: dict[str, Array] = {}
    for name, array in outputs.items():
        gradient = np.asarray(found.get(name, np.zeros(array.shape)), np.float32)
        if gradient.shape != array.shape or not np.isfinite(gradient).all():
            raise MquansError(
                f"the loss gives a gradient of shape {list(gradient.shape)} with finite values "
                f"{bool(np.isfinite(gradient).all())}; it must be finite and of shape "
                f"{list(array.shape)}.",
                where=f"output {name!r}",
            )
        gradients[name] = gradient
    return gradients


def _channels(graph: Graph, node: Node) -> int:
    weight = graph.shape(node.inputs[1])
    match node.op:
        case Linear() | Recurrence():
            return weight[1]
        case ConvTranspose(groups=groups):
            return weight[1] * groups
        case _:
            return weight[0]

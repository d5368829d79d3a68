"""Networks with states as networks without: every step in time written out.

An error in a state is an error in all that follows. To see it, a few consecutive frames become one
network, whose states pass from copy to copy, and every `Recurrence` becomes what it does step by
step: products with constant weights, sums, gates. Equations: ONNX operators LSTM, GRU and RNN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.calibration.gradients import Tape
from mquans.graph import Graph, Linear, Node, Recurrence, Slice
from mquans.metrics.scored import scored

Sums = npt.NDArray[np.float64]

WINDOW = 8
"""Time steps that are looked at together: what an error does later than that is not seen."""


@dataclass(frozen=True, slots=True)
class Part:
    """A layer of an unrolled network: one step of a layer, or of some of its neurons.

    Attributes:
        node: the layer in the unrolled network.
        neurons, outputs: which of the original's it has.
    """

    node: Node
    neurons: slice
    outputs: slice


@dataclass(frozen=True, slots=True)
class Unrolled:
    """A network over several consecutive frames, without recurrences.

    Attributes:
        graph: of which the outputs are those of all frames that a loss is taken of.
        frames: how many.
        parts: by layer of the network, step by step.
        outputs: name of every scored output to its name in `graph`, frame by frame.
        inputs: the same of the inputs that come with every frame.
        states: of the first frame; named as in the network.
        origins: copies of the network's values to their name there.
    """

    graph: Graph
    frames: int
    parts: dict[str, tuple[Part, ...]]
    outputs: tuple[dict[str, str], ...]
    inputs: tuple[dict[str, str], ...]
    states: tuple[str, ...]
    origins: dict[str, str]

    @property
    def steps(self) -> int:
        """Steps in time of the layer that has most of them."""
        return max((len(parts) for parts in self.parts.values()), default=1)

    def windows(
        self, frames: Sequence[Mapping[str, npt.NDArray[np.float32]]]
    ) -> list[dict[str, npt.NDArray[np.float32]]]:
        """Feeds of `graph` from runs of `self.frames` consecutive frames, one run after the other;
        the first frame of each has its states. A shorter run at the end is left out."""
        found = []
        for start in range(0, len(frames) - self.frames + 1, self.frames):
            run = frames[start : start + self.frames]
            feeds = {name: run[0][name] for name in self.states}
            for frame, names in zip(run, self.inputs, strict=True):
                feeds |= {new: frame[name] for name, new in names.items()}
            found.append(feeds)
        return found

    def outputs_in(
        self, values: Mapping[str, npt.NDArray[Any]]
    ) -> list[dict[str, npt.NDArray[Any]]]:
        """By their names in the network, frame by frame, the outputs that are among `values` of
        `graph`."""
        return [
            {name: values[new] for name, new in names.items() if new in values}
            for names in self.outputs
        ]

    def add_neurons(self, total: Mapping[str, Sums], found: Mapping[str, npt.NDArray[Any]]) -> None:
        """Adds what was found per part's neuron, [neurons] by the part's name, to its layer's."""
        for layer, parts in self.parts.items():
            for part in parts:
                if part.node.name in found:
                    total[layer][part.neurons] += found[part.node.name]

    def add_outputs(self, total: Mapping[str, Sums], found: Mapping[str, npt.NDArray[Any]]) -> None:
        """The same of what was found per output channel."""
        for layer, parts in self.parts.items():
            for part in parts:
                if part.node.name in found:
                    total[layer][part.outputs] += found[part.node.name]


def time_steps(graph: Graph) -> int:
    """Steps in time that one frame of a network holds: more than 1 for those of whole sequences."""
    found = [1]
    for node in graph.nodes:
        match node.op:
            case Recurrence():
                found.append(graph.shape(node.inputs[0])[0])
            case Linear(batch=batch) if batch:
                found.append(graph.types[node.inputs[0]].size // graph.neurons(node) // batch)
    return max(found)


def window(graph: Graph, feedback: Mapping[str, str]) -> int:
    """Consecutive frames that make a window of about `WINDOW` steps; 1 without states."""
    return -(-WINDOW // min(time_steps(graph), WINDOW)) if feedback else 1


def unroll(graph: Graph, feedback: Mapping[str, str]) -> Unrolled:
    """Writes out `window(graph, feedback)` frames of a network and all steps in them.

    Args:
        feedback: state inputs by the output that feeds them in the next frame.
    """
    return _Unroller(graph, feedback).run()


class _Unroller:
    def __init__(self, graph: Graph, feedback: Mapping[str, str]) -> None:
        self.graph, self.feedback = graph, feedback
        self.count = window(graph, feedback)
        inputs = () if self.count > 1 else graph.inputs
        self.tape = Tape(replace(graph, inputs=inputs, outputs=()), prefix="unrolled")
        self.parts: dict[str, list[Part]] = {node.name: [] for node in graph.reuse_layers()}
        self.origins: dict[str, str] = {}

    def run(self) -> Unrolled:
        frame_inputs = [name for name in self.graph.inputs if name not in self.feedback]
        states = tuple(name for name in self.graph.inputs if name in self.feedback)
        values: dict[str, str] = {}
        inputs, outputs = [], []
        for frame in range(self.count):
            before, values = values, {name: name for name in self.graph.constants}
            for name in states:
                values[name] = self._state(name, before)
            made = {name: self._input(name, frame) for name in frame_inputs}
            values |= made
            for node in self.graph.nodes:
                self._write(node, values, frame)
            inputs.append(made)
            names = scored(self.graph, self.feedback)
            outputs.append({name: values[name] for name in names})
        tape = self.tape.graph
        tape.outputs = tuple(dict.fromkeys(new for names in outputs for new in names.values()))
        parts = {name: tuple(found) for name, found in self.parts.items()}
        return Unrolled(
            tape, self.count, parts, tuple(outputs), tuple(inputs), states, self.origins
        )

    def _input(self, name: str, frame: int) -> str:
        if self.count == 1:
            return name
        made = f"{name}@{frame}"
        return self.tape.input(made, self.graph.shape(name))

    def _state(self, name: str, before: Mapping[str, str]) -> str:
        if before:
            return self.tape.reshape(before[self.feedback[name]], self.graph.shape(name))
        if self.count > 1:
            self.tape.graph.inputs = (*self.tape.graph.inputs, name)
        return name

    def _write(self, node: Node, values: dict[str, str], frame: int) -> None:
        inputs = tuple(values[name] if name else "" for name in node.inputs)
        label = node.name if self.count == 1 else f"{node.name}@{frame}"
        if isinstance(node.op, Recurrence):
            steps = _Steps(self.tape, node.op, inputs, label)
            made = dict(zip(node.outputs, steps.write(), strict=True))
            values |= made
            self.origins |= {new: name for name, new in made.items()}
            self.parts[node.name] += steps.parts
            return
        for name in node.outputs:
            values[name] = name if self.count == 1 else f"{name}@{frame}"
            self.origins[values[name]] = name
            self.tape.graph.types[values[name]] = self.graph.types[name]
        copied = Node(label, node.op, inputs, tuple(values[name] for name in node.outputs))
        self.tape.copy(copied)
        if node.is_reuse:
            self.parts[node.name].append(Part(copied, slice(None), slice(None)))


class _Steps:
    """One `Recurrence`, written step by step."""

    def __init__(self, tape: Tape, op: Recurrence, inputs: tuple[str, ...], label: str) -> None:
        self.tape, self.op, self.label = tape, op, label
        self.p, self.weight, *rest = inputs
        optional = [*rest, "", "", "", ""]
        self.bias, start_h, start_c, self.peepholes = optional[:4]
        self.steps, self.batch, self.columns = tape.shape(self.p)
        self.hidden = tape.shape(self.weight)[0]
        self.h = start_h or self._zeros()
        self.c = start_c or (self._zeros() if self.op.kind == "lstm" else "")
        self.parts: list[Part] = []

    def write(self) -> list[str]:
        """Values of the node's outputs."""
        order = range(self.steps - 1, -1, -1) if self.op.reverse else range(self.steps)
        rows: dict[int, str] = {}
        for step in order:
            h, c = self._step(step)
            y, self.h, self.c = self._within_lengths(step, h, c)
            rows[step] = self.tape.reshape(y, (1, self.batch, self.hidden))
        ordered = [rows[step] for step in range(self.steps)]
        y = ordered[0] if self.steps == 1 else self.tape.concat(0, *ordered)
        return [y, self.h, self.c] if self.op.kind == "lstm" else [y, self.h]

    def _step(self, step: int) -> tuple[str, str]:
        starts, stops = (step, 0, 0), (step + 1, self.batch, self.columns)
        p = self.tape.apply(Slice(starts, stops, (1, 1, 1)), self.p)
        p = self.tape.reshape(p, (self.batch, self.columns))
        match self.op.kind:
            case "lstm":
                return self._lstm(step, p)
            case "gru":
                return self._gru(step, p), ""
            case "rnn":
                return self._gate(0, self.tape.add(p, self._product(step, self.h))), ""

    def _lstm(self, step: int, p: str) -> tuple[str, str]:
        tape = self.tape
        sums = tape.add(p, self._product(step, self.h))
        i, o, f, g = (self._columns(sums, at) for at in range(4))
        i = self._gate(0, self._peeped(i, 0, self.c))
        f = self._gate(0, self._peeped(f, 2, self.c))
        c = tape.add(tape.mul(f, self.c), tape.mul(i, self._gate(1, g)))
        o = self._gate(0, self._peeped(o, 1, c))
        return tape.mul(o, tape.apply(self.op.activations[2], c)), c

    def _gru(self, step: int, p: str) -> str:
        tape, hidden = self.tape, self.hidden
        if self.op.reset_after:
            product = self._product(step, self.h)
            z, r = (self._gate(0, tape.add(self._columns(p, at), self._columns(product, at)))
                    for at in range(2))  # fmt: skip
            new = tape.mul(r, self._columns(product, 2))
        else:
            product = self._product(step, self.h, slice(0, 2 * hidden), slice(0, hidden))
            z, r = (self._gate(0, tape.add(self._columns(p, at), self._columns(product, at)))
                    for at in range(2))  # fmt: skip
            reset = tape.mul(r, self.h)
            columns = slice(2 * hidden, 3 * hidden)
            new = self._product(step, reset, columns, slice(hidden, 2 * hidden))
        new = self._gate(1, tape.add(self._columns(p, 2), new))
        return tape.add(tape.mul(tape.sub(1.0, z), new), tape.mul(z, self.h))

    def _product(
        self,
        step: int,
        state: str,
        columns: slice = slice(None),
        neurons: slice = slice(None),
    ) -> str:
        """The product of a state with some columns of the weight: a layer of its own."""
        tape, whole = self.tape, columns == slice(None)
        label = f"columns {columns.start}"
        weight = self.weight if whole else tape.derived(self.weight, label, lambda w: w[:, columns])
        operands = [state, weight]
        if self.bias:
            bias = self.bias if whole else tape.derived(self.bias, label, lambda b: b[columns])
            operands.append(bias)
        name = f"{self.label}/{step}" + ("" if neurons.start in (None, 0) else "/reset")
        value = tape.apply(Linear(), *operands, name=name)
        self.parts.append(Part(tape.graph.nodes[-1], neurons, columns))
        return value

    def _columns(self, x: str, gate: int) -> str:
        starts = (0, gate * self.hidden)
        return self.tape.crop(x, starts, (self.batch, self.hidden))

    def _peeped(self, x: str, which: int, c: str) -> str:
        if not self.peepholes:
            return x
        at = slice(which * self.hidden, (which + 1) * self.hidden)
        weight = self.tape.derived(self.peepholes, f"peephole {which}", lambda w: w[at])
        return self.tape.add(x, self.tape.mul(weight, c))

    def _gate(self, activation: int, x: str) -> str:
        if self.op.clip is not None:
            x = self.tape.unary("clip", x, -self.op.clip, self.op.clip)
        return self.tape.apply(self.op.activations[activation], x)

    def _within_lengths(self, step: int, h: str, c: str) -> tuple[str, str, str]:
        """The output and the states behind a step; beyond their length sequences stand still."""
        inside = np.array([step < length for length in self.op.lengths])
        if inside.all():
            return h, h, c
        mask = self.tape.constant(inside[:, None])
        y = self.tape.mul(mask, h)
        return y, self.tape.select(mask, h, self.h), self.tape.select(mask, c, self.c) if c else ""

    def _zeros(self) -> str:
        return self.tape.constant(np.zeros((self.batch, self.hidden)))

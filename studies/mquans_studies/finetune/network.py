"""A graph as a differentiable function of consecutive frames, quantized as a plan would run it.

Inputs of reuse layers move in the steps of the plan, under its rule, along the time axis: what is
trained is what runs. Rounding lets gradients pass as if it were not there (straight-through, as
DoReFa-Net, arXiv 1606.06160, section 2.2); the levels are the plan's steps instead of DoReFa's
fixed levels of [0, 1], so that a trained network needs no bounded activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from mquans.graph import Conv, Graph, Linear, Node
from mquans.plan import Plan
from mquans.runtime.lowering.quantization import deltas, steps
from mquans_studies.finetune.operators import evaluate

Tensor = Any
INT8_MAX = 127


@dataclass(frozen=True, slots=True)
class Pass:
    """Result of one run over sequences of frames.

    Attributes:
        outputs: by name, [sequences * frames, ...].
        work: estimated MACs done / dense MACs, differentiable (see `Network.run`).
    """

    outputs: dict[str, Tensor]
    work: Tensor


class Network:
    """Weights of a graph as torch parameters.

    Args:
        graph: of the closed set without fallback subgraphs.
        plan: checked against the graph; its steps, rule and weight widths are simulated.

    Attributes:
        parameters: trainable tensors by the graph's constant names: weights and biases of reuse
            layers.
    """

    def __init__(self, graph: Graph, plan: Plan) -> None:
        self.graph, self.rule = graph, plan.rule
        trained = {name for node in graph.reuse_layers() for name in node.inputs[1:] if name}
        self.constants = {name: torch.tensor(array) for name, array in graph.constants.items()}
        self.parameters = {name: self.constants[name].requires_grad_() for name in sorted(trained)}
        self._step, self._narrow = {}, {}
        for node in graph.reuse_layers():
            layer, neurons = plan.layer(node.name), graph.neurons(node)
            step = steps(layer, plan.grid_bits, neurons) * deltas(layer, neurons)
            shape = [1] * (len(graph.shape(node.inputs[0])) + 1)
            shape[-1 if isinstance(node.op, Linear) else 2] = neurons
            self._step[node.name] = torch.tensor(step, dtype=torch.float32).reshape(shape)
            self._narrow[node.name] = layer.weight_bits == 8

    def run(
        self,
        feeds: Mapping[str, Tensor],
        *,
        sequences: int = 1,
        quantized: bool = True,
        generator: Any = None,
    ) -> Pass:
        """Outputs for consecutive frames.

        The estimate of the work takes a value that drifts by d per frame to leave its dead band
        after r = step / (2 |d|) frames, hence 1 / (1 + r) changes per frame (the 1 keeps gradients
        alive for fast ones), and weighs layers by their MACs.

        Args:
            feeds: by input name, [sequences * frames, ...]: sequences one after the other.
            quantized: False for the float network; its work is 1.
            generator: torch.Generator for the held values that sequences begin with, as they would
                be in the middle of a long stream; without one sequences begin exact.
        """
        values = {name: torch.as_tensor(array) for name, array in feeds.items()}
        frames = len(next(iter(values.values())))
        done, total = torch.zeros(()), 0
        for node in self.graph.nodes:
            names = [name for name in node.inputs if name]
            arrays = {name: self._value(name, values) for name in names}
            if quantized and node.is_reuse:
                x = arrays[names[0]].unflatten(0, (sequences, -1))
                macs, step = self.graph.macs(node), self._step[node.name]
                done = done + macs * _change_rate(x, step)
                total += macs
                arrays[names[0]] = _held(x, step, self.rule, generator).flatten(0, 1)
                if self._narrow[node.name]:
                    arrays[names[1]] = _int8(arrays[names[1]], node)
            batched = tuple(0 if name in values else None for name in names)
            function = partial(_evaluate, node)
            values[node.outputs[0]] = (
                torch.vmap(function, in_dims=batched)(*arrays.values())
                if any(axis == 0 for axis in batched)
                else function(*arrays.values()).expand(frames, *self.graph.shape(node.outputs[0]))
            )
        outputs = {name: self._value(name, values) for name in self.graph.outputs}
        return Pass(outputs, done / total if total else torch.ones(()))

    def trained(self) -> Graph:
        """The graph with the weights as they are now."""
        now = {
            name: np.array(parameter.detach().numpy())
            for name, parameter in self.parameters.items()
        }
        g = self.graph
        return Graph(g.name, g.inputs, g.outputs, g.nodes, g.constants | now, g.types)

    def _value(self, name: str, values: Mapping[str, Tensor]) -> Tensor:
        return values[name] if name in values else self.constants[name]


def _evaluate(node: Node, *inputs: Tensor) -> Tensor:
    return evaluate(node, inputs)


def _change_rate(x: Tensor, step: Tensor) -> Tensor:
    if x.shape[1] < 2:
        return torch.zeros(())
    per_step = 2 * x.diff(dim=1).abs() / step
    return (per_step / (1 + per_step)).mean()


def _held(x: Tensor, step: Tensor, rule: str, generator: Any) -> Tensor:
    """Held values of [sequences, frames, ...], with the gradient of the identity."""
    values = x.detach()
    if rule == "nearest":
        held = torch.round(values / step) * step
    else:
        now = values[:, 0]
        if generator is not None:
            now = now + (torch.rand(now.shape, generator=generator) - 0.5) * step
        history = []
        for frame in values.unbind(1):
            now = torch.where((frame - now).abs() > step / 2, frame, now)
            history.append(now)
        held = torch.stack(history, 1)
    return x + (held - values)


def _int8(weight: Tensor, node: Node) -> Tensor:
    """Weights rounded to int8 per output channel, with the gradient of the identity."""
    values = weight.detach()
    output = 0 if isinstance(node.op, Conv) else 1
    others = [axis for axis in range(values.ndim) if axis != output]
    scale = values.abs().amax(others, keepdim=True).clamp(min=1e-30) / INT8_MAX
    return weight + (torch.round(values / scale) * scale - values)

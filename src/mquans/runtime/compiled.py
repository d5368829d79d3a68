"""A network under a plan, compiled for the engine: what all streams of a session share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mquans.graph import Graph, MatMul
from mquans.plan import Plan, plan_fingerprint
from mquans.runtime.lowering.lowered import Lowered


class FirstLayer(NamedTuple):
    """The first layer in the network's order.

    Attributes:
        by_site: in which of the two lists of reports it is.
        number: there.
        inputs: sites or values that it reads.
    """

    by_site: bool
    number: int
    inputs: int


@dataclass(frozen=True)
class Compiled:
    """Read-only once made.

    Attributes:
        lowered: the native program with packed weights, and where everything lies in it.
    """

    graph: Graph
    plan: Plan
    model_sha256: str
    lowered: Lowered

    @cached_property
    def plan_fingerprint(self) -> str:
        """What saved streams know the plan by."""
        return plan_fingerprint(self.plan)

    @cached_property
    def step_labels(self) -> list[str]:
        """Of the program's steps, all different."""
        return _unique(self.lowered.program.steps)

    @cached_property
    def layer_names(self) -> list[str]:
        """Layers of both kinds in the network's order; a recurrence may have two."""
        by_value, names = list(self.lowered.layers), list[str]()
        for node in self.graph.reuse_layers():
            if node.name in self.lowered.site_layers:
                names.append(node.name)
            while by_value and f"{by_value[0]}/".startswith(f"{node.name}/"):
                names.append(by_value.pop(0))
        return names

    @cached_property
    def coded(self) -> dict[int, int]:
        """Number of codes by tensor."""
        sites = self.lowered.sites
        return {tensor: prod(sites.sizes[tensor]) for tensor in sites.tensors.values()}

    @cached_property
    def layer_sizes(self) -> list[tuple[str, int, int]]:
        """(name, inputs, MACs of one dense evaluation) of layers value by value."""
        program = self.lowered.program
        return list(zip(self.lowered.layers, program.layer_inputs, program.layer_macs, strict=True))

    @cached_property
    def fallback_macs(self) -> int:
        """Of one evaluation of all fallback subgraphs."""
        return sum(self.graph.macs(call.node) for call in self.lowered.fallbacks)

    @cached_property
    def float_macs(self) -> int:
        """Of one evaluation of the layers that the plan has in floats."""
        layers = {name for layer in self.plan.floats for name in (layer, f"{layer}/product")}
        products = (node for node in self.graph.nodes if node.name in layers)
        return sum(self.graph.macs(node) for node in products if isinstance(node.op, MatMul))

    @cached_property
    def macs(self) -> int:
        """Of one evaluation of all layers and fallback subgraphs."""
        by_site = sum(layer.macs for layer in self.lowered.site_layers.values())
        by_value = sum(macs for _, _, macs in self.layer_sizes)
        return by_site + by_value + self.float_macs + self.fallback_macs

    @cached_property
    def first_layer(self) -> FirstLayer | None:
        """Where the program reports of it; None for a network without any."""
        name = next(iter(self.layer_names), None)
        if name is None:
            return None
        if name in self.lowered.site_layers:
            sites, _ = self.lowered.sites.sizes[self.lowered.site_layers[name].x]
            return FirstLayer(True, list(self.lowered.site_layers).index(name), sites)
        index = list(self.lowered.layers).index(name)
        return FirstLayer(False, index, self.layer_sizes[index][1])

    @cached_property
    def _output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        return [(name, self.graph.shape(name)) for name in self.lowered.outputs]

    def empty_outputs(self) -> dict[str, npt.NDArray[np.float32]]:
        """Uninitialised arrays for the outputs that the native program computes, by name."""
        return {name: np.empty(shape, np.float32) for name, shape in self._output_shapes}

    def as_declared(self, outputs: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Outputs in the types of the model's file."""
        declared = self.graph.declared
        if declared.keys().isdisjoint(outputs):
            return outputs
        return {
            name: _in_type(array, declared[name]) if name in declared else array
            for name, array in outputs.items()
        }


def _in_type(array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """What is computed in float32, in another type; whole numbers may be off by a rounding."""
    if array.dtype.kind == "f" and np.dtype(dtype).kind in "iu":
        array = np.rint(array)
    with np.errstate(invalid="ignore", over="ignore"):
        return array.astype(dtype, copy=False)


def _unique(names: Sequence[str]) -> list[str]:
    """Names with a counter behind repeated ones."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return result

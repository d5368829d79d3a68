"""A network under a plan as a native program, and where everything lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mquans.graph import (
    Node,
)
from mquans.runtime.lowering.layout import Placed
from mquans.runtime.lowering.sites.placing import Sites


@dataclass(slots=True)
class FallbackCall:
    """a fallback subgraph in a program: after `step` native steps, onnxruntime runs `node`.

    Inputs and outputs that the engine has no tensor for (other dtypes, sizes that depend on the
    data) are None: they pass from fallback subgraph to fallback subgraph, or out of the network, as
    arrays."""

    step: int
    node: Node
    inputs: tuple[Placed | None, ...]
    outputs: tuple[Placed | None, ...]


@dataclass(frozen=True, slots=True)
class SiteLayer:
    """A layer over sites in a program.

    Attributes:
        x, y: native tensors of codes that it reads and writes.
        macs: of one dense evaluation.
        inputs: values that it reads.
    """

    x: int
    y: int
    macs: int
    inputs: int


@dataclass(slots=True)
class Lowered:
    """A native program and what Python must know to feed it.

    Attributes:
        program: packed weights and steps.
        fallback subgraphs: in order.
        layers: index of every reuse layer by name.
        sites: values in codes.
        site_layers: layers over sites by name, in the order of their reports.
        stored_inputs: native tensor of every graph input that is not only compared as it comes.
        outputs: graph outputs that the program computes; fallback subgraphs compute the others.
    """

    program: Any
    fallbacks: list[FallbackCall]
    layers: dict[str, int]
    sites: Sites
    site_layers: dict[str, SiteLayer]
    stored_inputs: dict[str, int]
    outputs: tuple[str, ...]

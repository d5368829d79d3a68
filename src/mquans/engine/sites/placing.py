"""Tensors of codes in a program: made when first needed, from floats where nobody computes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from mquans import _native
from mquans.engine import layout
from mquans.engine.layout import Dims, Placed
from mquans.engine.sites.analysis import Analysis
from mquans.engine.sites.arithmetic import Codes, codes_of, gate_of
from mquans.engine.sites.geometry import CodeLayout, axes_of
from mquans.engine.sites.homes import Home, homes_of, root_of
from mquans.errors import PlanError
from mquans.graph import Conv, ConvTranspose, Graph
from mquans.plan import GatePlan, Plan, TensorPlan

if TYPE_CHECKING:
    from mquans.engine.lowering import Lowering


@dataclass(frozen=True, slots=True)
class Coded:
    """A value in codes.

    Attributes:
        tensor: the native tensor.
        order: logical axis at each physical position, channels last.
        dims: physical sizes.
        border: zeros around the sites, by axis before the channels.
        codes: exponents and limit.
    """

    tensor: int
    order: Dims
    dims: Dims
    border: Dims
    codes: Codes


@dataclass(slots=True)
class Sites:
    """Values in codes of one lowering."""

    analysis: Analysis
    plans: dict[str, TensorPlan]
    homes: dict[str, Home]
    borders: dict[str, Dims]
    values: dict[str, Coded] = field(default_factory=dict)
    # Values for readers whose channels lie along another axis.
    reordered: dict[tuple[str, Dims], Coded] = field(default_factory=dict)
    # Native tensors of values that lie in no other one.
    tensors: dict[str, int] = field(default_factory=dict)
    # Names of nodes that another node's step does as well.
    fused: set[str] = field(default_factory=set)
    # Of native tensors: (sites, channels), the largest code, the value's name.
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    limits: dict[int, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    @staticmethod
    def of(graph: Graph, plan: Plan, analysis: Analysis) -> Sites:
        """Nothing placed yet.

        Raises:
            PlanError: the plan lacks a tensor.
        """
        plans = {tensor.name: tensor for tensor in plan.tensors}
        missing = [name for name in analysis.fresh() if name not in plans]
        if missing:
            raise PlanError(
                f"the plan says nothing of tensor {missing[0]!r}.",
                hint="Calibrate again with this model.",
            )
        axes = {value: coding.axis for value, coding in analysis.codings.items()}
        homes = homes_of(graph, axes, analysis.integer_nodes)
        return Sites(analysis, plans, homes, _borders(graph, analysis, homes))

    def gate(self, value: str) -> GatePlan | None:
        """What the plan says of a value's gate."""
        plan = self.plans.get(value)
        return plan.gate if plan else None

    def codes(self, value: str, channels: int) -> Codes:
        """What the plan says of a value's codes."""
        return codes_of(self.plans[value], channels)

    def new(self, low: Lowering, value: str, codes: Codes | None = None) -> Coded:
        """A fresh tensor for a value.

        Args:
            codes: taken over from elsewhere; by default those of the plan.
        """
        order = self.analysis.codings[value].order
        channels = low.graph.shape(value)[order[-1]]
        dims = layout.apply(order, low.graph.shape(value))
        root, first = self.root(value)
        outer, border = self._outer(low, root, order)
        if root not in self.tensors:
            joined = low.graph.shape(root)[order[-1]]
            tensor = int(_native.add_code_tensor(low.program, outer, border, joined))
            self.tensors[root] = tensor
            self.sizes[tensor] = (prod(outer), joined)
            self.names[tensor] = root
        tensor = self.tensors[root]
        if root != value:
            tensor = int(_native.add_code_view(low.program, tensor, first, channels))
        codes = codes or self.codes(value, channels)
        coded = Coded(tensor, order, dims, border, codes)
        self.values[value] = coded
        self.sizes[tensor] = (prod(outer), channels)
        home = self.tensors[root]
        self.limits[home] = max(self.limits.get(home, 0), codes.limit)
        return coded

    def _in_order(self, low: Lowering, value: str, order: Dims) -> Coded:
        """A value whose channels lie along another axis for this reader, through floats: of the
        exponents that the plan knows, all of which each new channel mixes, it has the coarsest."""
        key = (value, order)
        if key not in self.reordered:
            made = self.values.get(value)
            known = (
                made.codes
                if made
                else self.codes(value, low.graph.shape(value)[self.analysis.codings[value].axis])
            )
            dims = layout.apply(order, low.graph.shape(value))
            codes = Codes(np.full(dims[-1], known.exponents.max()), known.limit)
            outer, border = self._outer(low, value, order)
            x = low.in_order(value, order)
            tensor = int(_native.add_code_tensor(low.program, outer, border, dims[-1]))
            self.sizes[tensor] = (prod(outer), dims[-1])
            _native.add_encode_sites(
                low.program, f"{value} reordered", x.tensor, tensor, _inverse(codes), codes.limit,
                gate_of(None, low.plan.tolerance, codes),
            )  # fmt: skip
            self.reordered[key] = Coded(tensor, order, dims, border, codes)
        return self.reordered[key]

    def root(self, value: str) -> tuple[str, int]:
        """(value whose tensor holds a value, its first channel there)."""
        return root_of(self.homes, value)

    def _outer(self, low: Lowering, root: str, order: Dims) -> tuple[Dims, Dims]:
        """(sizes, border) of the axes before the channels."""
        dims = layout.apply(order, low.graph.shape(root))
        outer = ((1,) * (2 - len(dims)) + dims)[:-1]
        border = self.borders.get(root, ())
        return outer, (0,) * (len(outer) - len(border)) + border

    def layout(self, low: Lowering, x: Coded) -> CodeLayout:
        """Where a tensor's sites lie in memory."""
        rows, stride = _native.code_tensor_layout(low.program, x.tensor)
        padded = (1,) * (2 - len(x.dims)) + x.dims
        return CodeLayout(padded[:-1], x.border, int(rows[0]), int(stride))

    def coded(self, low: Lowering, value: str, order: Dims | None = None) -> Coded:
        """A value in codes: as it was computed, or encoded now.

        Args:
            order: of axes that the reader needs; None for the one that the value has.
        """
        if order is not None and order != self.analysis.codings[value].order:
            return self._in_order(low, value, order)
        if value in self.values:
            return self.values[value]
        x = low.in_order(value, self.analysis.codings[value].order)
        y = self.new(low, value)
        _native.add_encode_sites(
            low.program, f"{value} encoded", x.tensor, y.tensor, _inverse(y.codes), y.codes.limit,
            gate_of(self.gate(value), low.plan.tolerance, y.codes),
        )  # fmt: skip
        return y

    def input(self, low: Lowering, value: str, index: int) -> None:
        """A graph input, encoded where the caller has it."""
        y = self.new(low, value)
        _native.add_input_sites(
            low.program, f"{value} encoded", index, y.tensor, _inverse(y.codes), y.codes.limit,
            gate_of(self.gate(value), low.plan.tolerance, y.codes),
        )  # fmt: skip

    def decode(self, low: Lowering, value: str) -> Placed:
        """A value in codes as floats."""
        x = self.values[value]
        placed = low.new(value, x.order)
        _native.add_decode_sites(
            low.program, f"{value} decoded", x.tensor, placed.tensor,
            x.codes.unit.astype(np.float32),
        )  # fmt: skip
        return placed


def _inverse(codes: Codes) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return (1.0 / codes.unit).astype(np.float32)


def _borders(graph: Graph, analysis: Analysis, homes: dict[str, Home]) -> dict[str, Dims]:
    """Zeros that windows reach around every tensor, by spatial axis; values that lie in one tensor
    share them."""
    borders: dict[str, Dims] = {}
    for node in graph.nodes:
        if node.name not in analysis.integer_nodes or not isinstance(node.op, Conv | ConvTranspose):
            continue
        value = node.inputs[0]
        axes = axes_of(node.op, graph.shape(value), graph.shape(node.outputs[0]))
        reach = tuple(axis.border() for axis in axes)
        root, _ = root_of(homes, value)
        known = borders.get(root, (0,) * len(reach))
        borders[root] = tuple(map(max, known, reach))
    return borders

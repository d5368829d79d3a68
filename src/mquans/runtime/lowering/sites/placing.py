"""Tensors of codes in a program: made when first needed, from floats where nobody computes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mquans import _native
from mquans.errors import PlanError
from mquans.graph import Conv, ConvTranspose, Graph, Unary
from mquans.plan import InputFormat, Plan, TensorPlan, pixel_scale
from mquans.plan.checks import listed
from mquans.runtime.lowering import layout
from mquans.runtime.lowering.inputs import is_picture
from mquans.runtime.lowering.layout import Dims, Placed
from mquans.runtime.lowering.sites.analysis import Analysis, order_read
from mquans.runtime.lowering.sites.arithmetic import BLOCK, Codes, Reals, codes_of, gate_of
from mquans.runtime.lowering.sites.geometry import CodeLayout, axes_of
from mquans.runtime.lowering.sites.homes import Home, homes_of, root_of

if TYPE_CHECKING:
    from mquans.runtime.lowering.program import Lowering


Floats = npt.NDArray[np.float32]

NO_NUMBERS: Floats = np.empty(0, np.float32)


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
    # By value and the order in which its axes lie.
    borders: dict[tuple[str, Dims], Dims]
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
    # Sites that the gate in front of a native tensor compares together, where not one.
    together: dict[int, int] = field(default_factory=dict)

    @staticmethod
    def of(graph: Graph, plan: Plan, analysis: Analysis) -> Sites:
        """Nothing placed yet.

        Raises:
            PlanError: the plan lacks a tensor or a layer computed value by value,
                has a tensor without codes of its own, or a gate where there can be none.
        """
        plans = {tensor.name: tensor for tensor in plan.tensors}
        fresh = analysis.fresh()
        again = "Calibrate again with this model."
        missing = [name for name in fresh if name not in plans]
        if missing:
            raise PlanError(f"the plan says nothing of tensor {missing[0]!r}.", hint=again)
        if extra := [name for name in plans if name not in fresh]:
            raise PlanError(
                "the plan has tensors that have no codes of their own in this network: "
                f"{listed(extra)}.",
                hint=again,
            )
        by_value = {layer.name for layer in plan.layers}
        if missing := [
            node.name
            for node in graph.reuse_layers()
            if node.name not in analysis.integer_nodes and node.name not in by_value
        ]:
            raise PlanError(f"the plan lacks layers of the model: {listed(missing)}.", hint=again)
        idle = [
            name for name, tensor in plans.items() if tensor.gate and name not in analysis.gated
        ]
        if idle:
            raise PlanError(
                f"the plan has gates where every change passes: {listed(idle)}.", hint=again
            )
        axes = {value: coding.axis for value, coding in analysis.codings.items()}
        inputs = {*graph.inputs, *analysis.pictures.values()}
        homes = homes_of(graph, axes, analysis.integer_nodes, inputs)
        return Sites(analysis, plans, homes, _borders(graph, analysis, homes))

    def gate_of(
        self,
        low: Lowering,
        value: str,
        codes: Codes,
        together: int = 1,
        tolerance: float = 0.0,
    ) -> Any:
        """The gate in front of a value; one that passes every change where the plan has none.

        Args:
            tolerance: by default, and where it is 0, the plan's.
        """
        plan = self.plans[value].gate if value in self.plans else None
        return gate_of(plan, tolerance or low.plan.tolerance, codes, together)

    def made_by_layer(self, value: str) -> str:
        """What the step of a layer makes instead of its own value, see `Analysis.tails`."""
        if value in self.analysis.apart:
            return value
        return self.analysis.tails.get(value, value)

    def codes(self, value: str, channels: int) -> Codes:
        """What the plan says of a value's codes."""
        return codes_of(self.plans[value], channels)

    def new(
        self, low: Lowering, value: str, codes: Codes | None = None, *, packed: bool = False
    ) -> Coded:
        """A fresh tensor for a value.

        Args:
            codes: taken over from elsewhere; by default those of the plan.
            packed: without gaps between sites, if the tensor holds nothing else.
        """
        order = self.analysis.codings[value].order
        channels = low.graph.shape(value)[order[-1]]
        dims = layout.apply(order, low.graph.shape(value))
        root, first = self.root(value)
        outer, border = self._outer(low, root, order)
        if root not in self.tensors:
            joined = low.graph.shape(root)[order[-1]]
            tensor = int(
                _native.add_code_tensor(
                    low.program, outer, border, joined, packed and joined == channels
                )
            )
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
                low.program, f"{value} reordered", x.tensor, tensor, _inverse(codes),
                *_bounds(codes), gate_of(None, 0.0, codes),
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
        border = self.borders.get((root, order), ())
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
        return self.encode(low, value, value)

    def encode(
        self,
        low: Lowering,
        source: str,
        value: str,
        factor: float = 1.0,
        quantization: Unary | None = None,
    ) -> Coded:
        """Codes of a value that is a multiple of one in floats."""
        x = low.in_order(source, self.analysis.codings[value].order)
        y = self.new(low, value)
        _native.add_encode_sites(
            low.program, f"{source} encoded", x.tensor, y.tensor, _inverse(y.codes, factor),
            *_bounds(y.codes, quantization), self.gate_of(low, value, y.codes),
        )  # fmt: skip
        return y

    def input(
        self,
        low: Lowering,
        source: str,
        index: int,
        factor: float = 1.0,
        quantization: Unary | None = None,
    ) -> None:
        """A graph input, encoded where the caller has it, be it by the quantization that reads
        it."""
        value = self.analysis.pictures.get(source, source)
        picture = is_picture(low.graph, self.analysis, source)
        y = self.new(low, value, packed=picture)
        label, inverse = f"{source} encoded", _inverse(y.codes, factor)
        bounds = _bounds(y.codes, quantization)
        if not picture:
            gate = self.gate_of(low, value, y.codes)
            _native.add_input_sites(low.program, label, index, y.tensor, inverse, *bounds, gate)
            return
        self.together[y.tensor] = BLOCK
        gate = self.gate_of(low, value, y.codes, BLOCK)
        motion = self.gate_of(low, value, y.codes, BLOCK, low.plan.motion_tolerance)
        pixels = _scale_of(low.plan.input, source)
        if not pixels[0].size and low.graph.declared.get(source) == "uint8":
            pixels = np.ones_like(inverse), np.zeros_like(inverse)
        _native.add_picture_sites(
            low.program, label, index, y.tensor, inverse, *bounds, *pixels,
            *self._normalisation(source, len(inverse)), gate, motion,
        )  # fmt: skip

    def _normalisation(self, source: str, channels: int) -> tuple[Floats, Floats]:
        """(factor, offset) of what the network makes of an input before its codes; of no channels
        where it makes nothing."""
        prepared = self.analysis.prepared.get(source)
        if prepared is None or not prepared.is_normalised:
            return NO_NUMBERS, NO_NUMBERS
        return (
            np.ones(channels, np.float32) if prepared.factor is None else prepared.factor,
            np.zeros(channels, np.float32) if prepared.offset is None else prepared.offset,
        )

    def decode(
        self, low: Lowering, value: str, product: str | None = None, factors: Reals | float = 1.0
    ) -> Placed:
        """A value in codes as floats; or its product with numbers, one or one per channel."""
        x = self.values[value]
        placed = low.new(product or value, x.order)
        _native.add_decode_sites(
            low.program, f"{product or value} decoded", x.tensor, placed.tensor,
            (x.codes.unit * factors).astype(np.float32),
        )  # fmt: skip
        return placed


def _scale_of(format: InputFormat | None, value: str) -> tuple[Floats, Floats]:
    """What pixels of a graph input stand for; empty where the plan does not say."""
    if format is None or format.name != value:
        return NO_NUMBERS, NO_NUMBERS
    return pixel_scale(format)


def _inverse(codes: Codes, factor: float = 1.0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return (factor / codes.unit).astype(np.float32)


def _bounds(codes: Codes, quantization: Unary | None = None) -> tuple[int, int]:
    if quantization is None:
        return -codes.limit, codes.limit
    low, high = quantization.params
    return int(low), int(high)


def _borders(
    graph: Graph, analysis: Analysis, homes: dict[str, Home]
) -> dict[tuple[str, Dims], Dims]:
    """Zeros that windows reach around every tensor, by spatial axis; values that lie in one tensor
    share them."""
    borders: dict[tuple[str, Dims], Dims] = {}
    for node in graph.nodes:
        if node.name not in analysis.integer_nodes or not isinstance(node.op, Conv | ConvTranspose):
            continue
        value = node.inputs[0]
        axes = axes_of(node.op, graph.shape(value), graph.shape(node.outputs[0]))
        reach = tuple(axis.border() for axis in axes)
        order, root = order_read(graph, node), value
        if order == analysis.codings[value].order:
            root, _ = root_of(homes, value)
        known = borders.get((root, order), (0,) * len(reach))
        borders[root, order] = tuple(map(max, known, reach))
    return borders

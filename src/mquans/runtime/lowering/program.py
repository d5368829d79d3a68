"""Graph + plan -> native program: where every value lies, and the steps of one frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans import _native
from mquans.errors import ModelError, PlanError, UnsupportedOperatorError
from mquans.graph import (
    Conv,
    ConvTranspose,
    Fallback,
    Graph,
    Linear,
    Node,
    Recurrence,
    Unary,
)
from mquans.graph.rewrites.split_wide_layers import MOST_INPUTS
from mquans.plan import LayerPlan, Plan
from mquans.runtime.lowering import layout
from mquans.runtime.lowering.chains import Chain, add_chain, chains_of
from mquans.runtime.lowering.geometry import Grid, layer_grids, natural_weight, pointwise_grids
from mquans.runtime.lowering.inputs import (
    input_coding,
    input_order,
    input_quantization,
    only_coded,
    takes_pictures,
)
from mquans.runtime.lowering.layout import Dims, Placed
from mquans.runtime.lowering.lowered import FallbackCall, Lowered, SiteLayer
from mquans.runtime.lowering.norms import PixelNorm, pixel_norms
from mquans.runtime.lowering.operators import activation_code, add_operator
from mquans.runtime.lowering.quantization import (
    deltas,
    grid_limit,
    quantize_weights,
    rule_tables,
    steps,
)
from mquans.runtime.lowering.recurrence import FORWARD, NO_TIME, add_recurrence
from mquans.runtime.lowering.sites.analysis import Analysis, analyse
from mquans.runtime.lowering.sites.operators import add_site_node
from mquans.runtime.lowering.sites.placing import Sites
from mquans.runtime.lowering.slots import Slot, slots_of
from mquans.runtime.lowering.windows import Windows, windows_of

Weight = npt.NDArray[np.float64]


@dataclass(slots=True)
class Lowering:
    """The state of one lowering. Operators use `place`, `in_order`, `new`."""

    graph: Graph
    plan: Plan
    program: Any
    sites: Sites
    placed: dict[str, Placed] = field(default_factory=dict)
    reordered: dict[tuple[str, Dims], Placed] = field(default_factory=dict)
    quantized: dict[tuple[int, int, int, bytes, bytes], int] = field(default_factory=dict)
    sliced: set[int] = field(default_factory=set)
    # Parts of concatenations that may be written in place.
    slots: dict[str, Slot] = field(default_factory=dict)
    # Concatenations that were not made since only gathers read them: their parts.
    joined: dict[str, list[Placed]] = field(default_factory=dict)
    # Rows that lie where the sequence is that they are windows of.
    windows: dict[str, Windows] = field(default_factory=dict)
    # Normalizations over space.
    norms: dict[str, PixelNorm] = field(default_factory=dict)
    # Functions of one value that are one step.
    chains: dict[str, Chain] = field(default_factory=dict)
    fallbacks: list[FallbackCall] = field(default_factory=list)
    layers: dict[str, int] = field(default_factory=dict)

    def new(self, value: str, order: Dims, *, stored: bool = True) -> Placed:
        """A fresh tensor for a value, in an order; not stored where only codes of it are read."""
        dims = layout.apply(order, self.graph.shape(value))
        tensor = self._slot(value, order) if stored and value in self.slots else None
        if tensor is None:
            tensor = self.program.add_tensor(*layout.pixels(dims), stored)
        result = Placed(tensor, order, dims)
        self.placed[value] = result
        return result

    def _slot(self, value: str, order: Dims) -> int | None:
        """The part of the concatenation that reads a value, if it lies there in the same order."""
        slot, shape = self.slots[value], self.graph.shape(value)
        part = self.graph.shape(slot.part)
        whole_order = order if slot.part == value else layout.reshaped_order(order, shape, part)
        if whole_order is None:
            return None
        dims, place = layout.apply(whole_order, part), whole_order.index(slot.axis)
        channels = place == len(dims) - 1
        if channels:
            if slot.part != value:
                return None
        elif prod(dims[:place]) != 1 or dims[-1] != shape[order[-1]]:
            return None
        whole = self.placed.get(slot.joined) or self.new(slot.joined, whole_order)
        if whole.order != whole_order:
            return None
        if channels:
            tensor = int(self.program.add_view(whole.tensor, slot.first, dims[-1]))
            self.sliced.add(tensor)
            return tensor
        if whole.tensor in self.sliced:
            return None
        rows, width, _ = layout.pixels(layout.apply(order, shape))
        first = slot.first * prod(dims[place + 1 : -1])
        return int(self.program.add_part(whole.tensor, first, rows, width))

    def constant(self, value: str, order: Dims) -> Placed:
        """A constant of the graph, stored in an order."""
        key = (value, order)
        if key not in self.reordered:
            dims = layout.apply(order, self.graph.shape(value))
            array = np.ascontiguousarray(self.graph.constants[value].transpose(order), np.float32)
            tensor = self.program.add_constant(*layout.pixels(dims), array.reshape(-1))
            self.reordered[key] = Placed(tensor, order, dims)
        return self.reordered[key]

    def is_constant(self, value: str) -> bool:
        return value in self.graph.constants

    def order_of(self, value: str) -> Dims:
        """Order in which a value lies now; row-major for constants, which may lie anyhow."""
        if self.is_constant(value):
            return layout.identity(len(self.graph.shape(value)))
        return self.as_floats(value).order

    def as_floats(self, value: str) -> Placed:
        """Where a computed value lies as floats; decoded now where it was only made as codes."""
        if value not in self.placed:
            self.sites.decode(self, value)
        return self.placed[value]

    def in_order(self, value: str, order: Dims) -> Placed:
        """A value in a wanted order: as it is, read differently, or copied by a step."""
        if self.is_constant(value):
            return self.constant(value, order)
        placed = self.as_floats(value)
        if placed.order == order:
            return placed
        key = (value, order)
        if key not in self.reordered:
            self.reordered[key] = self._reorder(value, placed, order)
        return self.reordered[key]

    def _reorder(self, value: str, placed: Placed, order: Dims) -> Placed:
        shape = self.graph.shape(value)
        dims = layout.apply(order, shape)
        if layout.same_memory(placed.order, order, shape):
            return self.reread(value, placed, order, dims)
        tensor = self.program.add_tensor(*layout.pixels(dims))
        perm = tuple(placed.order.index(axis) for axis in order)
        _native.add_permute(
            self.program, f"{value} permuted", placed.tensor, placed.dims, perm, tensor, dims
        )
        return Placed(tensor, order, dims)

    def compact(self, value: str, placed: Placed) -> Placed:
        """A copy without gaps where the value is a channel slice of a wider tensor."""
        if placed.tensor not in self.sliced:
            return placed
        tensor = self.program.add_tensor(*layout.pixels(placed.dims))
        _native.add_copy(self.program, f"{value} compacted", placed.tensor, tensor)
        return Placed(tensor, placed.order, placed.dims)

    def reread(self, value: str, placed: Placed, order: Dims, dims: Dims) -> Placed:
        """The same memory, cut into other rows, pixels and channels."""
        if layout.pixels(dims) == layout.pixels(placed.dims):
            return Placed(placed.tensor, order, dims)
        placed = self.compact(value, placed)
        tensor = self.program.add_reshaped(placed.tensor, *layout.pixels(dims))
        _native.add_alias(self.program, f"{value} reread", placed.tensor, placed.dims, tensor, dims)
        return Placed(tensor, order, dims)

    def reuse_layer(self, node: Node) -> None:
        """A Conv, ConvTranspose or Linear: its input on the grid, then the layer."""
        op = node.op
        assert isinstance(op, Conv | ConvTranspose | Linear)
        layer = self.plan.layer(node.name)
        shape, out_shape = self.graph.shape(node.inputs[0]), self.graph.shape(node.outputs[0])
        weight = np.asarray(self.graph.constants[node.inputs[1]], np.float64)
        batch = op.batch if isinstance(op, Linear) else 0
        if isinstance(op, Linear):
            order = layout.identity(len(shape))
            groups = 1
            grids = pointwise_grids((1, batch, 1) if batch else shape)
            weight = weight.T
        else:
            order = layout.channels_last(len(shape))
            groups = op.groups
            grids = layer_grids(op, shape, out_shape)
            if isinstance(op, ConvTranspose):
                weight = natural_weight(weight, groups)
        inputs = self.graph.neurons(node)
        bias = node.inputs[2] if len(node.inputs) > 2 else ""
        x = self.in_order(node.inputs[0], order)
        if batch:
            x = self.reread(node.inputs[0], x, order, _time_steps(shape, batch))
            dims = _time_steps(out_shape, batch)
            y = Placed(self.program.add_tensor(*dims), order, dims)
        else:
            y = self.new(node.outputs[0], order)
        quantized = self.quantize(x, layer, inputs, groups, time=FORWARD if batch else NO_TIME)
        self.layers[node.name] = self.add_layer(
            node.name, layer, quantized, y.tensor, weight, bias, grids,
            groups=groups, activation=op.activation,
        )  # fmt: skip
        if batch:
            self.placed[node.outputs[0]] = self.reread(node.outputs[0], y, order, out_shape)

    def add_layer(
        self, name: str, layer: LayerPlan, quantized: int, y: int, weight: Weight, bias: str,
        grids: tuple[Grid, Grid], *, groups: int = 1, activation: Unary | None = None,
        externally_clocked: bool = False,
    ) -> int:  # fmt: skip
        """The native layer over a quantized tensor: integer weights and what follows them.

        Args:
            weight: [outputs, inputs of a group, kernel...].
            bias: a constant of the graph, or "" for none.
            externally_clocked: a recurrence runs it.
        """
        constant = self.graph.constants[bias] if bias else np.zeros(weight.shape[0])
        if not np.isfinite(weight).all() or not np.isfinite(constant).all():
            raise ModelError("the layer has weights that are NaN or infinite.", where=name)
        inputs = weight.shape[1]
        if inputs > MOST_INPUTS:
            raise UnsupportedOperatorError(
                f"the layer has {inputs} inputs; the engine's change lists hold at most "
                f"{MOST_INPUTS}.",
                where=name,
            )
        # A grid unit of neuron c is worth delta[c]: the integer weights carry it.
        delta = deltas(layer, inputs * groups).reshape(groups, 1, inputs, *[1] * (weight.ndim - 2))
        weight = (weight.reshape(groups, -1, *weight.shape[1:]) * delta).reshape(weight.shape)
        integers = quantize_weights(weight, bits=layer.weight_bits, grid_bits=self.plan.grid_bits)
        kind, a, b = activation_code(activation)
        rows, cols = grids
        return int(
            self.program.add_layer(
                name=name,
                input=quantized,
                y=y,
                groups=groups,
                row_grid=rows.reshape(-1),
                row_taps=rows.shape[1],
                col_grid=cols.reshape(-1),
                col_taps=cols.shape[1],
                weights=np.ascontiguousarray(integers.values).reshape(-1),
                weight_bits=layer.weight_bits,
                scale=np.ascontiguousarray(integers.scale, np.float32),
                bias=np.ascontiguousarray(constant, np.float32).reshape(-1),
                activation=kind,
                a=a,
                b=b,
                externally_clocked=externally_clocked,
            )
        )

    def quantize(
        self, x: Placed, layer: LayerPlan, neurons: int, groups: int = 1, *, time: int = NO_TIME,
        externally_clocked: bool = False,
    ) -> int:  # fmt: skip
        """A tensor on the grid. Layers that read the same one with the same precision share it."""
        step, delta = steps(layer, self.plan.grid_bits, neurons), deltas(layer, neurons)
        key = (x.tensor, groups, time, delta.tobytes(), step.tobytes())
        if key not in self.quantized:
            tables = rule_tables(self.plan.rule, step)
            self.quantized[key] = self.program.add_quantized(
                x=x.tensor,
                limit=float(grid_limit(self.plan.grid_bits)),
                groups=groups,
                inverse_delta=(1.0 / delta).astype(np.float32),
                offset=tables.offset,
                mask=tables.mask,
                threshold=tables.threshold,
                order=time,
                externally_clocked=externally_clocked,
            )
        return self.quantized[key]

    def fallback(self, node: Node) -> None:
        """onnxruntime runs the node between two native runs."""
        inputs = [
            self.in_order(value, self.row_major(value)) if self.is_native(value) else None
            for value in node.inputs
        ]
        step = len(self.program.steps)
        outputs = [
            self.new(value, self.row_major(value)) if self.is_native(value) else None
            for value in node.outputs
        ]
        self.fallbacks.append(FallbackCall(step, node, tuple(inputs), tuple(outputs)))

    def is_native(self, value: str) -> bool:
        """True when the engine can hold a value: float32 of a known size."""
        kind = self.graph.types[value]
        return kind.dtype == "float32" and min(kind.shape, default=0) >= 0

    def row_major(self, value: str) -> Dims:
        """The order in which everyone else stores a value."""
        return layout.identity(len(self.graph.shape(value)))

    def port(self, value: str) -> tuple[int, npt.NDArray[np.int64], int, int]:
        """Arguments of add_input and add_output for a value."""
        placed = self.as_floats(value)
        offsets, x_step, c_step = layout.row_offsets(placed)
        return placed.tensor, np.asarray(offsets, np.int64), x_step, c_step


def _time_steps(shape: Dims, batch: int) -> Dims:
    """(time steps, batch, features) of rows that follow each other in time."""
    return prod(shape[:-1]) // batch, batch, shape[-1]


def _add_node(lowering: Lowering, node: Node, analysis: Analysis) -> None:
    if isinstance(node.op, Recurrence):
        add_recurrence(lowering, node, node.op)
    elif node.name in analysis.integer_nodes:
        add_site_node(lowering, node)
    elif node.is_reuse:
        lowering.reuse_layer(node)
    elif isinstance(node.op, Fallback):
        lowering.fallback(node)
    elif node.outputs[0] in lowering.chains:
        add_chain(lowering, lowering.chains[node.outputs[0]])
    else:
        add_operator(lowering, node)


def lower(graph: Graph, plan: Plan, *, isa: str, threads: int) -> Lowered:
    """Builds the native program of a network under a plan.

    Raises:
        ModelError: the graph holds something that the engine cannot place.
    """
    program = _native.Program(isa, threads)
    analysis = analyse(graph, {layer.name for layer in plan.layers})
    sites = Sites.of(graph, plan, analysis)
    slots = slots_of(graph, analysis.integer_nodes | analysis.idle)
    windows, norms, chains = windows_of(graph), pixel_norms(graph), chains_of(graph, analysis)
    lowering = Lowering(
        graph, plan, program, sites, slots=slots, windows=windows, norms=norms, chains=chains
    )
    merged: tuple[Windows | PixelNorm | Chain, ...]
    merged = (*windows.values(), *norms.values(), *chains.values())
    skipped = {value for step in merged for value in step.skipped}
    stored_inputs = {}
    for value in graph.inputs:
        order = input_order(graph, value)
        coded = only_coded(graph, analysis, value)
        if coded:
            order = input_coding(analysis, value)
        placed = lowering.new(value, order, stored=not coded)
        index = program.add_input(*lowering.port(value))
        if coded:
            sites.input(lowering, value, index, *input_quantization(graph, analysis, value))
        else:
            stored_inputs[value] = placed.tensor
    for node in graph.nodes:
        if node.name in analysis.idle or node.outputs[0] in skipped:
            continue
        try:
            _add_node(lowering, node, analysis)
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            raise ModelError(
                f"the engine has no program for it ({str(error).splitlines()[0]}).",
                where=f"node {node.name!r}",
                hint="If onnxruntime runs the model, please report this with it.",
            ) from error
    outputs = tuple(value for value in graph.outputs if lowering.is_native(value))
    for value in outputs:
        if lowering.is_constant(value):
            lowering.placed[value] = lowering.constant(value, lowering.row_major(value))
        program.add_output(*lowering.port(value))
    program.finish()
    if plan.motion_gate:
        if not takes_pictures(graph, analysis):
            raise PlanError(
                "the plan has a motion gate, but no input of the network is a picture.",
                where="motion_gate",
                hint="Calibrate again without one.",
            )
        program.motion_gate = plan.motion_gate
    site_layers = {name: SiteLayer(*rest) for name, *rest in _native.site_layers(program)}
    return Lowered(
        program, lowering.fallbacks, lowering.layers, sites, site_layers, stored_inputs, outputs
    )

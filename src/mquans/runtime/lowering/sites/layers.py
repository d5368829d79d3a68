"""Layers over sites in a program: convolutions, transposed ones, linear layers over many sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mquans import _native
from mquans.errors import ModelError
from mquans.graph import Conv, ConvTranspose, Linear, Node
from mquans.runtime.lowering.geometry import natural_weight
from mquans.runtime.lowering.sites.activations import (
    IntegerActivation,
    codes_behind,
    integer_activation,
    integer_lookup,
)
from mquans.runtime.lowering.sites.analysis import order_read
from mquans.runtime.lowering.sites.arithmetic import (
    LARGEST_WEIGHT,
    TILED_LIMIT,
    Codes,
    IntegerLayer,
    Ints,
    Reals,
    integer_layer,
    quantized_layer,
    tiled_layer,
)
from mquans.runtime.lowering.sites.depthwise import depthwise_layer
from mquans.runtime.lowering.sites.geometry import (
    Axis,
    CodeLayout,
    Phase,
    axes_of,
    conv_reach,
    pays_by_tiles,
    phases_of,
)
from mquans.runtime.lowering.sites.placing import Coded
from mquans.runtime.lowering.sites.whole_steps import Lookup

if TYPE_CHECKING:
    from mquans.runtime.lowering.program import Lowering


def add_site_layer(low: Lowering, node: Node) -> None:
    """The native step of one layer, from the codes of its input to those of its output."""
    op = node.op
    assert isinstance(op, Conv | ConvTranspose | Linear)
    x = low.sites.coded(low, node.inputs[0], order_read(low.graph, node))
    value = low.sites.made_by_layer(node.outputs[0])
    y = low.sites.new(low, value, _own_codes(low, node))
    weight = np.asarray(low.graph.constants[node.inputs[1]], np.float64)
    groups = 1 if isinstance(op, Linear) else op.groups
    if isinstance(op, Linear):
        weight = weight.T
    elif isinstance(op, ConvTranspose):
        weight = natural_weight(weight, groups)
    outputs = weight.shape[0]
    bias = np.zeros(outputs)
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = np.asarray(low.graph.constants[node.inputs[2]], np.float64).reshape(-1)
    if not np.isfinite(weight).all() or not np.isfinite(bias).all():
        raise ModelError("the layer has weights that are NaN or infinite.", where=node.name)
    lookup = low.sites.analysis.steps.get(value)
    if isinstance(lookup, Lookup):
        activation = integer_lookup(lookup.first, lookup.results, y.codes)
    else:
        activation = integer_activation(op.activation, y.codes, where=node.name)
    gate = low.sites.gate_of(low, value, y.codes)
    axes, reach = _windows(low, node, x)
    x_layout = low.sites.layout(low, x)
    macs = low.graph.macs(node)
    if groups > 1 and groups == weight.shape[0] and weight.shape[1] == 1 and isinstance(op, Conv):
        factors = weight.reshape(outputs, -1)
        _depthwise(low, node, x, y, factors, bias, activation, gate, axes, reach, x_layout, macs)
        return
    inputs = weight.shape[1]
    group_of = np.arange(outputs) // (outputs // groups)
    x_unit = x.codes.unit.reshape(groups, inputs)[group_of]
    layer, tiled = layer_integers(
        op, weight, bias, x_unit, activation.sum_exponents, x.codes.limit, where=node.name
    )
    exact = layer.scaled and not x.codes.exponents.any()
    least = low.sites.analysis.least.get(node.inputs[0]) if exact else None
    # Pixels whose channels follow each other are read as one line.
    close = groups == 1 and x_layout.stride - inputs <= 1
    joined = close and not tiled and bool(axes) and axes[-1].dilation == 1
    integers = layer.weights.reshape(outputs, inputs, *(axis.taps for axis in axes))
    by_tap = np.moveaxis(integers, (0, 1), (-2, -1))
    phases = []
    for phase in phases_of(axes, x_layout) if axes else [_everywhere(x_layout)]:
        lines = [by_tap[tap] for tap, _ in phase.taps]
        offsets = [at for _, at in phase.taps]
        if joined and len(lines) > 1:
            offsets, lines = _join(offsets, lines, x_layout.stride)
        packed = np.stack(lines, axis=1) if lines else np.empty((outputs, 0, inputs), np.int16)
        phases.append(
            _native.ConvPhase(
                phase.rows, phase.columns, np.asarray(offsets, np.int32), packed.shape[2],
                np.ascontiguousarray(packed).reshape(-1), layer.bias, layer.shift,
                outputs * inputs * phase.all_taps,
            )
        )  # fmt: skip
    _native.add_conv_sites(
        low.program, node.name, x.tensor, y.tensor, reach, phases, activation.native, gate,
        groups, tiled, layer.scaled, least, macs,
    )  # fmt: skip


def _own_codes(low: Lowering, node: Node) -> Codes | None:
    """Those of a quantized layer of which the plan does not speak, as a lookup follows."""
    value, op = node.outputs[0], node.op
    if value not in low.sites.analysis.apart:
        return None
    assert isinstance(op, Conv | ConvTranspose | Linear)
    channels = low.graph.shape(value)[low.sites.analysis.codings[value].axis]
    return codes_behind(op.activation, Codes(np.zeros(channels, np.int64), LARGEST_WEIGHT))


def layer_integers(
    op: Conv | ConvTranspose | Linear, weight: Reals, bias: Reals, x_unit: Reals,
    y_exponents: Ints, x_limit: int, *, where: str,
) -> tuple[IntegerLayer, bool]:  # fmt: skip
    """(integers of a layer that is not depthwise, whether it may be computed by tiles); arguments
    as those of `integer_layer`."""
    numbers = (weight, bias, x_unit, y_exponents, x_limit)
    pays = pays_by_tiles(op, weight.shape[1], len(weight))
    if _is_quantized(op):
        for by_tiles in (True, False) if pays and x_limit <= TILED_LIMIT else (False,):
            if quantized := quantized_layer(*numbers, tiled=by_tiles):
                return quantized, by_tiles
    tiled = tiled_layer(*numbers) if pays else None
    return tiled or integer_layer(*numbers, where=where), tiled is not None


def _is_quantized(op: Conv | ConvTranspose | Linear) -> bool:
    return op.activation is not None and op.activation.kind == "quantize"


def _depthwise(
    low: Lowering, node: Node, x: Coded, y: Coded, factors: Reals, bias: Reals,
    activation: IntegerActivation, gate: Any, axes: list[Axis], reach: Any, x_layout: CodeLayout,
    macs: int,
) -> None:  # fmt: skip
    assert isinstance(node.op, Conv)
    (phase,) = phases_of(axes, x_layout)
    layer = depthwise_layer(
        factors, bias, x.codes, activation.sum_exponents, quantized=_is_quantized(node.op),
        where=node.name,
    )  # fmt: skip
    inner = layer.weights.T[[np.ravel_multi_index(tap, node.op.kernel) for tap, _ in phase.taps]]
    _native.add_depthwise_sites(
        low.program, node.name, x.tensor, y.tensor, reach, phase.rows, phase.columns,
        np.asarray([at for _, at in phase.taps], np.int32),
        np.ascontiguousarray(inner).reshape(-1), layer.bias, layer.shift, layer.narrow,
        activation.native, gate, layer.scaled, macs,
    )  # fmt: skip


def _windows(low: Lowering, node: Node, x: Coded) -> tuple[list[Axis], Any]:
    """Spatial axes of a layer, none for linear ones, and which outputs a changed input reaches."""
    reach = _native.Reach()
    op = node.op
    if isinstance(op, Linear):
        reach.same = True
        return [], reach
    assert isinstance(op, Conv | ConvTranspose)
    inputs, outputs = low.graph.shape(node.inputs[0]), low.graph.shape(node.outputs[0])
    axes = axes_of(op, inputs, outputs)
    if all(a.taps == 1 and a.stride == 1 and not a.pad and a.inputs == a.outputs for a in axes):
        reach.same = True
    else:
        tables = conv_reach(op, inputs, outputs)
        reach.windows(tables.row_begin, tables.row_input, tables.column_begin, tables.column_output)
    return axes, reach


def _everywhere(x: CodeLayout) -> Phase:
    """Every site by itself."""
    pitches = x.pitches
    rows = np.array([x.first])
    for size, pitch in zip(x.dims[:-1], pitches[:-1], strict=True):
        rows = (rows[:, None] + np.arange(size)[None, :] * pitch).reshape(-1)
    columns = np.arange(x.dims[-1]) * pitches[-1]
    return Phase(rows.astype(np.int32), columns.astype(np.int32), [((), 0)], 1)


def _join(
    offsets: list[int], lines: list[npt.NDArray[np.int16]], stride: int
) -> tuple[list[int], list[npt.NDArray[np.int16]]]:
    """Taps at neighbouring sites as one longer tap."""
    order = np.argsort(offsets)
    starts, joined = list[int](), list[list[npt.NDArray[np.int16]]]()
    for index in order:
        line = lines[index]
        padded = np.pad(line, ((0, 0), (0, stride - line.shape[1])))
        if joined and offsets[index] == starts[-1] + stride * len(joined[-1]):
            joined[-1].append(padded)
        else:
            starts.append(offsets[index])
            joined.append([padded])
    if len({len(parts) for parts in joined}) > 1:
        return offsets, lines
    return starts, [np.concatenate(parts, axis=1) for parts in joined]

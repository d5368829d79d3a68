"""Steps that make quantized values, see `whole_steps`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mquans import _native
from mquans.graph import Node, Unary
from mquans.runtime.lowering.sites.activations import integer_activation, integer_lookup
from mquans.runtime.lowering.sites.combining import aligned
from mquans.runtime.lowering.sites.whole_steps import Blend, Encoded, Lookup, WholeStep, places_of

if TYPE_CHECKING:
    from mquans.runtime.lowering.program import Lowering


def add_whole_step(low: Lowering, node: Node, step: WholeStep) -> None:
    """The step of a quantization."""
    assert isinstance(node.op, Unary)
    sites, value = low.sites, node.outputs[0]
    match step:
        case Encoded(source, factor):
            if value not in sites.analysis.pictures.values():
                sites.encode(low, source, value, factor, node.op)
        case Lookup(source, first, results):
            if sites.made_by_layer(source) == value:
                return
            x, y = sites.coded(low, source), sites.new(low, value)
            activation = integer_lookup(first, results, y.codes)
            _native.add_align_sites(
                low.program, node.name, y.tensor, aligned(x, activation.sum_exponents),
                activation.native, sites.gate_of(low, value, y.codes),
            )  # fmt: skip
        case Blend(a, b):
            operands = [sites.coded(low, name) for name in (a, b)]
            y = sites.new(low, value)
            places = places_of(step, *(operand.codes.limit for operand in operands))
            _native.add_whole_sites(
                low.program, node.name, y.tensor, operands[0].tensor, operands[1].tensor,
                step.product,
                round(step.a_factor * 2.0**places), round(step.b_factor * 2.0**places), places,
                integer_activation(node.op, y.codes, where=node.name).native,
                sites.gate_of(low, value, y.codes),
            )  # fmt: skip

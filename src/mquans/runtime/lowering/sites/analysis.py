"""Which values of a network are held as codes, and in which order of axes.

Convolutions, and linear layers over many sites, read and write codes. What lies between them stays
in codes where it has an integer form; everything else is computed in floats.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod

from mquans.graph import (
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Gather,
    Graph,
    Linear,
    Node,
    Pad,
    Pool,
    Reshape,
    Resize,
    Slice,
    Transpose,
    Unary,
    bounds_of,
    functions_before_quotients,
    products_with_quotients,
)
from mquans.runtime.lowering import layout
from mquans.runtime.lowering.layout import Dims
from mquans.runtime.lowering.sites.activations import OWN_CODES
from mquans.runtime.lowering.sites.forms import Form, integer_form, whole_form
from mquans.runtime.lowering.sites.pictures import Prepared, find_prepared, lies_as_picture
from mquans.runtime.lowering.sites.whole_steps import (
    ENTRIES,
    Blend,
    Encoded,
    Lookup,
    WholeStep,
    find_whole_steps,
)

MOVES = Concat | Gather | Pad | Pool | Reshape | Resize | Slice | Transpose
"""What hands on codes as they are, or means of them."""

MANY_SITES = 8
"""Sites from which on a linear layer is computed by sites; of fewer, single values are skipped."""


@dataclass(frozen=True, slots=True)
class Coding:
    """How one value lies as codes.

    Attributes:
        order: of its axes, channels last.
        fresh: its exponents are its own, not taken over from what it is made of.
    """

    order: Dims
    fresh: bool

    @property
    def axis(self) -> int:
        """Logical axis of the channels."""
        return self.order[-1]


@dataclass(slots=True)
class Analysis:
    """What the integer engine does with a network.

    Attributes:
        codings: of every value that is held as codes.
        integer_nodes: names of nodes that are computed on codes.
        tails: of residual sums, the value of the activation that alone reads the sum, and of
            quantized layers that of the lookup. A plan speaks of that value instead.
        steps: of quantized values, the one step that makes them.
        pictures: of graph inputs that nothing else reads, what is made of them in codes: by
            a quantization, by what `find_prepared` finds, or by both.
        prepared: of the same inputs, how.
        idle: names of nodes that nothing reads, as steps do their work.
        apart: quantized layers whose own values are read in spite of a lookup behind them.
        least: of values in whole steps of 8 bits that layers read, the least one.
        gated: values that a gate can stand in front of: inputs of the network, results of layers
            over sites and of residual sums, lookups behind layers, and what is encoded from floats.
            Everything else passes on each change.
    """

    codings: dict[str, Coding] = field(default_factory=dict)
    integer_nodes: set[str] = field(default_factory=set)
    tails: dict[str, str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    steps: dict[str, WholeStep] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)
    prepared: dict[str, Prepared] = field(default_factory=dict)
    idle: set[str] = field(default_factory=set)
    apart: set[str] = field(default_factory=set)
    least: dict[str, int] = field(default_factory=dict)

    def fresh(self) -> dict[str, Coding]:
        """The values that a plan speaks about."""
        return {name: coding for name, coding in self.codings.items() if coding.fresh}


def is_site_layer(graph: Graph, node: Node) -> bool:
    """A layer with constant weights that is computed site by site."""
    match node.op:
        case Conv() | ConvTranspose():
            return True
        case Linear(batch=batch):
            shape = graph.shape(node.inputs[0])
            return not batch and len(shape) > 1 and prod(shape[:-1]) >= MANY_SITES
        case _:
            return False


def order_read(graph: Graph, node: Node) -> Dims:
    """Order of axes in which a layer over sites reads and writes."""
    rank = len(graph.shape(node.inputs[0]))
    return layout.identity(rank) if isinstance(node.op, Linear) else layout.channels_last(rank)


def analyse(graph: Graph, by_value: Collection[str] = ()) -> Analysis:
    """Finds the values that are held as codes. Which values are outputs does not count: exposing
    one changes no others.

    Args:
        by_value: layers computed value by value instead.
    """
    layers = {
        node.name
        for node in graph.nodes
        if is_site_layer(graph, node) and node.name not in by_value
    }
    prepared = find_prepared(graph)
    normalising = {
        node for value in prepared.values() if value.is_normalised for node in value.nodes
    }
    steps = find_whole_steps(graph, normalising)
    producers = graph.producers()
    in_floats = _beyond_codes(graph, producers) | normalising
    in_floats |= functions_before_quotients(graph) | products_with_quotients(graph)
    while True:
        result = _coded(graph, layers, steps, in_floats)
        # What turns out not to be in codes is made node by node.
        lost = {
            value
            for value in steps.keys() & result.codings.keys()
            if producers[value].name not in result.integer_nodes
        }
        if not lost:
            break
        steps = {value: step for value, step in steps.items() if value not in lost}
    result.steps = {value: step for value, step in steps.items() if value in result.codings}
    _find_tails(graph, result)
    result.gated = set(_gated(graph, result))
    _find_idle(graph, result, prepared)
    for node in graph.nodes:
        if node.name in layers and (bounds := bounds_of(producers, node.inputs[0])):
            low, high = bounds
            if low <= 0 <= high < low + ENTRIES:
                result.least[node.inputs[0]] = int(low)
    return result


def _beyond_codes(graph: Graph, producers: Mapping[str, Node]) -> set[str]:
    """Pads around codes of a fixed reach, of what lies beyond it."""
    found = set()
    for node in graph.nodes:
        if not isinstance(node.op, Pad) or not node.op.value:
            continue
        for op in _functions_behind(producers, node.inputs[0]):
            low, high = op.params if op.kind == "quantize" else (-1.0, 1.0)
            if op.kind in OWN_CODES and not low <= node.op.value <= high:
                found.add(node.name)
    return found


def _functions_behind(producers: Mapping[str, Node], value: str) -> Iterator[Unary]:
    """Those whose results make up a value."""
    seen, values = {value}, [value]
    while values:
        node = producers.get(values.pop())
        if node is not None and isinstance(node.op, Unary):
            yield node.op
        elif node is not None and isinstance(node.op, MOVES):
            values += set(node.inputs) - seen
            seen.update(node.inputs)


def _coded(
    graph: Graph,
    layers: Collection[str],
    steps: Mapping[str, WholeStep],
    in_floats: Collection[str],
) -> Analysis:
    wanted: dict[str, Dims] = {}
    forms: set[str] = set()
    for node in reversed(graph.nodes):
        if node.name in layers:
            wanted.setdefault(node.inputs[0], order_read(graph, node))
            continue
        order = wanted.get(node.outputs[0])
        if order is None or len(node.outputs) != 1 or node.name in in_floats:
            continue
        form = _form(graph, node, order, steps)
        if form is None:
            continue
        forms.add(node.name)
        for value in form.inputs:
            wanted.setdefault(value, order)
    result = Analysis()
    made: set[str] = set()
    for value in graph.inputs:
        if value in wanted and _is_native(graph, value):
            result.codings[value] = Coding(wanted[value], fresh=True)
    for node in graph.nodes:
        value = node.outputs[0]
        if node.name in layers:
            result.codings[value] = Coding(order_read(graph, node), fresh=True)
            result.integer_nodes.add(node.name)
            made.add(value)
            continue
        if wanted.keys().isdisjoint(node.outputs):
            continue
        order = wanted.get(value, ())
        form = _form(graph, node, order, steps) if node.name in forms else None
        ready = form is not None and all(
            name in result.codings
            and result.codings[name].order == order
            and (name in made or value not in steps)
            for name in form.inputs
        )
        step = steps.get(value)
        if isinstance(step, Encoded):
            ready = ready and _is_native(graph, step.source)
        if form is not None and ready:
            result.codings[value] = Coding(order, fresh=form.fresh)
            result.integer_nodes.add(node.name)
            made.add(value)
        else:
            for name in node.outputs:
                if name in wanted and _is_native(graph, name):
                    result.codings[name] = Coding(wanted[name], fresh=True)
    return result


def _form(graph: Graph, node: Node, order: Dims, steps: Mapping[str, WholeStep]) -> Form | None:
    step = steps.get(node.outputs[0])
    if step is None:
        return integer_form(graph, node, order)
    return whole_form(graph, node.outputs[0], step, order)


def is_residual_sum(graph: Graph, node: Node) -> bool:
    """A sum or difference of two computed values."""
    return (
        isinstance(node.op, Binary)
        and node.op.kind in ("add", "sub")
        and not any(value in graph.constants for value in node.inputs)
    )


def _find_tails(graph: Graph, result: Analysis) -> None:
    """Whether the sum is an output does not count: exposing a value changes no others."""
    consumers = graph.consumers()
    for node in graph.nodes:
        value = node.outputs[0]
        if node.name not in result.integer_nodes or not is_residual_sum(graph, node):
            continue
        match consumers.get(value, []):
            case [Node(name=name, op=Unary(kind=kind), outputs=(tail,))] if (
                name in result.integer_nodes and kind not in OWN_CODES
            ):
                _move(result, value, tail)
    layers = {
        node.outputs[0]
        for node in graph.nodes
        if node.name in result.integer_nodes and is_site_layer(graph, node)
    }
    readers = _readers_of_codes(graph, result)
    for value, step in result.steps.items():
        if isinstance(step, Lookup) and step.source in layers and readers[step.source] == [value]:
            _move(result, step.source, value)


def _move(result: Analysis, value: str, tail: str) -> None:
    result.tails[value] = tail
    result.codings[value] = replace(result.codings[value], fresh=False)
    result.codings[tail] = replace(result.codings[tail], fresh=True)


def _readers_of_codes(graph: Graph, result: Analysis) -> dict[str, list[str]]:
    """What is made of the codes of a value."""
    readers: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.name in result.integer_nodes:
            step = result.steps.get(node.outputs[0])
            for value in dict.fromkeys(step.sources if step else node.inputs):
                readers.setdefault(value, []).append(node.outputs[0])
    return readers


def _find_idle(graph: Graph, result: Analysis, prepared: Mapping[str, Prepared]) -> None:
    floats, encoded = set(graph.outputs), dict[str, list[str]]()
    for node in reversed(graph.nodes):
        value = node.outputs[0]
        if node.name in result.integer_nodes:
            step = result.steps.get(value)
            if isinstance(step, Encoded):
                encoded.setdefault(step.source, []).append(value)
            continue
        made = encoded.get(value, []) + [value] * (value in result.codings)
        if value not in floats and len(made) == 1 and value in prepared:
            origin = prepared[value]
            order = result.codings[made[0]].order
            as_picture = lies_as_picture(graph.shape(origin.source), origin.axes, order)
            if floats.isdisjoint(origin.before) and (as_picture or not origin.is_normalised):
                encoded.setdefault(origin.source, []).append(made[0])
                continue
        reads = (floats, result.codings.keys(), encoded.keys())
        if any(not read.isdisjoint(node.outputs) for read in reads):
            floats.update(node.inputs)
        else:
            result.idle.add(node.name)
    result.apart = floats & result.tails.keys()
    for source, made in encoded.items():
        alone = len(made) == 1 and source not in floats | result.codings.keys()
        if source in graph.inputs and alone:
            step = result.steps.get(made[0])
            origin = prepared[step.source if isinstance(step, Encoded) else made[0]]
            result.pictures[source], result.prepared[source] = made[0], origin
            result.idle.update(origin.nodes)


def _gated(graph: Graph, result: Analysis) -> Iterator[str]:
    producers, tails = graph.producers(), set(result.tails.values())
    for name in result.fresh():
        node, step = producers.get(name), result.steps.get(name)
        if (
            node is None
            or node.name not in result.integer_nodes
            or is_site_layer(graph, node)
            or is_residual_sum(graph, node)
            or name in tails
            or isinstance(step, Encoded)
            or (isinstance(step, Blend) and not step.product)
        ):
            yield name


def _is_native(graph: Graph, value: str) -> bool:
    kind = graph.types[value]
    return kind.dtype == "float32" and min(kind.shape, default=0) >= 0

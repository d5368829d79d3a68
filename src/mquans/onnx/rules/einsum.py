"""Einsum: products of one or two values, labels saying which axes are multiplied and summed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from mquans.graph import Binary, Linear, MatMul, Operator, Reduce, Reshape, Transpose
from mquans.onnx.call import Call, Refused, Rule

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Operand:
    """A value, or an array that is known, and the labels of its axes."""

    value: str | npt.NDArray[np.generic]
    labels: Labels
    shape: tuple[int, ...]

    @property
    def sizes(self) -> dict[str, int]:
        return dict(zip(self.labels, self.shape, strict=True))


def einsum(call: Call) -> None:
    terms, result = _labels(call)
    operands = [_operand(call, index, terms, result) for index in range(len(terms))]
    if len(operands) == 1:
        _finish(call, str(operands[0].value), operands[0].labels, result)
        return
    # What is constant comes second, as the weights of a layer do.
    a, b = operands[::-1] if call.is_constant(0) else operands
    _product(call, a, b, result)


def _labels(call: Call) -> tuple[list[Labels], Labels]:
    """Labels of the axes of every operand and of the result; those of an ellipsis are numbered."""
    equation = str(call.attribute("equation", "")).replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    written = inputs.split(",")
    if len(written) > 2:
        raise Refused("a product of more than two values")
    ranks = [len(call.shape(index)) for index in range(len(written))]
    plain = [len(term.replace("...", "")) for term in written]
    hidden = [rank - known for rank, known in zip(ranks, plain, strict=True)]
    terms = [_spread(term, count) for term, count in zip(written, hidden, strict=True)]
    if arrow:
        result = _spread(output, max(hidden))
    else:
        times = Counter(label for term in terms for label in term)
        numbered = [label for label in _spread("...", max(hidden)) if label in times]
        result = (*numbered, *sorted(x for x, n in times.items() if n == 1 and x not in numbered))
    sizes: dict[str, int] = {}
    for index, term in enumerate(terms):
        if len(set(term)) < len(term):
            raise Refused("a diagonal")
        for label, size in zip(term, call.shape(index), strict=True):
            if sizes.setdefault(label, size) != size:
                raise Refused("axes of size 1 meet longer ones")
    return terms, result


def _spread(term: str, count: int) -> Labels:
    before, dots, after = term.partition("...")
    middle = [f"...{i}" for i in range(count, 0, -1)] if dots else []
    return (*before, *middle, *after)


def _operand(call: Call, index: int, terms: list[Labels], result: Labels) -> _Operand:
    """Without axes that nothing else has."""
    labels, shape = terms[index], call.shape(index)
    others = {label for i, term in enumerate(terms) if i != index for label in term}
    alone = tuple(i for i, x in enumerate(labels) if x not in others and x not in result)
    kept = [i for i in range(len(labels)) if i not in alone]
    value: str | npt.NDArray[np.generic]
    if call.is_constant(index):
        value = np.sum(call.floats(index), axis=alone, dtype=np.float64)
    else:
        value = call.value(index)
        if alone:
            value = call.emit(f"sum {index}", Reduce("sum", alone, False), value)
    return _Operand(value, tuple(labels[i] for i in kept), tuple(shape[i] for i in kept))


def _product(call: Call, a: _Operand, b: _Operand, result: Labels) -> None:
    """As a product of matrices: batch axes, then what is only in one of them, and what is summed
    between."""
    sizes = a.sizes | b.sizes
    batch = [x for x in a.labels if x in b.labels and x in result]
    inner = [x for x in a.labels if x in b.labels and x not in result]
    rows = [x for x in a.labels if x not in b.labels]
    columns = [x for x in b.labels if x not in a.labels]

    def of(labels: Sequence[str]) -> list[int]:
        return [sizes[label] for label in labels]

    op: Operator
    if not inner:
        op = Binary("mul")
        left = _arranged(call, "a", a, batch + rows, [*of(batch + rows), *[1] * len(columns)])
        alone = [*of(batch), *[1] * len(rows), *of(columns)]
        right = _arranged(call, "b", b, batch + columns, alone)
    elif not batch and not isinstance(b.value, str):
        op = Linear()
        left = _arranged(call, "a", a, rows + inner, [*of(rows), prod(of(inner))])
        right = _arranged(call, "b", b, inner + columns, [prod(of(inner)), prod(of(columns))])
    else:
        op = MatMul()
        height, between, width = prod(of(rows)), prod(of(inner)), prod(of(columns))
        left = _arranged(call, "a", a, batch + rows + inner, [*of(batch), height, between])
        right = _arranged(call, "b", b, batch + inner + columns, [*of(batch), between, width])
    labels = (*batch, *rows, *columns)
    product = call.emit("product", op, left, right)
    _finish(call, _reshaped(call, "axes", product, of(labels)), labels, result)


def _arranged(call: Call, name: str, operand: _Operand, labels: list[str], shape: list[int]) -> str:
    """An operand with its axes in this order, and of this shape."""
    order = tuple(operand.labels.index(label) for label in labels)
    value = operand.value
    if not isinstance(value, str):
        return call.add_constant(name, value.transpose(order).reshape(shape))
    if order != tuple(range(len(order))):
        value = call.emit(f"{name} turned", Transpose(order), value)
    return _reshaped(call, name, value, shape)


def _reshaped(call: Call, name: str, value: str, shape: list[int]) -> str:
    if call.shape_of(value) == tuple(shape):
        return value
    return call.emit(name, Reshape(tuple(shape)), value)


def _finish(call: Call, value: str, labels: Labels, result: Labels) -> None:
    call.finish(Transpose(tuple(labels.index(label) for label in result)), value)


RULES: dict[str, Rule] = {"Einsum": einsum}

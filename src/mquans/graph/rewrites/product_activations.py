"""Recognise activations that exporters write as products: SiLU, hard swish, GELU, mish.

    silu        x * sigmoid(x)
    quick gelu  x * sigmoid(a * x), which is silu(a * x) / a
    hard swish  x * hard_sigmoid(x), x * clip(x + 3, 0, 6) / 6
    mish        x * tanh(softplus(x))
    gelu        0.5 * x * (1 + erf(x / sqrt 2))
    gelu_tanh   0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))

A product is taken apart into a constant and its factors first, so that the order and the grouping
of the multiplications do not matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Binary, Unary, UnaryKind

TOLERANCE = 5e-4
"""Relative: some exporters write 1/6 and sqrt(1/2) with few digits, and models of float16 have no
more than that."""


@dataclass(slots=True)
class Product:
    """`scale` times the factors, which are values of the graph."""

    scale: float = 1.0
    factors: list[str] = field(default_factory=list)


def find_product_activations(editor: Editor) -> bool:
    """Afterwards the patterns above are one Unary each, of a quick GELU between its scalings, and
    `clip(x + b, 0, c) / c` is a hard sigmoid."""
    changed = False
    for node in editor.visit():
        if not isinstance(node.op, Binary) or node.op.kind not in ("mul", "div"):
            continue
        product = _product(editor, node)
        changed |= (
            _hard_sigmoid(editor, node, product)
            or _gated(editor, node, product)
            or _scaled_silu(editor, node, product)
        )
    return changed


def _gated(editor: Editor, node: Node, product: Product) -> bool:
    if len(product.factors) != 2:
        return False
    for x, gate in (product.factors, product.factors[::-1]):
        kind = _gate_kind(editor, x, gate, product.scale)
        if kind is not None and editor.graph.shape(x) == editor.graph.shape(node.outputs[0]):
            editor.replace(node, Unary(kind), (x,))
            return True
    return False


def _scaled_silu(editor: Editor, node: Node, product: Product) -> bool:
    if len(product.factors) != 2:
        return False
    for x, gate in (product.factors, product.factors[::-1]):
        argument = _argument(editor, gate, "sigmoid")
        if argument is None or not editor.is_private(gate):
            continue
        scaled = _value_product(editor, argument)
        if scaled.factors != [x] or not 0 < abs(scaled.scale) < math.inf:
            continue
        editor.replace(editor.producers[gate], Unary("silu"), (argument,))
        back = editor.add_constant(f"{node.name}/scale", np.array(product.scale / scaled.scale))
        editor.replace(node, Binary("mul"), (gate, back))
        return True
    return False


def _gate_kind(editor: Editor, x: str, gate: str, scale: float) -> UnaryKind | None:
    if _near(scale, 1.0):
        if _argument(editor, gate, "sigmoid") == x:
            return "silu"
        if _argument(editor, _argument(editor, gate, "tanh"), "softplus") == x:
            return "mish"
        if _is_hard_gate(editor, x, gate):
            return "hard_swish"
    if _near(scale, 1 / 6) and _clipped_sum(editor, gate) == (x, 3.0, 6.0):
        return "hard_swish"
    if _near(scale, 0.5):
        return _gelu_kind(editor, x, gate)
    return None


def _is_hard_gate(editor: Editor, x: str, gate: str) -> bool:
    node = editor.producer(gate)
    if node is None or not isinstance(node.op, Unary) or node.op.kind != "hard_sigmoid":
        return False
    alpha, beta = node.op.params
    return node.inputs[0] == x and _near(alpha, 1 / 6) and _near(beta, 0.5)


def _gelu_kind(editor: Editor, x: str, gate: str) -> UnaryKind | None:
    inner = _plus_constant(editor, gate)
    if inner is None or not _near(inner[1], 1.0):
        return None
    argument = _argument(editor, inner[0], "erf")
    if argument is not None:
        product = _value_product(editor, argument)
        is_gelu = product.factors == [x] and _near(product.scale, math.sqrt(0.5))
        return "gelu" if is_gelu else None
    argument = _argument(editor, inner[0], "tanh")
    if argument is None:
        return None
    product = _value_product(editor, argument)
    if len(product.factors) != 1 or not _near(product.scale, math.sqrt(2 / math.pi)):
        return None
    total = _binary(editor, product.factors[0], "add")
    if total is None or x not in total.inputs:
        return None
    cube = _value_product(editor, total.inputs[1 if total.inputs[0] == x else 0])
    is_cube = cube.factors == [x, x, x] and _near(cube.scale, 0.044715)
    return "gelu_tanh" if is_cube else None


def _hard_sigmoid(editor: Editor, node: Node, product: Product) -> bool:
    if len(product.factors) != 1 or (found := _clipped_sum(editor, product.factors[0])) is None:
        return False
    x, offset, top = found
    same = editor.graph.shape(x) == editor.graph.shape(node.outputs[0])
    if not same or not _near(product.scale * top, 1.0):
        return False
    editor.replace(node, Unary("hard_sigmoid", (1.0 / top, offset / top)), (x,))
    return True


def _clipped_sum(editor: Editor, value: str) -> tuple[str, float, float] | None:
    """(x, b, c) for a value `clip(x + b, 0, c)` with finite c > 0."""
    clip = editor.producer(value)
    if clip is None or not isinstance(clip.op, Unary) or clip.op.kind != "clip":
        return None
    low, high = clip.op.params
    found = _plus_constant(editor, clip.inputs[0])
    if found is None or low != 0.0 or not 0.0 < high < math.inf:
        return None
    return (*found, high)


def _product(editor: Editor, node: Node) -> Product:
    product = Product()
    _collect(editor, node, product)
    return product


def _value_product(editor: Editor, value: str) -> Product:
    product = Product()
    _collect_value(editor, value, product)
    return product


def _collect(editor: Editor, node: Node, product: Product) -> None:
    left, right = node.inputs
    assert isinstance(node.op, Binary)
    if node.op.kind == "div":
        divisor = editor.scalar(right)
        if divisor:
            product.scale /= divisor
            _collect_value(editor, left, product)
        else:
            product.factors.append(node.outputs[0])
        return
    for value in (left, right):
        _collect_value(editor, value, product)


def _collect_value(editor: Editor, value: str, product: Product) -> None:
    """Descend through products that nothing else reads; the x of a pattern has several readers."""
    scalar = editor.scalar(value)
    if scalar is not None:
        product.scale *= scalar
        return
    node = editor.producer(value)
    if node is not None and isinstance(node.op, Binary) and editor.is_private(value):
        if node.op.kind in ("mul", "div"):
            _collect(editor, node, product)
            return
        if node.op.kind == "pow" and editor.scalar(node.inputs[1]) == 3.0:
            product.factors += [node.inputs[0]] * 3
            return
    product.factors.append(value)


def _plus_constant(editor: Editor, value: str) -> tuple[str, float] | None:
    node = _binary(editor, value, "add")
    if node is None:
        return None
    for x, other in (node.inputs, node.inputs[::-1]):
        constant = editor.scalar(other)
        if constant is not None:
            return x, constant
    return None


def _argument(editor: Editor, value: str | None, kind: str) -> str | None:
    """The x of a value `kind(x)`."""
    node = editor.producer(value) if value is not None else None
    is_kind = node is not None and isinstance(node.op, Unary) and node.op.kind == kind
    return node.inputs[0] if node is not None and is_kind else None


def _binary(editor: Editor, value: str, kind: str) -> Node | None:
    node = editor.producer(value)
    is_kind = node is not None and isinstance(node.op, Binary) and node.op.kind == kind
    return node if is_kind else None


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE)

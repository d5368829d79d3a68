"""Which operators have an integer form, for inputs that lie in a given order of axes."""

from __future__ import annotations

from dataclasses import dataclass

from mquans.engine.layout import Dims
from mquans.graph import Graph, Node


@dataclass(frozen=True, slots=True)
class Form:
    """The integer form of one operator.

    Attributes:
        inputs: computed values that it reads as codes, in the order of its output.
        fresh: the output has exponents of its own.
    """

    inputs: tuple[str, ...]
    fresh: bool


def integer_form(graph: Graph, node: Node, order: Dims) -> Form | None:
    """How a node is computed on codes whose axes lie in an order; None where it is not."""
    return None

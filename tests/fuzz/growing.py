"""A network that grows node by node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

Shape = tuple[int, ...]


@dataclass
class Network:
    """Grows node by node.

    Attributes:
        shapes: of all that was computed, by name; the last one is read most.
    """

    rng: np.random.Generator
    shapes: dict[str, Shape]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def floats(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return (self.rng.normal(size=shape) * scale).astype(np.float32)

    def pick(self, *numbers: int) -> int:
        return int(self.rng.choice(numbers))

    def number(self, low: int, high: int) -> int:
        """From low to below high."""
        return int(self.rng.integers(low, high))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def ints(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def add(self, kind: str, inputs: list[str], *shapes: Shape, **attributes: Any) -> str:
        """A node with an output of each shape; the name of the first."""
        names = [f"v{len(self.shapes) + i}" for i in range(len(shapes))]
        label = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, names, label, **attributes))
        self.shapes.update(zip(names, shapes, strict=True))
        return names[0]

    def alike(self, fits: Callable[[Shape], bool]) -> list[str]:
        """Computed values whose shapes fit."""
        return [name for name, shape in self.shapes.items() if fits(shape)]

"""Small networks in codes: operators before a convolution, and frames that probe them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.graph import Conv, Graph, Node, ValueType, infer
from mquans.onnx import import_model, read_model, to_onnx
from mquans.plan import GatePlan, Plan, TensorPlan
from mquans.plan.schema import Provenance
from mquans.runtime.lowering.sites import analyse
from mquans.runtime.session import Session

PROVENANCE = Provenance(mquans="0", sources=(), frames=0, created="2020-01-01T00:00:00Z")
BITS = 15
LIMIT = 2 ** (BITS - 1) - 1

Codes = dict[str, npt.NDArray[np.int64]]
Shape = tuple[int, ...]


@dataclass
class Network:
    """Rows (operator, "inputs", output) over inputs; the last row's value is `v`, which a 1x1
    convolution reads.

    Attributes:
        gates: scale of the gate of a value.
        also: values that sessions return beside `v`.
        outputs: of the graph beside that of the convolution.
    """

    rows: Sequence[tuple[Any, str, str]]
    inputs: Mapping[str, Shape]
    constants: Mapping[str, Any] = field(default_factory=dict)
    exponents: Mapping[str, Any] = field(default_factory=dict)
    gates: Mapping[str, float] = field(default_factory=dict)
    tolerance: float = 0.0
    also: Sequence[str] = ()
    outputs: Sequence[str] = ()

    def __post_init__(self) -> None:
        graph = self._graph(self.rows, ())
        channels = graph.shape("v")[1]
        weight = np.random.default_rng(0).normal(size=(2, channels, 1, 1))
        reader = (Conv((1, 1), (1, 1), (0,) * 4, (1, 1)), "v reader.w", "y")
        constants = dict(self.constants) | {"reader.w": weight}
        self.constants = constants
        self.model = to_onnx(
            self._graph([*self.rows, reader], ("y", *self.outputs))
        ).SerializeToString()
        file = read_model(self.model)
        self.graph = import_model(file)
        self.analysis = analyse(self.graph)
        tensors = []
        for name, coding in self.analysis.fresh().items():
            size = self.graph.shape(name)[coding.axis]
            exponents = self.exponent(name, size)
            gate = GatePlan(scale=self.gates[name]) if name in self.gates else None
            tensors.append(
                TensorPlan(name=name, exponents=tuple(exponents.tolist()), bits=BITS, gate=gate)
            )
        self.plan = Plan(
            model="model.onnx", model_sha256=file.sha256,
            input_shapes={name: self.graph.shape(name) for name in self.graph.inputs},
            tensors=tuple(tensors), layers=(), tolerance=self.tolerance, provenance=PROVENANCE,
        )  # fmt: skip

    def _graph(self, rows: Sequence[tuple[Any, str, str]], outputs: tuple[str, ...]) -> Graph:
        arrays = {name: np.asarray(array, np.float32) for name, array in self.constants.items()}
        nodes = [Node(made, op, tuple(names.split()), (made,)) for op, names, made in rows]
        graph = Graph("small", tuple(self.inputs), outputs, nodes, arrays)
        graph.types.update({name: ValueType(shape) for name, shape in self.inputs.items()})
        graph.types = infer(graph)
        return graph

    def exponent(self, value: str, channels: int) -> npt.NDArray[np.int64]:
        """Of every channel of a value that has its own."""
        if value in self.exponents:
            return np.broadcast_to(np.asarray(self.exponents[value], np.int64), (channels,))
        rng = np.random.default_rng(zlib.crc32(value.encode()))
        return rng.integers(-13, -9, channels)

    def session(self, **options: Any) -> Session:
        """A session that returns `v` too."""
        return Session(read_model(self.model), self.plan, **options).exposing(["v", *self.also])

    def frame(self, codes: Codes) -> dict[str, npt.NDArray[np.float32]]:
        """The frame whose inputs have these codes."""
        return {
            name: np.ldexp(array.astype(np.float32), self._shaped(name, array).astype(np.int32))
            for name, array in codes.items()
        }

    def codes(self, value: str, floats: npt.NDArray[np.float32], exponents: Any) -> Any:
        """Codes of a value with these exponents."""
        shaped = np.asarray(exponents).reshape(1, -1, *[1] * (floats.ndim - 2))
        return np.ldexp(floats.astype(np.float64), -shaped)

    def _shaped(self, name: str, array: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        exponents = self.exponent(name, array.shape[1])
        return exponents.reshape(1, -1, *[1] * (array.ndim - 2))

    def random_codes(self, seed: int) -> Codes:
        """Codes for every input, some of them at the limit."""
        rng = np.random.default_rng(seed)
        return {
            name: np.clip(rng.normal(0, LIMIT / 2, shape).round().astype(np.int64), -LIMIT, LIMIT)
            for name, shape in self.inputs.items()
        }


def changed(codes: Codes, seed: int, sites: int = 3) -> Codes:
    """The same with a few sites of one input changed; which one, the seed decides."""
    rng = np.random.default_rng(seed)
    name = list(codes)[seed % len(codes)]
    array = codes[name].copy()
    for _ in range(sites):
        at = tuple(rng.integers(0, size) for size in array.shape[2:])
        array[0, :, *at] = rng.integers(-LIMIT, LIMIT + 1, array.shape[1])
    return {**codes, name: array}

"""A network in a worker: read once for all of its cameras, stepped by our engine or a dense one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mquans.baselines import open_engine
from mquans.errors import MquansError
from mquans.graph import Graph
from mquans.metrics import DECODERS
from mquans.metrics.detections import Boxes
from mquans.onnx import read_model
from mquans.plan import InputFormat, Plan, plan_fingerprint, read_plan
from mquans.runtime.guard import Guard
from mquans.runtime.session import Session
from mquans.runtime.stream import Stream
from mquans.serve.wire import Heat, ModelJob
from mquans.sources import begins, placement
from mquans.sources.frames import Feeds, as_floats

Outputs = dict[str, npt.NDArray[Any]]

MOST_VALUES = 16
"""Of an output that is shown as numbers."""

HEAT_SIDE = 48
"""Cells along the longer side of a map of active sites."""

MOST_MAPS = 6
"""Layers that are put together in it."""


class Stepper(Protocol):
    """One stream of a network."""

    reuse: float
    taken: float
    """Share of the sites of the first layer's input that were taken in the last frame."""

    def step(self, feeds: Feeds, *, keyframe: bool = False) -> Outputs: ...

    def layers(self) -> list[tuple[str, float]]: ...

    def heat(self) -> Heat | None: ...

    def guard_report(self) -> dict[str, float] | None: ...

    def save(self) -> bytes | None: ...

    @property
    def state_bytes(self) -> int: ...

    def close(self) -> None: ...


class Network:
    """A model under its plan.

    Raises:
        MquansError: it cannot be read, or is not what was checked before.
    """

    def __init__(self, job: ModelJob) -> None:
        self._job, self.key = job, job.key
        self.plan: Plan = read_plan(job.plan)
        self._dense = job.engine == "onnxruntime"
        self._model = read_model(job.onnx)
        if self._model.sha256 != job.key[0] or plan_fingerprint(self.plan) != job.key[1]:
            raise MquansError(
                "the model or its plan has changed since the file of cameras was read.",
                where=Path(job.onnx).name,
                hint="Reload the file of cameras.",
            )
        self.session = None if self._dense else Session(self._model, self.plan)
        self._decode = decoder_of(job.decode, job.threshold, self.plan)

    def try_decoder(self, graph: Graph) -> None:
        """Decodes outputs of zeros.

        Raises:
            MquansError: the decoder does not read such outputs.
        """
        shapes = {name: graph.shape(name) for name in graph.listed_outputs()}
        if any(min(shape, default=0) < 0 for shape in shapes.values()):
            return  # the first frame will tell
        try:
            self.boxes({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, None)
        except Exception as error:  # of many kinds
            listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            raise MquansError(
                f"the decoder {self._job.decode!r} does not read outputs such as {listed}.",
                where=Path(self._job.onnx).name,
                hint="Name the decoder of this network, or leave decode: away.",
            ) from error

    @property
    def pixels(self) -> bool:
        """Takes pictures as bytes."""
        return not self._dense

    def stepper(self, *, guard: tuple[float, int] | None = None, state: bytes = b"") -> Stepper:
        """A new stream.

        Args:
            guard: the budget, and frames from check to check.
            state: of a saved stream to go on with.

        Raises:
            StateError: it cannot be gone on with.
        """
        if self.session is None:
            return DenseStepper(self._model, self.plan)
        if guard is None:
            stream = self.session.restore(state) if state else self.session.stream()
            return ReuseStepper(self.session, stream)
        budget, every = guard
        watch = Guard(self.session, budget=budget, every=every)
        if state:
            watch.restore(state)
        return ReuseStepper(self.session, watch)

    def boxes(
        self, outputs: Outputs, size: tuple[int, int] | None
    ) -> list[tuple[float, float, float, float, float, int]]:
        """What the decoder finds, in shares of the picture.

        Args:
            size: width and height of the picture.
        """
        if self._decode is None:
            return []
        found = self._decode(outputs)
        if self.plan.input is not None and size is not None:
            found = in_picture(found, self.plan.input, size)
        kinds = found[:, 5] if found.shape[1] > 5 else np.zeros(len(found))
        return [
            (*map(float, box[:5]), int(kind))  # type: ignore[misc]
            for box, kind in zip(found, kinds, strict=True)
        ]

    def values(self, outputs: Outputs) -> dict[str, list[float]]:
        """Small outputs, of networks whose outputs are no boxes."""
        if self._decode is not None:
            return {}
        return {
            name: [float(number) for number in value.reshape(-1)]
            for name, value in outputs.items()
            if value.size <= MOST_VALUES and np.isfinite(value).all()
        }


class ReuseStepper:
    """A stream of our engine, guarded or not."""

    def __init__(self, session: Session, stream: Stream | Guard) -> None:
        self._stepped = stream
        self._maps = _map_layers(session)
        self.reuse = self.taken = 0.0

    @property
    def _stream(self) -> Stream:
        return self._stepped.stream if isinstance(self._stepped, Guard) else self._stepped

    def step(self, feeds: Feeds, *, keyframe: bool = False) -> Outputs:
        if begins(feeds) and isinstance(self._stepped, Guard):
            self._stepped.reset()
        outputs = self._stepped.step(feeds, keyframe=keyframe)
        work = self._stream.work
        self.reuse, self.taken = work.reuse, 1 - work.input_similarity
        return outputs

    def layers(self) -> list[tuple[str, float]]:
        """Share of MACs done, by layer."""
        return [
            (layer.name, layer.macs_done / layer.macs if layer.macs else 0.0)
            for layer in self._stepped.stats.layers
        ]

    def heat(self) -> Heat | None:
        """Where sites were active; None for networks without layers over a picture."""
        if not self._maps:
            return None
        maps = [self._stream.active_map(name) for name in self._maps]
        rows, columns = maps[0].shape
        scale = min(1.0, HEAT_SIDE / max(rows, columns))
        rows, columns = max(1, round(rows * scale)), max(1, round(columns * scale))
        total = sum(pooled(active, rows, columns) for active in maps) / len(maps)
        return Heat(columns, rows, np.rint(np.asarray(total) * 255).astype(np.uint8).tobytes())

    def guard_report(self) -> dict[str, float] | None:
        if not isinstance(self._stepped, Guard):
            return None
        report = self._stepped.report
        return {
            "level": report.half_steps,
            "checks": report.checks,
            "violations": report.violations,
            "out_of_reach": report.out_of_reach,
            "worst": report.worst,
        }

    def save(self) -> bytes | None:
        return self._stream.save()

    @property
    def state_bytes(self) -> int:
        return self._stepped.state_bytes

    def close(self) -> None:
        self._stepped.close()


class DenseStepper:
    """onnxruntime: every frame is computed whole."""

    reuse = taken = 0.0
    state_bytes = 0

    def __init__(self, model: Any, plan: Plan) -> None:
        self._engine = open_engine("ort-fp32", model, plan.options)
        self._format = plan.input

    def step(self, feeds: Feeds, *, keyframe: bool = False) -> Outputs:
        if begins(feeds):
            self._engine.reset()
        return dict(self._engine.step(as_floats(feeds, self._format)))

    def layers(self) -> list[tuple[str, float]]:
        return []

    def heat(self) -> Heat | None:
        return None

    def guard_report(self) -> dict[str, float] | None:
        return None

    def save(self) -> bytes | None:
        return None

    def close(self) -> None:
        self._engine.reset()


def decoder_of(
    name: str | None, threshold: float | None, plan: Plan
) -> Callable[[Outputs], Boxes] | None:
    """A ready decoder with what it needs to know of the network."""
    if name is None:
        return None
    decode = DECODERS[name]
    given: dict[str, Any] = {} if threshold is None else {"threshold": threshold}
    if plan.input is not None and "width" in inspect.signature(decode).parameters:
        given["width"] = plan.input.width
    return partial(decode, **given)


def in_picture(boxes: Boxes, format: InputFormat, size: tuple[int, int]) -> Boxes:
    """Boxes in pixels of the network's input, in shares of a picture of (width, height)."""
    place = placement(format, *size)
    shares = np.array(boxes, np.float32)
    corner = np.array([place.left, place.top] * 2, np.float32)
    inner = np.array([place.width, place.height] * 2, np.float32)
    shares[:, :4] = np.clip((boxes[:, :4] - corner) / inner, 0, 1)
    return shares


def pooled(active: npt.NDArray[np.bool_], rows: int, columns: int) -> npt.NDArray[np.float64]:
    """Shares of active sites in a grid of cells; of a finer grid than the sites', repeated."""
    counts = active.astype(np.float64)
    for axis, cells in enumerate((rows, columns)):
        size = active.shape[axis]
        edges = np.arange(cells) * size // cells
        sizes = np.maximum(np.diff(np.append(edges, size)), 1)
        counts = np.add.reduceat(counts, edges, axis) / np.expand_dims(sizes, 1 - axis)
    return counts


def _map_layers(session: Session) -> list[str]:
    """Some layers over sites of a picture, spread over the network."""
    graph, known = session.graph, session.lowered.site_layers
    found = []
    for node in graph.reuse_layers():
        sizes = graph.shape(node.outputs[0])[2:]
        if node.name in known and len(sizes) == 2 and min(sizes) > 1:
            found.append(node.name)
    return found[:: max(1, len(found) // MOST_MAPS)][:MOST_MAPS]

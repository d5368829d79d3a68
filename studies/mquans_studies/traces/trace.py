"""Activity traces: what a clip asks of every layer, for models of hardware and for readers.

Of single values, counts do not depend on how this engine ran a frame: they are taken from the held
values, before and after; within a frame that holds time steps, from step to step. Of whole sites
they are what the plan's gates decided. A trace says what any machine has to do that recomputes only
what changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mquans.errors import MquansError
from mquans.graph import Linear, Node, Recurrence
from mquans.runtime.session import Session
from mquans.runtime.stream import Stream
from mquans.sources.frames import Feeds
from mquans_studies.traces.computed import ComputedInputs
from mquans_studies.traces.layer_shape import Counts, Geometry, LayerShape, Mask, layer_geometry
from mquans_studies.traces.plain import PlainInputs
from mquans_studies.traces.repeated import RepeatedWindows
from mquans_studies.traces.weight_repetition import WeightRepetition, weight_repetition

Held = npt.NDArray[np.int16]

CODE_BITS = 16
"""Of codes and weights of layers by sites."""

MEMORY = 1 << 16
"""Windows per layer that `Activity.repeated` remembers."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What happened in one layer, frame by frame; all int64.

    Attributes:
        changed: [frames, widths, classes], inputs whose held value moved, by bit width of their
            neuron and by class of reach.
        blocks: [frames, classes], blocks of channels with a change.
        row_passes: [frames], row passes (`LayerShape`) over rows with a change.
        channels: [frames], channels with a change anywhere.
        touched: [frames], outputs that a change reaches.
        touched_rows: [frames], rows of the output with such an output.
        needed: [frames], inputs that outputs read which a change reaches.
        computed: [frames], inputs that were made anew, changed or not: all others cannot differ.
        repeated: [frames], output positions whose whole input was seen before; -1 if not counted.
    """

    changed: Counts
    blocks: Counts
    row_passes: Counts
    channels: Counts
    touched: Counts
    touched_rows: Counts
    needed: Counts
    computed: Counts
    repeated: Counts

    def at(self, frames: Mask) -> Activity:
        """Some of the frames."""
        return Activity(*(getattr(self, entry.name)[frames] for entry in fields(self)))


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """One reuse layer of a trace.

    Attributes:
        input: the value that it reads; layers may share one.
        producers: layers that it comes from; `computed.OUTSIDE` among them for what no layer makes.
        given: inputs per frame that no layer makes.
        by_sites: whether whole sites of its input are compared; then all of a site's channels count
            as changed, and outputs that a change reaches are computed anew.
        widths: [widths], distinct bits of its neurons; neurons: how many have each.
        weight_bits: of the plan.
        repetition: among its integer weights.
    """

    shape: LayerShape
    input: str
    producers: tuple[str, ...]
    given: int
    by_sites: bool
    widths: tuple[int, ...]
    neurons: tuple[int, ...]
    weight_bits: int
    repetition: WeightRepetition
    activity: Activity

    @property
    def compared(self) -> tuple[int, ...]:
        """[widths], inputs compared in every frame."""
        per_neuron = self.shape.inputs // self.shape.channels
        return tuple(count * per_neuron for count in self.neurons)

    @property
    def weight_rows(self) -> Counts:
        """[frames, widths], weight rows read if every change is worked off on its own."""
        return np.asarray(self.activity.changed @ np.asarray(self.shape.reach), np.int64)

    @property
    def macs(self) -> Counts:
        """[frames, widths], multiplications if every change is worked off on its own."""
        return self.weight_rows * self.shape.row

    @property
    def left(self) -> npt.NDArray[np.float64]:
        """[frames], multiplications left: change by change, or of sites that are computed anew."""
        if self.by_sites:
            return self.shape.macs * self.activity.touched / max(self.shape.outputs, 1)
        return np.asarray(self.macs.sum(axis=1), np.float64)

    @property
    def weight_bytes(self) -> Counts:
        """[frames, widths], bytes of those weight rows."""
        return self.macs * self.weight_bits // 8

    @property
    def distinct_rows(self) -> Counts:
        """[frames], different weight rows among them: all taps of every channel with a change."""
        return self.activity.channels * self.shape.taps


@dataclass(frozen=True)
class Trace:
    """The activity of a clip.

    Attributes:
        rule: of the plan for single values, `hold` or `nearest`.
        memory: windows per layer that `repeated` remembers, 0 if it was not counted.
        begins: [frames], 1 for the first frame of each recording. There everything changed: it is
            computed whole under every scheme, and `similarity` and `computation_reuse` leave it
            out.
    """

    model: str
    model_sha256: str
    plan_fingerprint: str
    rule: str
    memory: int
    begins: Counts
    layers: tuple[LayerTrace, ...]

    @property
    def frames(self) -> int:
        """Number of frames, first ones included."""
        return len(self.begins)

    @property
    def moving(self) -> Mask:
        """[frames], False for the first frame of each recording."""
        return np.asarray(self.begins == 0)

    @cached_property
    def macs(self) -> int:
        """Multiplications of a dense frame."""
        return sum(layer.shape.macs for layer in self.layers)

    @property
    def similarity(self) -> float:
        """Fraction of inputs that did not change."""
        frames = int(self.moving.sum())
        compared = frames * sum(layer.shape.inputs for layer in self.layers)
        changed = sum(int(layer.activity.changed[self.moving].sum()) for layer in self.layers)
        return 1 - changed / compared if compared else 1.0

    @property
    def computation_reuse(self) -> float:
        """1 - multiplications left / dense ones."""
        frames = int(self.moving.sum())
        done = sum(float(layer.left[self.moving].sum()) for layer in self.layers)
        return 1 - done / (frames * self.macs) if frames and self.macs else 0.0


@dataclass(slots=True)
class _Recorded:
    """What is kept of one layer while a clip runs.

    Attributes:
        by_sites: whether sites are compared as a whole.
        bits: [channels]; widths: [channels, widths], 1 at the place of a channel's among them.
    """

    node: Node
    geometry: Geometry
    by_sites: bool
    bits: Counts
    widths: npt.NDArray[np.float32]
    windows: RepeatedWindows | None
    held: Held | None = None
    rows: list[tuple[Counts | int, ...]] = field(default_factory=list)

    @property
    def is_recurrent(self) -> bool:
        """True if it compares states, which it makes itself."""
        return isinstance(self.node.op, Recurrence)

    def moved(self, before: Held | None, held: Held) -> Mask:
        """Which values differ from those that they are compared with, [rows, width, channels]:
        everything in a first frame, or in the first step of it."""
        steps = self.geometry.shape.steps
        if not _is_sequence(self.node):
            return np.ones(held.shape, np.bool_) if before is None else held != before
        # Time steps are what lies one behind the other, `lanes` rows each.
        now = held.reshape(steps, -1)
        last = None if before is None else before.reshape(steps, -1)
        if isinstance(self.node.op, Recurrence) and self.node.op.reverse:
            now, last = now[::-1], None if last is None else last[::-1]
        moved = np.ones(now.shape, np.bool_)
        moved[1:] = now[1:] != now[:-1]
        if last is not None:
            moved[0] = now[0] != last[-1]
        if isinstance(self.node.op, Recurrence) and self.node.op.reverse:
            moved = moved[::-1]
        return moved.reshape(held.shape)

    def counts(self, moved: Mask, reached: Mask) -> tuple[Counts | int, ...]:
        """The fields of `Activity` for one frame, up to `needed`."""
        return (
            self.geometry.by_class(moved, self.widths),
            self.geometry.blocks(moved),
            self.geometry.row_passes(moved),
            int(moved.any(axis=(0, 1)).sum()),
            self.geometry.touched(moved, reached),
            int(reached.any(axis=(1, 2)).sum()),
            self.geometry.needed(reached),
        )


class TraceRecorder:
    """Takes a trace while a stream of a session runs a clip from its first frame.

    Args:
        memory: windows per layer to look for repetitions in; 0 to leave that out. A memory of
            windows keeps nothing else from frame to frame, so they are looked for in the inputs of
            the dense network, on the plan's finest grid.
    """

    def __init__(self, session: Session, *, memory: int = 0) -> None:
        self._session = session
        self._memory = memory
        self._begins: list[int] = []
        self._layers: list[_Recorded] = []
        self._computed = ComputedInputs(session.graph)
        self._plain = PlainInputs(session) if memory else None
        for node in session.graph.reuse_layers():
            geometry = layer_geometry(session.graph, node)
            by_sites = node.name in session.compiled.lowered.site_layers
            of_plan = CODE_BITS if by_sites else session.plan.layer(node.name).bits
            bits = np.asarray(of_plan, np.int64)
            bits = np.broadcast_to(bits, (geometry.shape.channels,))
            self._layers.append(
                _Recorded(
                    node,
                    geometry,
                    by_sites,
                    bits,
                    np.equal.outer(bits, np.unique(bits)).astype(np.float32),
                    RepeatedWindows(geometry, memory) if memory else None,
                )
            )

    def add(self, stream: Stream, feeds: Feeds | None = None) -> None:
        """Takes the last frame of the stream; with a memory of windows, `feeds` is that frame."""
        plain = {} if self._plain is None or feeds is None else self._plain.of(feeds)
        begins = stream.frames == 1 or not self._begins
        every: list[tuple[_Recorded, Mask, int]] = []
        for layer in self._layers:
            shape = layer.geometry.shape
            names = _native_layers(layer.node)
            held = np.concatenate([stream.held(name) for name in names], axis=2)
            held = held.reshape(shape.rows, shape.width, shape.channels)
            if layer.by_sites:  # as the gates decided, some for several sites at once
                taken = stream.change_map(layer.node.name).reshape(shape.rows, shape.width, 1) > 0
                moved = np.broadcast_to(taken | begins, held.shape)
            else:
                moved = layer.moved(None if begins else layer.held, held)
            repeated = -1
            if layer.windows is not None:
                repeated = layer.windows.add(
                    held if plain is None else plain.get(layer.node.name, held)
                )
            every.append((layer, moved, repeated))
            layer.held = held
        reached = {layer.node.name: layer.geometry.reached(moved) for layer, moved, _ in every}
        computed = self._computed.counts(reached)
        for layer, moved, repeated in every:
            name = layer.node.name
            # States of recurrent layers are made anew in every step.
            made = layer.geometry.shape.inputs if layer.is_recurrent else computed[name]
            layer.rows.append((*layer.counts(moved, reached[name]), made, repeated))
        self._begins.append(int(begins))

    def result(self) -> Trace:
        """The trace of all frames so far.

        Raises:
            MquansError: there were none.
        """
        if not self._begins:
            raise MquansError("there is no frame to trace.")
        session = self._session
        layers = []
        for layer in self._layers:
            node = layer.node
            widths, neurons = np.unique(layer.bits, return_counts=True)
            columns = zip(*layer.rows, strict=True)
            layers.append(
                LayerTrace(
                    shape=layer.geometry.shape,
                    input=node.inputs[0],
                    producers=self._computed.producers[node.name],
                    given=0 if layer.is_recurrent else self._computed.given[node.name],
                    widths=tuple(widths.tolist()),
                    neurons=tuple(neurons.tolist()),
                    by_sites=layer.by_sites,
                    weight_bits=(
                        CODE_BITS if layer.by_sites else session.plan.layer(node.name).weight_bits
                    ),
                    repetition=weight_repetition(session.graph, node, session.plan),
                    activity=Activity(*(np.asarray(column, np.int64) for column in columns)),
                )
            )
        return Trace(
            model=session.plan.model,
            model_sha256=session.model_sha256,
            plan_fingerprint=session.plan_fingerprint,
            rule=session.plan.rule,
            memory=self._memory,
            begins=np.asarray(self._begins, np.int64),
            layers=tuple(layers),
        )


def _native_layers(node: Node) -> tuple[str, ...]:
    """Layers of the engine that a node became: a gru that resets before its product is two."""
    if isinstance(node.op, Recurrence) and node.op.states > 1:
        return node.name, f"{node.name}/reset"
    return (node.name,)


def _is_sequence(node: Node) -> bool:
    """True for layers whose rows are compared with the rows before them, not with last frame's."""
    return isinstance(node.op, Recurrence) or (isinstance(node.op, Linear) and node.op.batch > 0)

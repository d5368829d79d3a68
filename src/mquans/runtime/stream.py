"""The state of one camera or microphone, updated frame by frame."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from mquans import _native
from mquans.errors import MquansError, RefusedFrameError, StateError
from mquans.files import atomic_write, read_limited
from mquans.plan import Feedback
from mquans.runtime.lowering.program import FallbackCall
from mquans.runtime.lowering.quantization import grid_limit
from mquans.runtime.processes import enough_memory, follow_forks
from mquans.runtime.state import SavedState, decode
from mquans.runtime.stats import LayerStats, StreamStats
from mquans.sources.frames import begins, finite

if TYPE_CHECKING:
    from mquans.runtime.session import Session

STATE_LIMIT_BYTES = 1 << 32
"""Saved streams beyond 4 GiB are taken for damaged."""

Values = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
Arrays = Mapping[str, Values]
Frame = Values | Arrays


@dataclass(frozen=True, slots=True)
class Violation:
    """The first accumulator that is not the product of weights and held values, or the first code
    that computing everything again changes.

    Attributes:
        layer: its name, or that of the tensor of codes.
        position: (row, column, channel).
        expected, found: the exact value, and what the stream holds.
        kind: what it is.
    """

    layer: str
    position: tuple[int, int, int]
    expected: int
    found: int
    kind: Literal["accumulator", "code"] = "accumulator"


class Stream:
    """Held values, accumulators and activations of one stream of a session.

    Not for two threads at once; different streams of a session may run in different threads.
    """

    def __init__(self, session: Session, native: Any = None, frames: int = 0) -> None:
        self._session = session
        with enough_memory("another stream"):
            self._native = _native.Stream(session.lowered.program) if native is None else native
        self._frames = frames
        self._feedback = Feedback(session.plan.feedback, session.plan.input_shapes)
        # What fallback subgraphs made that the engine has no tensor for, by value name.
        self._outside: dict[str, npt.NDArray[Any]] = {}
        # MACs of the fallback subgraphs that ran in the last frame.
        self._fallback_done = 0
        # Nanoseconds of every program step in the last frame, while profiling.
        self._frame_ns: list[int] | None = None
        self._lock = threading.Lock()
        self._closed = "the stream is closed."
        follow_forks(self)

    def __reduce__(self) -> NoReturn:
        raise MquansError(
            "a stream cannot be pickled.",
            hint="Send the bytes of stream.save() and go on with session.restore(state).",
        )

    def follow_fork(self) -> None:
        """In a forked child: a stream that another thread was stepping is lost there."""
        if self._lock.locked():
            self._native = None
            self._closed = "another thread was stepping the stream when the process was forked."
        self._lock = threading.Lock()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees the memory of the stream; it cannot be used afterwards."""
        self._native = None

    @property
    def frames(self) -> int:
        """Frames since the start or the last reset."""
        return self._frames

    @property
    def state_bytes(self) -> int:
        """Memory of this stream: held values, accumulators, activations, bookkeeping."""
        return int(self._open().bytes)

    def step(self, frame: Frame, *, keyframe: bool = False) -> dict[str, npt.NDArray[np.float32]]:
        """Takes a frame and returns the network's outputs. With a
        `FirstFrame`, where a recording begins, the stream begins anew.

        Args:
            frame: array of the input's shape, or arrays by input name: float32, or uint8 for pixels
                from 0 to 255, to which the plan's scale, mean and std are applied; for an input
                that the model declares in another type also that type. States that the plan feeds
                back may be left out: they go on from the last frame, first from zeros.
            keyframe: end all staleness: held values take the grid values everywhere, as on the
                first frame. Costs one dense frame.

        Returns:
            Arrays by output name, newly allocated, in the shapes and types of the model.

        Raises:
            FrameError: wrong shape or dtype; a `RefusedFrameError` for NaN or infinity, in it or in
                a state. The stream is as it was.
        """
        given = self._session.frame_arrays(frame)
        with self._lock:
            native = self._open()
            if begins(frame) and self._frames:
                if not finite(given):
                    raise _refusal(given, given)
                self._begin_anew()
            fed = self._feedback.fill(given)
            arrays = [fed[name] for name in self._session.graph.inputs]
            keyframe = keyframe or self._frames == 0
            before = native.step_ns if native.profile else None
            if not self._session.lowered.fallbacks:
                outputs = self._session.empty_outputs()
                ok = native.step(arrays, list(outputs.values()), keyframe)
                outputs = self._session.as_declared(outputs)
            else:
                ok = native.begin_frame(arrays, keyframe)
                if ok:
                    self._run(dense=keyframe, keep_held=False)
                    outputs = self.outputs()
            if not ok:
                raise _refusal(fed, given)
            self._frames += 1
            self._feedback.keep(outputs)
            self._frame_ns = before and [
                now - then for now, then in zip(native.step_ns, before, strict=True)
            ]
        return outputs

    def outputs(self) -> dict[str, npt.NDArray[np.float32]]:
        """The outputs of the last step once more."""
        outputs = self._session.empty_outputs()
        self._open().fetch(list(outputs.values()))
        outputs = self._session.as_declared(outputs)
        if not self._outside:
            return outputs
        found = outputs | self._outside
        return {name: found[name].copy() for name in self._session.graph.outputs}

    def recompute(self) -> None:
        """Recomputes every layer densely from its held values. Changes no output (the law)."""
        with self._lock:
            self._open()
            if self._frames:
                self._run(dense=True, keep_held=True)

    def reset(self) -> None:
        """Forgets everything; the next frame is a first frame."""
        with self._lock:
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._open().reset()
        self._feedback.reset()
        self._frames = 0

    def clone(self) -> Stream:
        """An independent stream in the same state."""
        with self._lock:
            with enough_memory("another stream"):
                native = self._open().clone()
            other = Stream(self._session, native, self._frames)
            other._outside = dict(self._outside)
            other._fallback_done = self._fallback_done
            other._feedback = copy(self._feedback)
            return other

    def save(self, path: str | Path | None = None) -> bytes:
        """The state as bytes, also written to a file when a path is given.

        `Session.restore` continues from it with bit-equal outputs, on any machine.

        Raises:
            MquansError: the file cannot be written; nothing is left behind.
        """
        with self._lock:
            native = self._open()
            inputs = {
                name: native.read(tensor).reshape(-1)
                for name, tensor in self._session.stored_inputs.items()
            }
            codes = [native.read_codes(tensor).reshape(-1) for tensor in self._session.coded]
            state = SavedState(
                self._session.model_sha256,
                self._session.plan_fingerprint,
                self._frames,
                native.held,
                np.concatenate([np.empty(0, np.int16), *codes]),
                inputs,
            ).encode()
        if path is not None:
            atomic_write(path, state, error=StateError)
        return state

    def load(self, state: bytes | str | Path) -> None:
        """Replaces the state by a saved one; on error the stream is as it was.

        Raises:
            StateError: damaged, or saved under another model or plan.
        """
        saved = decode(_state_bytes(state))
        session = self._session
        if saved.model_sha256 != session.model_sha256:
            raise StateError("the stream was saved under another model.")
        if saved.plan_fingerprint != session.plan_fingerprint:
            raise StateError("the stream was saved under another plan.")
        with self._lock:
            native = self._open()
            sizes = {name: session.graph.types[name].size for name in session.stored_inputs}
            if (
                saved.held.size != native.held.size
                or saved.codes.size != sum(self._session.coded.values())
                or not self._within_limits(saved.codes)
                or {name: value.size for name, value in saved.inputs.items()} != sizes
                or np.abs(saved.held.astype(np.int32)).max(initial=0)
                > grid_limit(session.plan.grid_bits)
                or not all(np.isfinite(value).all() for value in saved.inputs.values())
            ):
                raise StateError("the saved stream does not fit this session's network.")
            native.reset()
            self._feedback.reset()
            self._frames = saved.frames
            if not saved.frames:
                return
            native.set_held(saved.held)
            at = 0
            for tensor, size in self._session.coded.items():
                native.write_codes(tensor, np.ascontiguousarray(saved.codes[at : at + size]))
                at += size
            for name, value in saved.inputs.items():
                native.write(session.stored_inputs[name], value)
            self._run(dense=True, keep_held=True)
            self._feedback.keep(self.outputs())

    @property
    def stats(self) -> StreamStats:
        """What the last step cost; with the time of each layer while `profile` is on."""
        session = self._session
        spent_ms = {
            label: ns / 1e6
            for label, ns in zip(session.step_labels, self._frame_ns or (), strict=False)
        }
        native = self._open()
        layers = {
            name: LayerStats(
                name,
                inputs,
                changed,
                macs,
                done,
                "changes" if changed else "idle",
                spent_ms.get(name),
            )
            for name, inputs, macs, (changed, done) in zip(
                session.lowered.layers,
                session.layer_inputs,
                session.layer_macs,
                native.reports,
                strict=True,
            )
        }
        for (name, layer), (moved, active, _, done) in zip(
            session.lowered.site_layers.items(), native.site_reports, strict=True
        ):
            sites, channels = session.lowered.sites.sizes[layer.x]
            outputs, _ = session.lowered.sites.sizes[layer.y]
            layers[name] = LayerStats(
                name,
                sites * channels,
                moved * channels,
                layer.macs,
                done,
                "idle" if not active else "dense" if active == outputs else "sites",
                spent_ms.get(name),
            )
        return StreamStats(
            tuple(layers[name] for name in session.layer_names),
            sum(session.graph.macs(call.node) for call in session.lowered.fallbacks),
            self._fallback_done,
        )

    def change_map(self, layer: str) -> npt.NDArray[np.uint16]:
        """Changed inputs per pixel of a layer's input in the last frame: [rows, width]."""
        if layer in self._session.lowered.site_layers:
            tensor = self._session.lowered.site_layers[layer].x
            _, channels = self._session.lowered.sites.sizes[tensor]
            return np.asarray(self._open().read_code_mask(tensor), np.uint16) * np.uint16(channels)
        counts = self._open().layer_changes(self._layer(layer))
        return np.asarray(counts.sum(axis=2), np.uint16)

    def active_map(self, layer: str) -> npt.NDArray[np.bool_]:
        """Sites of a layer's output that were replaced in the last frame: [rows, width].

        Raises:
            MquansError: there is no such layer over sites.
        """
        if layer not in self._session.lowered.site_layers:
            raise MquansError(f"there is no layer over sites named {layer!r}.")
        tensor = self._session.lowered.site_layers[layer].y
        return np.asarray(self._open().read_code_mask(tensor), np.bool_)

    def held(self, layer: str) -> npt.NDArray[np.int16]:
        """A copy of the held values of a layer's input, in grid units or codes:
        [rows, width, C]."""
        if layer in self._session.lowered.site_layers:
            tensor = self._session.lowered.site_layers[layer].x
            return np.asarray(self._open().read_codes(tensor))
        return np.asarray(self._open().layer_held(self._layer(layer)))

    def layer_state(self, layer: str) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int32]]:
        """(held values [rows, width, C], accumulators [rows, width, O]) of a layer."""
        native, index = self._open(), self._layer(layer)
        return native.layer_held(index), native.layer_accumulators(index)

    def check(self) -> Violation | None:
        """Tests the law: every accumulator against the product of weights and held values, and that
        computing every site again from held codes changes none of them."""
        found = self._open().check()
        if found is None:
            return self._check_codes()
        name = list(self._session.lowered.layers)[found.layer]
        width = self._open().layer_accumulators(found.layer).shape[1]
        position = (found.pixel // width, found.pixel % width, found.output)
        return Violation(name, position, found.expected, found.found)

    def _check_codes(self) -> Violation | None:
        """The first code that computing everything again changes."""
        sites = self._session.lowered.sites
        if not self._session.coded or not self._frames:
            return None
        again = self.clone()
        again.recompute()
        for tensor in self._session.coded:
            found = self._open().read_codes(tensor)
            expected = again._open().read_codes(tensor)
            if not np.array_equal(found, expected):
                row, column, channel = np.argwhere(found != expected)[0].tolist()
                at = (row, column, channel)
                return Violation(sites.names[tensor], at, int(expected[at]), int(found[at]), "code")
        return None

    @property
    def profile(self) -> dict[str, float] | None:
        """Milliseconds spent in every step since profiling was turned on; None when it is off."""
        native = self._open()
        if not native.profile:
            return None
        return {
            name: ns / 1e6
            for name, ns in zip(self._session.step_labels, native.step_ns, strict=True)
        }

    @profile.setter
    def profile(self, on: bool) -> None:
        self._open().profile = on

    def flip_bit(self, layer: str, index: int, bit: int) -> None:
        """Plants a fault in one accumulator, or in one code that a layer over sites has made, to
        see that `check` finds it."""
        if layer in self._session.lowered.site_layers:
            tensor = self._session.lowered.site_layers[layer].y
            rows, width, channels = self._open().read_codes(tensor).shape
            if not (0 <= index < rows * width * channels and 0 <= bit <= 15):
                raise MquansError("no such bit.", where=layer)
            row, column, channel = np.unravel_index(index, (rows, width, channels))
            self._open().flip_code_bit(tensor, int(row), int(column), int(channel), bit)
            return
        try:
            self._open().flip_bit(self._layer(layer), index, bit)
        except ValueError as error:
            raise MquansError(f"{error}.", where=layer) from error

    def _open(self) -> Any:
        if self._native is None:
            raise MquansError(self._closed, hint="Open a new one with session.stream().")
        return self._native

    def _within_limits(self, codes: npt.NDArray[np.int16]) -> bool:
        """Sums cannot overflow only as long as no code is beyond its tensor's limit."""
        at = 0
        for tensor, size in self._session.coded.items():
            part = codes[at : at + size].astype(np.int32)
            if np.abs(part).max(initial=0) > self._session.lowered.sites.limits[tensor]:
                return False
            at += size
        return True

    def _layer(self, name: str) -> int:
        try:
            return self._session.lowered.layers[name]
        except KeyError:
            raise MquansError(f"there is no reuse layer named {name!r}.") from None

    def _run(self, *, dense: bool, keep_held: bool) -> None:
        first, moved, done = 0, set[str](), 0
        for call in self._session.lowered.fallbacks:
            self._native.run(first, call.step, dense, keep_held)
            if self._fallback(call, dense, moved):
                moved.update(call.node.outputs)
                done += self._session.graph.macs(call.node)
            first = call.step
        self._fallback_done = done
        self._native.run(first, len(self._session.step_labels), dense, keep_held)

    def _fallback(self, call: FallbackCall, dense: bool, moved: set[str]) -> bool:
        """Runs a fallback subgraph if anything it reads moved; tells whether it ran."""
        inputs = list(zip(call.node.inputs, call.inputs, strict=True))
        outputs = list(zip(call.node.outputs, call.outputs, strict=True))
        if not dense and not any(
            name in moved if x is None else self._native.mask_any(x.tensor) for name, x in inputs
        ):
            for _, y in outputs:
                if y is not None:
                    self._native.clear_mask(y.tensor)
            return False
        feeds = {
            name: self._outside[name] if x is None else self._native.read(x.tensor).reshape(x.dims)
            for name, x in inputs
        }
        results = self._session.run_fallback(call.node, feeds)
        for (name, y), result in zip(outputs, results, strict=True):
            if y is None:
                self._outside[name] = result
            else:
                self._native.write(y.tensor, np.ascontiguousarray(result, np.float32).reshape(-1))
        return True


def _refusal(fed: Arrays, given: Arrays) -> RefusedFrameError:
    """Why the inputs of a step, those of the frame and states, cannot be taken."""
    for name in fed.keys() - given.keys():
        if not np.isfinite(fed[name]).all():
            return RefusedFrameError(
                f"the network's state {name!r} has become NaN or infinite.",
                hint="Reset the stream.",
            )
    return RefusedFrameError(
        "the frame holds NaN or infinite values and was refused.",
        hint="The stream is unchanged; pass the next frame.",
    )


def _state_bytes(state: bytes | str | Path) -> bytes:
    if isinstance(state, bytes):
        return state
    return read_limited(state, STATE_LIMIT_BYTES, error=StateError)

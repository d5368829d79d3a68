"""The state of one camera or microphone, updated frame by frame."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from mquans import _native
from mquans.errors import MquansError, RefusedFrameError, StateError
from mquans.files import atomic_write, read_limited
from mquans.plan import Feedback
from mquans.runtime.layers import Layers, Violation
from mquans.runtime.lowering.lowered import FallbackCall
from mquans.runtime.processes import enough_memory, follow_forks
from mquans.runtime.state import check_fits, decode, install, snapshot
from mquans.runtime.stats import FrameWork, StreamStats
from mquans.sources.frames import begins, finite

if TYPE_CHECKING:
    from mquans.runtime.session import Session

STATE_LIMIT_BYTES = 1 << 32
"""Saved streams beyond 4 GiB are taken for damaged."""

Values = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
Arrays = Mapping[str, Values]
Frame = Values | Arrays
State = bytes | bytearray | memoryview | str | Path
"""A saved stream, or the file that holds it."""


class Stream:
    """Held values, accumulators and activations of one stream of a session.

    Not for two threads at once; different streams of a session may run in different threads.
    """

    def __init__(self, session: Session, native: Any = None, frames: int = 0) -> None:
        self._session = session
        self._network = session.compiled
        with enough_memory("another stream"):
            self._native = native or _native.Stream(self._network.lowered.program)
        self._frames = frames
        self._feedback = Feedback(session.plan.feedback, session.plan.input_shapes)
        # What fallback subgraphs made that the engine has no tensor for, by value name.
        self._outside: dict[str, npt.NDArray[Any]] = {}
        # A step broke off in the middle: the next one computes everything.
        self._torn = False
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
        """Takes a frame and returns the network's outputs. With a `FirstFrame`, where a recording
        begins, the stream begins anew.

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
            ModelError: onnxruntime cannot run a fallback subgraph on the frame. Whatever breaks a
                step off in the middle, Ctrl-C too, makes the next frame a keyframe; states are
                those of before.
        """
        given = self._session.frame_arrays(frame)
        with self._lock:
            native = self._open()
            if begins(frame) and self._frames:
                if not finite(given):
                    raise _refusal(given, given)
                self._begin_anew()
            fed = self._feedback.fill(given)
            arrays = [fed[name] for name in self._network.graph.inputs]
            keyframe = keyframe or self._frames == 0 or self._torn
            before = native.step_ns if native.profile else None
            if not self._network.lowered.fallbacks:
                outputs = self._network.empty_outputs()
                ok = native.step(arrays, list(outputs.values()), keyframe)
                outputs = self._network.as_declared(outputs)
            else:
                torn, self._torn = self._torn, True
                ok = native.begin_frame(arrays, keyframe)
                if ok:
                    self._run(native, dense=keyframe, keep_held=False)
                    torn, outputs = False, self._fetched()
                self._torn = torn
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
        self._settled()
        return self._fetched()

    def _fetched(self) -> dict[str, npt.NDArray[np.float32]]:
        outputs = self._network.empty_outputs()
        self._open().fetch(list(outputs.values()))
        if not self._outside:
            return self._network.as_declared(outputs)
        found = self._network.as_declared(outputs | self._outside)
        return {name: found[name].copy() for name in self._network.graph.outputs}

    def values(self, names: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
        """Copies of values that fallback subgraphs read, by name, as the last step left them.

        Raises:
            MquansError: no fallback subgraph reads it as floats of a known size.
        """
        placed = {
            name: x
            for call in (self._network.lowered.fallbacks if names else ())
            for name, x in zip(call.node.inputs, call.inputs, strict=True)
            if x is not None
        }
        if unknown := [name for name in names if name not in placed]:
            raise MquansError(
                f"no fallback subgraph reads a value {unknown[0]!r} as floats of a known size.",
                hint=f"Such values are: {', '.join(placed) or 'none'}.",
            )
        native = self._open()
        return {name: native.read(placed[name].tensor).reshape(placed[name].dims) for name in names}

    def recompute(self) -> None:
        """Recomputes every layer densely from its held values. Changes no output (the law)."""
        with self._lock:
            native = self._settled()
            if self._frames:
                self._torn = True
                self._run(native, dense=True, keep_held=True)
                self._torn = False

    def reset(self) -> None:
        """Forgets everything; the next frame is a first frame."""
        with self._lock:
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._open().reset()
        self._feedback.reset()
        self._frames = 0
        self._torn = False

    def clone(self) -> Stream:
        """An independent stream in the same state."""
        with self._lock:
            with enough_memory("another stream"):
                native = self._settled().clone()
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
            state = snapshot(self._network, self._settled(), self._frames).encode()
        if path is not None:
            atomic_write(path, state, error=StateError)
        return state

    def load(self, state: State) -> None:
        """Replaces the state by a saved one; on error the stream is as it was.

        Raises:
            StateError: damaged, or saved under another model or plan.
        """
        saved = decode(_state_bytes(state))
        with self._lock:
            check_fits(self._network, self._open(), saved)
            other = Stream(self._session, frames=saved.frames)
            if saved.frames:
                install(self._network, other._native, saved)
                other._run(other._native, dense=True, keep_held=True)
                other._feedback.keep(other.outputs())
            self._native, self._frames, self._torn = other._native, other._frames, False
            self._feedback, self._outside = other._feedback, other._outside
            self._fallback_done = other._fallback_done

    @property
    def stats(self) -> StreamStats:
        """What the last step cost; with the time of each layer while `profile` is on."""
        return self._layers().stats(self._frame_ns or (), self._fallback_done)

    @property
    def work(self) -> FrameWork:
        """What the last step cost in sums, which are at hand sooner than `stats`."""
        return self._layers().work(self._fallback_done)

    def change_map(self, layer: str) -> npt.NDArray[np.uint16]:
        """Changed inputs per pixel of a layer's input in the last frame: [rows, width]."""
        return self._layers().change_map(layer)

    def active_map(self, layer: str) -> npt.NDArray[np.bool_]:
        """Sites of a layer's output that were replaced in the last frame: [rows, width].

        Raises:
            MquansError: there is no such layer over sites.
        """
        return self._layers().active_map(layer)

    def held(self, layer: str) -> npt.NDArray[np.int16]:
        """A copy of the held values of a layer's input, in grid units or codes:
        [rows, width, C]."""
        return self._layers().held(layer)

    def layer_state(self, layer: str) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int32]]:
        """(held values [rows, width, C], accumulators [rows, width, O]) of a layer."""
        return self._layers().state(layer)

    def check(self) -> Violation | None:
        """Tests the law: every accumulator against the product of weights and held values, and that
        computing every site again from held codes changes none of them."""
        layers = self._layers()
        found = layers.wrong_accumulator()
        if found is not None or not self._network.coded or not self._frames:
            return found
        again = self.clone()
        again.recompute()
        return layers.other_code(again._layers())

    @property
    def profile(self) -> dict[str, float] | None:
        """Milliseconds spent in every step since profiling was turned on; None when it is off."""
        native = self._open()
        if not native.profile:
            return None
        return {
            name: ns / 1e6
            for name, ns in zip(self._network.step_labels, native.step_ns, strict=True)
        }

    @profile.setter
    def profile(self, on: bool) -> None:
        self._open().profile = on

    def flip_bit(self, layer: str, index: int, bit: int) -> None:
        """Plants a fault in one accumulator, or in one code that a layer over sites has made, to
        see that `check` finds it. Codes are held against what the layer makes through its gate, as
        the law is stated: a change that a gate keeps back is no fault."""
        self._layers().flip_bit(layer, index, bit)

    def _layers(self) -> Layers:
        return Layers(self._network, self._open())

    def _open(self) -> Any:
        if self._native is None:
            raise MquansError(self._closed, hint="Open a new one with session.stream().")
        return self._native

    def _settled(self) -> Any:
        """The native stream between two frames.

        Raises:
            MquansError: closed, or the last step broke off.
        """
        native = self._open()
        if self._torn:
            raise MquansError(
                "the last step of the stream broke off in the middle.",
                hint="Pass the next frame, which is then computed whole, or reset the stream.",
            )
        return native

    def _run(self, native: Any, *, dense: bool, keep_held: bool) -> None:
        first, moved, done = 0, set[str](), 0
        for call in self._network.lowered.fallbacks:
            native.run(first, call.step, dense, keep_held)
            if self._fallback(native, call, dense, moved):
                moved.update(call.node.outputs)
                done += self._network.graph.macs(call.node)
            first = call.step
        self._fallback_done = done
        native.run(first, len(self._network.step_labels), dense, keep_held)

    def _fallback(self, native: Any, call: FallbackCall, dense: bool, moved: set[str]) -> bool:
        """Runs a fallback subgraph if anything it reads moved; tells whether it ran."""
        inputs = list(zip(call.node.inputs, call.inputs, strict=True))
        outputs = list(zip(call.node.outputs, call.outputs, strict=True))
        if not dense and not any(
            name in moved if x is None else native.mask_any(x.tensor) for name, x in inputs
        ):
            for _, y in outputs:
                if y is not None:
                    native.clear_mask(y.tensor)
            return False
        feeds = {
            name: self._outside[name] if x is None else native.read(x.tensor).reshape(x.dims)
            for name, x in inputs
        }
        results = self._session.run_fallback(call.node, feeds)
        for (name, y), result in zip(outputs, results, strict=True):
            if y is None:
                self._outside[name] = result
            else:
                native.write(y.tensor, np.ascontiguousarray(result, np.float32).reshape(-1))
        return True


def plan_of(state: State) -> str:
    """Fingerprint of the plan that a stream was saved under.

    Raises:
        StateError: damaged.
    """
    return decode(_state_bytes(state)).plan_fingerprint


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


def _state_bytes(state: State) -> bytes:
    if isinstance(state, bytes | bytearray | memoryview):
        return bytes(state)
    return read_limited(state, STATE_LIMIT_BYTES, error=StateError)

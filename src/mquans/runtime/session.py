"""A network and its plan, weights packed once and shared by all streams."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mquans import _native
from mquans.errors import FrameError, MquansError, PlanError
from mquans.graph import Fallback, Node
from mquans.onnx import ModelFile, explained, import_model, read_model
from mquans.onnx.limits import HINT as LIMITS_HINT
from mquans.onnx.limits import Limits
from mquans.onnx.timed_run import OpenFallback, OutOfTimeError
from mquans.plan import (
    Plan,
    check_model,
    check_plan,
    pixel_values,
    read_plan,
)
from mquans.runtime.compiled import Compiled
from mquans.runtime.lowering.lowered import Lowered
from mquans.runtime.lowering.program import lower
from mquans.runtime.processes import ending_waits, enough_memory, follow_forks
from mquans.runtime.stream import Frame, State, Stream, Values
from mquans.sources.frames import network_values
from mquans.threads import check_threads

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class NodeArg:
    """What `get_inputs` and `get_outputs` return, as onnxruntime's: name, shape, type."""

    name: str
    shape: list[int | None]
    type: str


def available_isas() -> list[str]:
    """Instruction sets that this CPU has, slowest first."""
    return list(_native.available_isas())


def choose_isa(wanted: str | None) -> str:
    """The wanted instruction set, else MQUANS_ISA, else the fastest of this CPU.

    Raises:
        MquansError: this CPU lacks it.
    """
    available = available_isas()
    isa = wanted or os.environ.get("MQUANS_ISA") or available[-1]
    if isa not in available:
        raise MquansError(
            f"this CPU cannot run the instruction set {isa!r}.",
            hint=f"Choose one of: {', '.join(available)}.",
        )
    return isa


class Session:
    """Weights and program of one network under one plan; read-only once made.

    Args:
        model: ONNX file, its bytes, a ModelProto, or a torch module.
        plan: a Plan, or the path of one.
        threads: cores that one frame may use.
        isa: instruction set; default MQUANS_ISA, else the fastest of this CPU.

    Raises:
        ModelError: the model cannot be read or run.
        PlanError: the plan is malformed or was made for another model.
    """

    def __init__(
        self,
        model: str | Path | bytes | onnx.ModelProto | ModelFile | Any,
        plan: Plan | str | Path,
        *,
        threads: int = 1,
        isa: str | None = None,
    ) -> None:
        check_threads(threads)
        file = read_model(model)
        # What a pickle opens again: a path where there is one, since a file may be large.
        self._model = Path(model).resolve() if isinstance(model, str | Path) else file
        self._wanted_isa = isa
        self._seconds = Limits.from_environment().seconds
        self._exposed: tuple[str, ...] = ()
        plan = plan if isinstance(plan, Plan) else read_plan(plan)
        check_model(plan, file.sha256)
        self.isa = choose_isa(isa)
        self.threads = threads
        self.model_sha256 = file.sha256
        self.graph = import_model(file, plan.options, loads=True)
        self._fallbacks: dict[str, OpenFallback] = {}
        self._adopt(plan)

    def _adopt(self, plan: Plan) -> None:
        """Packs weights and program for a plan."""
        check_plan(plan, self.graph, model_sha256=self.model_sha256)
        self.plan = plan
        with enough_memory("the network's weights"):
            lowered = lower(self.graph, plan, isa=self.isa, threads=self.threads)
        self.compiled = Compiled(self.graph, plan, self.model_sha256, lowered)
        # What a frame brings: all inputs but the states.
        self._fed = tuple(name for name in self.graph.inputs if name not in plan.feedback)
        self._fed_names = frozenset(self._fed)
        # Inputs that the engine takes as pixels of 8 bits.
        self._pixel_inputs = frozenset(
            name
            for name, taken in zip(self.graph.inputs, lowered.program.pixel_inputs, strict=True)
            if taken
        )
        self._default: Stream | None = None
        self._lock = threading.Lock()
        follow_forks(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds the model's path or bytes, the plan and the options; streams are left
        out. Where it is loaded the model is read and its weights are packed again."""
        arguments = self._model, self.plan, self.threads, self._wanted_isa, self._exposed
        return type(self)._reopened, arguments

    @classmethod
    def _reopened(
        cls,
        model: Path | ModelFile,
        plan: Plan,
        threads: int,
        isa: str | None,
        exposed: tuple[str, ...],
    ) -> Session:
        session = cls(model, plan, threads=threads, isa=isa)
        return session.exposing(exposed) if exposed else session

    def follow_fork(self) -> None:
        """In a forked child: what another thread was using there is made anew."""
        if self._lock.locked():
            self._default = None
        self._lock = threading.Lock()
        # Sessions of onnxruntime wait for their threads when they end; a child has none of these.
        _native.keep_forever(self._fallbacks)
        self._fallbacks = {}

    def with_plan(self, plan: Plan) -> Session:
        """The same network under another plan, without reading the model again; its own weights,
        all other options as here.

        Raises:
            PlanError: the plan was made for another model or other input shapes, or computes other
                layers in floats.
        """
        if tuple(plan.floats) != tuple(self.plan.floats):
            raise PlanError(
                "the plan computes other layers in floats than the session does.",
                where="floats",
                hint="Open a session with this plan.",
            )
        other = self._shared()
        other._adopt(plan)
        return other

    def exposing(self, values: Sequence[str]) -> Session:
        """The same network and plan; steps also return these values of the graph, by name."""
        more = [name for name in values if name not in self.graph.outputs]
        other = self._shared()
        other._exposed = (*self._exposed, *more)
        other.graph = replace(self.graph, outputs=(*self.graph.outputs, *more))
        other._adopt(self.plan)
        return other

    def _shared(self) -> Session:
        """A session of the same attributes; `copy` would do as pickles do, and read the model."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    @property
    def frame_inputs(self) -> tuple[str, ...]:
        """Inputs that a frame brings: all but the states that the plan feeds back."""
        return self._fed

    @property
    def weights_bytes(self) -> int:
        """Memory of packed weights and of constants, shared by all streams."""
        return int(self.lowered.program.weights_bytes)

    @property
    def lowered(self) -> Lowered:
        """The native program, and where everything lies in it."""
        return self.compiled.lowered

    @property
    def layer_names(self) -> list[str]:
        """Reuse layers in the network's order; a recurrence may have two."""
        return self.compiled.layer_names

    @property
    def plan_fingerprint(self) -> str:
        """What saved streams know the plan by."""
        return self.compiled.plan_fingerprint

    def stream(self) -> Stream:
        """A new stream: the state of one camera or microphone."""
        return Stream(self)

    def restore(self, state: State) -> Stream:
        """A stream that continues from a saved state, with bit-equal outputs.

        Raises:
            StateError: damaged, or saved under another model or plan.
        """
        stream = self.stream()
        stream.load(state)
        return stream

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, npt.NDArray[np.float32]],
        run_options: object = None,
    ) -> list[npt.NDArray[np.float32]]:
        """Drop-in for `onnxruntime.InferenceSession.run`: consecutive calls are one stream.

        Raises:
            FrameError: as `Stream.step`; or an unknown output name.
        """
        names = list(output_names) if output_names else self.graph.listed_outputs()
        unknown = [name for name in names if name not in self.graph.outputs]
        if unknown:
            raise FrameError(
                f"the network has no output {unknown[0]!r}.",
                hint=f"Its outputs are: {', '.join(self.graph.outputs)}.",
            )
        with self._lock:
            if self._default is None:
                self._default = self.stream()
            outputs = self._default.step(input_feed)
        return [outputs[name] for name in names]

    def get_inputs(self) -> list[NodeArg]:
        """Inputs of the network, as onnxruntime lists them."""
        return [self._argument(name) for name in self.graph.inputs]

    def get_outputs(self) -> list[NodeArg]:
        """Outputs of the network, as onnxruntime lists them."""
        return [self._argument(name) for name in self.graph.listed_outputs()]

    def _argument(self, name: str) -> NodeArg:
        dtype = self.graph.dtype(name)
        dtype = {"float32": "float", "float64": "double"}.get(dtype, dtype)
        sizes = self.graph.shape(name)
        shape: list[int | None] = [None if size < 0 else size for size in sizes]
        return NodeArg(name, shape, f"tensor({dtype})")

    def get_providers(self) -> list[str]:
        """Where the session runs, as onnxruntime lists it."""
        return ["CPUExecutionProvider"]

    def frame_arrays(self, frame: Frame) -> dict[str, Values]:
        """A frame by input name, as the native code takes it: contiguous arrays, float32 or, where
        pixels may come as they are, uint8.

        States that the plan feeds back may be missing; constants of the plan may be there.

        Raises:
            FrameError: an input is missing, unknown, or has the wrong shape or dtype.
        """
        if isinstance(frame, np.ndarray) or not isinstance(frame, Mapping):
            if len(self._fed) != 1:
                raise FrameError(f"the network has {len(self._fed)} inputs: pass arrays by name.")
            return {self._fed[0]: self._checked(self._fed[0], frame)}
        if frame.keys() != self._fed_names:
            frame = self._without_constants(frame)
        return {name: self._checked(name, value) for name, value in frame.items()}

    def _without_constants(self, frame: Mapping[str, Any]) -> Mapping[str, Any]:
        """The inputs of a frame that are fed, after a check of the names."""
        for name, constant in self.plan.constants.items():
            if name in frame and np.any(frame[name] != constant):
                raise FrameError(
                    f"the plan was made for {constant:g} only.", where=f"input {name!r}"
                )
        given = {name: frame[name] for name in frame if name not in self.plan.constants}
        missing = [name for name in self._fed if name not in given]
        unknown = [name for name in given if name not in self.graph.inputs]
        if missing or unknown:
            raise FrameError(
                f"no value for input {missing[0]!r}." if missing else f"no input {unknown[0]!r}.",
                hint=f"The network's inputs are: {', '.join(self.graph.inputs)}.",
            )
        return given

    def _checked(self, name: str, value: Any) -> Values:
        expected = self.graph.shape(name)
        try:
            array = np.asarray(value)
        except ValueError as error:  # nested lists of unequal lengths
            raise FrameError("the frame is not an array.", where=name) from error
        if array.shape != expected:
            raise FrameError(
                f"expected shape {list(expected)}, got {list(array.shape)}.", where=name
            )
        declared = self.graph.declared.get(name)
        if array.dtype == np.uint8 and (
            declared is None or self._is_prepared(name) or name in self._pixel_inputs
        ):
            return self._pixels(name, array)
        if declared is not None:
            return network_values(array, declared, where=name)
        if array.dtype != np.float32:
            raise FrameError(
                f"expected float32 values, got {array.dtype}.",
                where=name,
                hint="Convert with .astype(numpy.float32).",
            )
        return np.asarray(array, order="C")

    def _is_prepared(self, name: str) -> bool:
        """Whether the plan says what pixels of an input stand for."""
        return self.plan.input is not None and self.plan.input.name == name

    def _pixels(self, name: str, array: npt.NDArray[np.uint8]) -> Values:
        if name in self._pixel_inputs:
            return np.asarray(array, order="C")
        if not self._is_prepared(name):
            raise FrameError(
                "got pixels (uint8), but the plan does not say what they stand for.",
                where=name,
                hint="Convert with .astype(numpy.float32), or calibrate on pictures.",
            )
        assert self.plan.input is not None
        return pixel_values(array, self.plan.input)

    def run_fallback(
        self, node: Node, feeds: Mapping[str, npt.NDArray[np.float32]]
    ) -> list[npt.NDArray[np.float32]]:
        """One fallback subgraph on onnxruntime; its session is made at first use."""
        assert isinstance(node.op, Fallback)
        if node.name not in self._fallbacks:
            self._fallbacks[node.name] = OpenFallback(node.op.model, self.threads)
        try:
            with ending_waits():
                return self._fallbacks[node.name].run(node.outputs, feeds, self._seconds)
        except OutOfTimeError:
            raise MquansError(
                f"it took longer than {self._seconds:g} seconds.",
                where=f"node {node.name!r}",
                hint=LIMITS_HINT,
            ) from None
        except Exception as error:
            raise MquansError(
                f"onnxruntime cannot run it: {explained(error)}", where=f"node {node.name!r}"
            ) from None

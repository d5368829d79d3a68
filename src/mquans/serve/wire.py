"""What supervisor and workers say to each other, as MessagePack over a socket.

An owner of a camera is known by (camera, epoch): the supervisor counts epochs up whenever it gives
a camera to a worker anew, and takes nothing of lower ones.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

EngineName: TypeAlias = Literal["mquans", "onnxruntime"]
CameraState: TypeAlias = Literal[
    "connecting", "live", "stalled", "retry", "ended", "disabled", "waiting"
]


class _Message(msgspec.Struct, frozen=True, tag=True):
    pass


class ModelJob(msgspec.Struct, frozen=True):
    """A network to be run.

    Attributes:
        key: of its content: models of one key are one in a worker.
        onnx, plan: files.
        decode, threshold: see `config.ModelOptions`.
    """

    key: tuple[str, str, str]
    onnx: str
    plan: str
    decode: str | None
    threshold: float | None
    engine: EngineName


class CameraJob(msgspec.Struct, frozen=True):
    """A camera to be run; see `config.CameraOptions`.

    Attributes:
        state_file: where its stream is saved; not at all where it is empty.
        restore: go on from that file.
        position: frames of a file that were taken before.
    """

    name: str
    epoch: int
    source: str
    model: ModelJob
    fps: float
    stall_s: float
    retry_s: tuple[float, float]
    loop: bool = False
    guard: tuple[float, int] | None = None
    state_file: str = ""
    restore: bool = False
    position: int = 0


class Add(_Message, frozen=True):
    job: CameraJob


class Remove(_Message, frozen=True):
    camera: str


class Upgrade(_Message, frozen=True):
    """Go on with another model once it has run beside the present one."""

    camera: str
    epoch: int
    model: ModelJob


class Watch(_Message, frozen=True):
    """Send pictures, maps of active sites and shares by layer as well, or no more."""

    camera: str
    on: bool


class Keyframe(_Message, frozen=True):
    camera: str


class Tensor(msgspec.Struct, frozen=True):
    """An array as bytes in C order, little-endian."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> Tensor:
        return cls(array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes())

    def array(self) -> npt.NDArray[Any]:
        return np.frombuffer(self.data, self.dtype).reshape(self.shape)


class Infer(_Message, frozen=True):
    """A frame of a sequence.

    Attributes:
        request: number that the answer bears.
        sequence: empty for a frame on its own.
        start, end: begin the sequence with this frame; forget it afterwards.
    """

    request: int
    model: ModelJob
    sequence: str
    start: bool
    end: bool
    inputs: dict[str, Tensor]


class Forget(_Message, frozen=True):
    """A sequence that nobody goes on with."""

    sequence: str


class Drain(_Message, frozen=True):
    """Save all streams that can be saved in time, and end."""

    within_s: float


class Beat(_Message, frozen=True):
    """The stepping thread goes round."""


class Counts(msgspec.Struct, frozen=True):
    """Of one camera since its worker began with it.

    Attributes:
        frames: that were computed.
        dropped: that came too fast to be computed.
        refused: with values that are not finite.
        keyframes: but for the first frame, and those that the engine makes by itself.
        errors: frames that ended in an error.
        connects: times that the source was opened.
        overflows: times that sound began anew.
        position: frames of a file that were taken so far.
    """

    frames: int = 0
    dropped: int = 0
    refused: int = 0
    keyframes: int = 0
    errors: int = 0
    connects: int = 0
    overflows: int = 0
    position: int = 0


class Heat(msgspec.Struct, frozen=True):
    """Share of active sites, row by row, 0 to 255."""

    columns: int
    rows: int
    data: bytes


class Frame(_Message, frozen=True):
    """One frame of a camera.

    Attributes:
        taken_s, done_s: when it came and when it was computed, of the machine's monotonic clock.
        step_ms: of computing.
        reuse: share of MACs that were not done.
        size: width and height of the picture.
        boxes: left, top, right, bottom in shares of the picture, score, class.
        values: of small outputs, by name.
        guard: steps that the guard has tightened, and its counts.
        jpeg, heat, layers: only while it is watched; layers: share of MACs done, by name.
    """

    camera: str
    epoch: int
    taken_s: float
    done_s: float
    step_ms: float
    reuse: float
    keyframe: str
    size: tuple[int, int] | None
    boxes: list[tuple[float, float, float, float, float, int]]
    values: dict[str, list[float]]
    counts: Counts
    guard: dict[str, float] | None = None
    jpeg: bytes | None = None
    heat: Heat | None = None
    layers: list[tuple[str, float]] | None = None


class Told(_Message, frozen=True):
    """What happened to a camera.

    Attributes:
        state: unless it stays.
        text: for people; empty where the state says it all.
        retry_s: until the next attempt.
        counts: where no frame tells of them.
    """

    camera: str
    epoch: int
    state: CameraState | None
    text: str = ""
    retry_s: float = 0.0
    counts: Counts | None = None


class Upgraded(_Message, frozen=True):
    """How an upgrade ended.

    Attributes:
        problem: empty if the new model has taken over.
    """

    camera: str
    epoch: int
    key: tuple[str, str, str]
    problem: str = ""


class Drained(_Message, frozen=True):
    """A camera's last word.

    Attributes:
        saved: its stream, to the job's file.
        problem: why not.
    """

    camera: str
    epoch: int
    saved: bool
    position: int
    problem: str = ""


class Inferred(_Message, frozen=True):
    """The answer to `Infer`.

    Attributes:
        status: of HTTP; 200 for success.
    """

    request: int
    status: int
    problem: str = ""
    outputs: dict[str, Tensor] = {}


ToWorker: TypeAlias = Add | Remove | Upgrade | Watch | Keyframe | Infer | Forget | Drain
FromWorker: TypeAlias = Beat | Frame | Told | Upgraded | Drained | Inferred

encode = msgspec.msgpack.Encoder().encode
decode_order = msgspec.msgpack.Decoder(ToWorker).decode
decode_report = msgspec.msgpack.Decoder(FromWorker).decode

"""The plan: everything calibration decides, and the only thing the engine is told.

A plan is small readable JSON beside the untouched model. Unknown fields, wrong types and values
out of range are refused when it is read (`plan.file`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from mquans.plan.audio import AudioFormat
from mquans.plan.options import NetworkOptions

if TYPE_CHECKING:
    from mquans.files import PathLike

FORMAT: Final = "mquans-plan"
VERSION: Final = 2

Rule = Literal["hold", "nearest"]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]

COLOR_CHANNELS: Final = {"rgb": 3, "bgr": 3, "yuv": 3, "gray": 1}


class InputFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a picture, or a window of pictures, becomes the network's input: resize, colour order,
    layout and `(pixel * scale - mean) / std` with pixels from 0 to 255. A source of ready tensors
    bypasses it.

    Attributes:
        name: the graph input that is fed.
        width, height: pixels after resizing.
        resize: stretch to size, or letterbox (keep the aspect, pad with `fill`).
        anchor: where a letterboxed picture lies: in the centre, or in the top left corner with all
            of the border to the right or below, as YOLOX takes it.
        color: channel order handed to the network. yuv is full-range analogue Y'UV with U and V
            around 128, as OpenCV's COLOR_RGB2YUV; gray is its Y.
        layout: axis order of the network's input; with an axis t, that of a window.
        scale, mean, std: per channel or one value for all, in the order of `color`.
        fill: pixel value (0 to 255) of letterbox borders.
        window: pictures along the axis t, in the order they are shown.
        hop: pictures from the beginning of one window to that of the next.
    """

    name: str
    width: Size
    height: Size
    resize: Literal["stretch", "letterbox"] = "stretch"
    anchor: Literal["centre", "top_left"] = "centre"
    color: Literal["rgb", "bgr", "gray", "yuv"] = "rgb"
    layout: Literal["nchw", "nhwc", "ncthw", "ntchw", "nthwc"] = "nchw"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    fill: Annotated[float, msgspec.Meta(ge=0, le=255)] = 114.0
    window: Size = 1
    hop: Size = 1

    @property
    def channels(self) -> int:
        """Of colour."""
        return COLOR_CHANNELS[self.color]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the network's input."""
        sizes = {"n": 1, "c": self.channels, "t": self.window, "h": self.height, "w": self.width}
        return tuple(sizes[axis] for axis in self.layout)


class LayerPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Precision of one reuse layer.

    Attributes:
        name: the node's name in the imported graph.
        delta: size of one grid unit in units of the layer's input: one number for every neuron, or
            one per neuron.
        bits: one number for every neuron, or one per neuron; 1 to grid_bits.
        weight_bits: width of the integer weights.
    """

    name: str
    delta: Positive | tuple[Positive, ...]
    bits: (
        Annotated[int, msgspec.Meta(ge=1, le=12)]
        | tuple[Annotated[int, msgspec.Meta(ge=1, le=12)], ...]
    )
    weight_bits: Literal[8, 16] = 8


Exponent = Annotated[int, msgspec.Meta(ge=-60, le=60)]


class GatePlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a site's new codes replace the held ones: once the mean over channels of
    `(change / scale[c])**2` is beyond `(tolerance * factor)**2` (design, section 4).

    Attributes:
        scale: change of a channel that counts as one, in units of the tensor: small for channels
            that matter; one number for all, or one per channel.
        factor: of the plan's tolerance, for this gate.
    """

    scale: Positive | tuple[Positive, ...]
    factor: Positive = 1.0


class TensorPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Codes of one tensor: `x = code * 2**exponent[channel]`.

    Attributes:
        name: the value's name in the imported graph.
        axis: its channels.
        exponents: one number for every channel, or one per channel.
        bits: of a code, sign included; codes are clamped to `2**(bits - 1) - 1`.
        gate: None where every site that was computed and differs is taken.
    """

    name: str
    axis: Annotated[int, msgspec.Meta(ge=0, le=7)] = 1
    exponents: Exponent | tuple[Exponent, ...]
    bits: Annotated[int, msgspec.Meta(ge=8, le=16)] = 16
    gate: GatePlan | None = None


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a plan comes from, for people; nothing is computed from it."""

    mquans: str
    sources: tuple[str, ...]
    frames: int
    created: str
    """UTC, ISO 8601."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result of calibration.

    Attributes:
        model_sha256: of the model file's bytes; a plan is refused for any other model.
        input_shapes: fixed shape of every graph input.
        constants: value of every graph input that is the same in all frames, such as a sample rate.
        feedback: state inputs by the output that feeds them in the next frame; zeros in the first.
        carry_state: recurrent layers without state inputs go on where the last frame ended; their
            states are then inputs and outputs in `feedback`.
        floats: convolutions over time and linear layers that are computed in floats, by node name:
            what they read or make spans more than codes do.
        input: picture preparation, or None when the stream is ready tensors or sound.
        audio: preparation of sound, or None when the stream is ready tensors or pictures.
        rule: when a held value is updated (design, section 3).
        grid_bits: observed range of every layer input in grid units, log2; the grid itself reaches
            3.5 times as far (headroom).
        tolerance: of all gates, see `GatePlan`.
        motion_gate: share of the pixels of a block of 32 by 32 that have to move somewhere; else
            the picture is still, and none of it is taken. 0: no picture is.
        motion_tolerance: pixels move that the gate in front of the picture would take under this
            tolerance; 0: under that of all gates.
        tensors: one entry for each tensor that the integer engine gives codes of its own.
        layers: one entry for each layer computed value by value.
    """

    format: Literal["mquans-plan"] = FORMAT
    version: int = VERSION
    model: str
    model_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    input_shapes: dict[str, tuple[Annotated[int, msgspec.Meta(ge=0)], ...]]
    constants: dict[str, float] = {}
    feedback: dict[str, str] = {}
    carry_state: bool = False
    floats: tuple[str, ...] = ()
    input: InputFormat | None = None
    audio: AudioFormat | None = None
    rule: Rule = "hold"
    grid_bits: Annotated[int, msgspec.Meta(ge=4, le=12)] = 12
    tolerance: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    motion_gate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    motion_tolerance: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    tensors: tuple[TensorPlan, ...] = ()
    layers: tuple[LayerPlan, ...]
    provenance: Provenance

    @property
    def options(self) -> NetworkOptions:
        """How the model file is to be run."""
        return NetworkOptions(
            self.input_shapes, self.constants, self.feedback, self.carry_state, self.floats
        )

    @property
    def preparation(self) -> InputFormat | AudioFormat | None:
        """How a source becomes the network's input; None for ready tensors."""
        return self.audio or self.input

    def layer(self, name: str) -> LayerPlan:
        """The entry of one reuse layer.

        Raises:
            KeyError: the plan has no such layer.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    @classmethod
    def load(cls, path: PathLike) -> Plan:
        """Read and check a plan.

        Raises:
            PlanError: unreadable, not a plan, from a newer version, or with a wrong value.
        """
        from mquans.plan.file import read_plan

        return read_plan(path)

    def save(self, path: PathLike) -> None:
        """Write the plan to a file, whole or not at all.

        Raises:
            PlanError: the plan is not valid, or the file cannot be written.
        """
        from mquans.plan.file import write_plan

        write_plan(self, path)

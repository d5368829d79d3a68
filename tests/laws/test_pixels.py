"""Pixels of 8 bits are the frames that they stand for: whoever hands them over as they come from
the decoder gets the same bits as with floats, on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mquans.errors import FrameError
from mquans.graph import Binary, Conv, Graph, Node, Transpose
from mquans.onnx import import_model, read_model, to_onnx
from mquans.plan import GatePlan, InputFormat, Plan, TensorPlan, pixel_values
from mquans.runtime.lowering.sites import analyse
from mquans.runtime.session import Session, available_isas

from .builders import PROVENANCE, same_outputs, typed
from .strategies import SEEDS, examples

SCALES = st.sampled_from(
    [
        {},
        {"scale": 1 / 255},
        {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        {"mean": (127.5,), "std": (-127.5,)},
    ]
)


CONV = Conv((3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, None)


def session(format: InputFormat, **options: Any) -> Session:
    """A network of one 3x3 convolution, with a gate in front of the picture."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [Node("conv", CONV, ("x", "w"), ("y",))]
    if format.layout == "nhwc":
        nodes = [
            Node("turned", Transpose((0, 3, 1, 2)), ("x",), ("t",)),
            Node("conv", CONV, ("t", "w"), ("y",)),
        ]
    graph = typed(Graph("net", ("x",), ("y",), nodes, {"w": weight}), {"x": format.shape})
    file = read_model(to_onnx(graph).SerializeToString())
    picture = nodes[-1].inputs[0]
    largest = float(np.abs(pixel_values(np.full(format.shape, 255, np.uint8), format)).max())
    exponent = int(np.ceil(np.log2(largest))) - 13
    gate = GatePlan(scale=largest)
    plan = Plan(
        model="model.onnx",
        model_sha256=file.sha256,
        input_shapes={"x": format.shape},
        tensors=(
            TensorPlan(name=picture, exponents=exponent, gate=gate),
            TensorPlan(name="y", exponents=exponent + 6),
        ),
        tolerance=0.02,
        layers=(),
        input=format,
        provenance=PROVENANCE,
    )
    return Session(file, plan, **options)


@examples(40)
@given(
    scale=SCALES, width=st.integers(1, 70), height=st.integers(1, 9),
    layout=st.sampled_from(("nchw", "nhwc")), seed=SEEDS,
)  # fmt: skip
def test_pixels_give_the_bits_of_their_values(
    scale: dict[str, Any], width: int, height: int, layout: str, seed: int
) -> None:
    format = InputFormat(name="x", width=width, height=height, layout=layout, **scale)  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, format.shape, np.uint8)
    floats = session(format, isa="scalar").stream()
    streams = [session(format, isa=isa, threads=2).stream() for isa in available_isas()]
    for _ in range(4):
        expected = floats.step(pixel_values(pixels, format))
        for stream in streams:
            same_outputs(stream.step(pixels), expected)
            assert stream.check() is None
        moved = rng.random(format.shape) < 0.1
        noise = rng.integers(-9, 10, format.shape)
        pixels = np.clip(np.where(moved, 255 - pixels, pixels) + noise, 0, 255).astype(np.uint8)


@examples(40)
@given(
    channels=st.integers(1, 4), width=st.integers(1, 70), height=st.integers(1, 9),
    batch=st.sampled_from((1, 2)), perm=st.sampled_from(((0, 3, 1, 2), (0, 3, 2, 1))),
    motion=st.sampled_from((0.0, 0.4)), as_pixels=st.booleans(),
    kinds=st.sampled_from(((), ("mul",), ("add",), ("mul", "add"))), seed=SEEDS,
)  # fmt: skip
def test_channels_side_by_side_give_the_bits_of_planes(
    channels: int, width: int, height: int, batch: int, perm: tuple[int, ...], motion: float,
    as_pixels: bool, kinds: tuple[str, ...], seed: int,
) -> None:  # fmt: skip
    """A network that turns its pictures itself, as converters from TensorFlow write it, and
    normalises them, is the same network; where rows of pixels are turned too, gates look at single
    pixels, which none shows."""
    planes = (batch, channels, height, width)
    given = tuple(planes[perm.index(axis)] for axis in range(4))
    by_blocks = perm[-1] == 2 and (batch == 1 or height % 2 == 0)
    motion = motion if by_blocks else 0.0
    # Layers take up one factor for all channels.
    kinds = kinds if by_blocks and (channels > 1 or "add" in kinds) else ()
    limit = 0.02 if perm[-1] == 2 else 0.0
    plain = turning(planes, None, given, limit, motion)
    turned = turning(planes, perm, given, limit, motion, kinds)
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, planes, np.uint8)
    as_pixels = as_pixels and batch == 1 and channels in (1, 3) and perm[-1] == 2
    first = Session(*plain, isa="scalar").stream()
    streams = [Session(*turned, isa=isa, threads=2).stream() for isa in available_isas()]
    for _ in range(5):
        expected = first.step(normalised(pixels.astype(np.float32), kinds))
        brought = np.ascontiguousarray(pixels.transpose([perm.index(axis) for axis in range(4)]))
        for stream in streams:
            same_outputs(
                stream.step(brought if as_pixels else brought.astype(np.float32)), expected
            )
            assert stream.check() is None
        moved = rng.random(planes) < rng.choice((0.01, 0.3))
        noise = rng.integers(-9, 10, planes)
        pixels = np.clip(np.where(moved, 255 - pixels, pixels) + noise, 0, 255).astype(np.uint8)


FACTORS = {"mul": (0.7, -1.3, 0.9, 0.4), "add": (-3.1, 40.7, 0.03, 2.0)}


def normalised(values: np.ndarray, kinds: tuple[str, ...]) -> np.ndarray:
    """[N, C, H, W] as `turning` leaves them."""
    for kind in kinds:
        numbers = np.array(FACTORS[kind], np.float32)[: values.shape[1], None, None]
        values = values * numbers if kind == "mul" else values + numbers
    return values


def turning(
    planes: tuple[int, ...], perm: tuple[int, ...] | None, given: tuple[int, ...], limit: float,
    motion: float, kinds: tuple[str, ...] = (),
) -> tuple[Any, Plan]:  # fmt: skip
    """(model, plan) of a 3x3 convolution over planes, which the network makes itself of what it is
    given if there is a permutation, and normalises."""
    constants = {"w": np.random.default_rng(0).normal(size=(5, planes[1], 3, 3))}
    nodes, value = list[Node](), "x"
    if perm:
        nodes.append(Node("t", Transpose(perm), ("x",), ("t",)))
        value = "t"
    for kind in kinds:
        constants[f"{kind}.k"] = np.array(FACTORS[kind])[: planes[1], None, None]
        nodes.append(Node(kind, Binary(kind), (value, f"{kind}.k"), (kind,)))  # type: ignore[arg-type]
        value = kind
    nodes.append(Node("y", CONV, (value, "w"), ("y",)))
    shape = given if perm else planes
    arrays = {name: array.astype(np.float32) for name, array in constants.items()}
    graph = typed(Graph("net", ("x",), ("y",), nodes, arrays), {"x": shape})
    file = read_model(to_onnx(graph).SerializeToString())
    (picture,) = analyse(import_model(file)).fresh().keys() - {"y"}
    format = None
    if perm and planes[0] == 1 and planes[1] in (1, 3) and perm[-1] == 2:
        color = "gray" if planes[1] == 1 else "rgb"
        format = InputFormat(
            name="x", width=planes[3], height=planes[2], color=color, layout="nhwc"
        )
    plan = Plan(
        model="m",
        model_sha256=file.sha256,
        input_shapes={"x": shape},
        input=format,
        tolerance=limit,
        motion_gate=motion,
        tensors=(
            TensorPlan(name=picture, exponents=-5, gate=GatePlan(scale=255.0)),
            TensorPlan(name="y", exponents=0),
        ),
        layers=(),
        provenance=PROVENANCE,
    )
    return file, plan


def test_pixels_need_a_plan_that_says_what_they_stand_for() -> None:
    """Guessing a scale would give confident nonsense."""
    format = InputFormat(name="x", width=8, height=8)
    made = session(format)
    bare = made.with_plan(replace(made.plan, input=None)).stream()
    pixels = np.zeros(format.shape, np.uint8)
    with pytest.raises(FrameError, match="does not say what they stand for"):
        bare.step(pixels)
    with pytest.raises(FrameError, match=r"expected shape \[1, 3, 8, 8\]"):
        made.stream().step(pixels[0])


def test_what_changed_reaches_the_outputs_that_read_it() -> None:
    """A page that shows where a network works would else show it somewhere else."""
    format = InputFormat(name="x", width=12, height=10)
    stream = session(format).stream()
    pixels = np.zeros(format.shape, np.uint8)
    stream.step(pixels)
    pixels[0, :, 4, 6] = 255
    stream.step(pixels)
    # Pixels are taken two by two; of the windows that read them, those that see the change differ.
    expected = np.zeros((10, 12), bool)
    expected[3:6, 5:8] = True
    [layer] = stream.stats.layers
    np.testing.assert_array_equal(stream.active_map(layer.name), expected)
    # All three channels of a pixel are taken together.
    assert np.unique(stream.change_map(layer.name), return_counts=True)[1].tolist() == [116, 4]
    assert stream.change_map(layer.name).max() == 3


@pytest.mark.parametrize(("rows", "keyframe"), [(6, False), (8, True)])
def test_a_picture_that_is_mostly_new_ends_all_staleness(rows: int, keyframe: bool) -> None:
    """Behind a cut, changes too small for a gate would else stay for as long as the scene does."""
    format = InputFormat(name="x", width=12, height=10)
    stream = session(format).stream()
    pixels = np.zeros(format.shape, np.uint8)
    stream.step(pixels)
    pixels[:, :, :rows] = 255
    pixels[:, :, 9] = 1  # alone, the gate keeps this back
    stream.step(pixels)
    [layer] = stream.stats.layers
    assert bool(stream.held(layer.name).reshape(10, 12, 3)[9].any()) is keyframe


def test_frames_like_one_that_left_all_the_work_to_do_are_keyframes() -> None:
    """Where gates keep nothing back, asking them costs time; where they do again, they are asked.
    Saved and copied streams decide alike."""
    format = InputFormat(name="x", width=12, height=10)
    network = session(format)
    stream = network.stream()
    pixels = np.zeros(format.shape, np.uint8)
    stream.step(pixels)

    def frame(light: int) -> bool:
        """Whether a keyframe. Half of the rows change, nine tenths of the outputs are computed."""
        pixels[:, :, [0, 1, 4, 5, 7]] = light
        pixels[:, :, 9] ^= 1  # alone, the gate keeps this back
        restored, copied = network.restore(stream.save()), stream.clone()
        stream.step(pixels)
        [layer] = stream.stats.layers
        held = stream.held(layer.name)
        for other in (restored, copied):
            other.step(pixels)
            assert np.array_equal(other.held(layer.name), held)
        return bool(held.reshape(10, 12, 3)[9].any() == (pixels[0, 0, 9, 0] > 0))

    assert not frame(255)
    busy = [frame(light) for light in (0, 255) * 6]
    assert all(busy[:4])
    assert not all(busy)

"""Feature pyramids resize; half a pixel off moves every box."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import NEWEST, Check, build, kinds, op

EMPTY = np.zeros(0, np.float32)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize(
    "coordinates", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
)
@pytest.mark.parametrize("scales", [[1, 1, 2, 2], [1, 1, 1.5, 2.5], [1, 1, 0.6, 0.5]])
def test_resize_by_scales(check: Check, mode: str, coordinates: str, scales: list[float]) -> None:
    node = op("Resize", "x r s", "y", mode=mode, coordinate_transformation_mode=coordinates)
    constants = {"r": EMPTY, "s": np.array(scales, np.float32)}
    check(build([node], {"x": (1, 2, 5, 7)}, ["y"], constants, opset=11))


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize("size", [(10, 14), (3, 4), (8, 5), (1, 1)])
def test_nearest_to_sizes(
    check: Check, rounding: str, coordinates: str, size: tuple[int, int]
) -> None:
    node = op(
        "Resize", "x - - z", "y",
        mode="nearest", nearest_mode=rounding, coordinate_transformation_mode=coordinates,
    )  # fmt: skip
    check(build([node], {"x": (1, 2, 5, 7)}, ["y"], {"z": np.array([1, 2, *size])}, opset=13))


@pytest.mark.parametrize("size", [(10, 14), (3, 4), (1, 1)])
def test_linear_to_sizes_computed_from_another_value(check: Check, size: tuple[int, int]) -> None:
    """U-Nets resize to the shape of the skip connection."""
    nodes = [
        op("Shape", "skip", "s"),
        op("Slice", "s two four", "hw"),
        op("Shape", "x", "t"),
        op("Slice", "t zero two", "bc"),
        op("Concat", "bc hw", "z", axis=0),
        op("Resize", "x - - z", "y", mode="linear"),
    ]
    constants = {"zero": np.array([0]), "two": np.array([2]), "four": np.array([4])}
    inputs = {"x": (1, 2, 5, 7), "skip": (1, 9, *size)}
    graph = check(build(nodes, inputs, ["y"], constants, opset=13))
    assert kinds(graph) == ["Resize:linear"] or len(graph.nodes) == 1


def test_cubic_that_excludes_outside(check: Check) -> None:
    node = op("Resize", "x - s", "y", mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5)
    constants = {"s": np.array([1, 1, 2, 1.5], np.float32)}
    check(build([node], {"x": (1, 2, 5, 6)}, ["y"], constants, opset=13))


def test_resize_of_some_axes(check: Check) -> None:
    node = op("Resize", "x - s", "y", mode="linear", axes=[2, 3])
    constants = {"s": np.array([2, 3], np.float32)}
    check(build([node], {"x": (1, 2, 5, 6)}, ["y"], constants, opset=18))


def test_half_pixel_symmetric(check: Check) -> None:
    coordinates = "half_pixel_symmetric"
    node = op("Resize", "x - s", "y", mode="linear", coordinate_transformation_mode=coordinates)
    constants = {"s": np.array([1, 1, 0.7, 1.3], np.float32)}
    check(build([node], {"x": (1, 2, 9, 6)}, ["y"], constants, opset=NEWEST))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [[1, 1, 2, 3], [1, 1, 0.5, 0.4]])
def test_upsample_and_resize_of_old_opsets(check: Check, mode: str, scales: list[float]) -> None:
    constants = {"s": np.array(scales, np.float32)}
    check(
        build(
            [op("Resize", "x s", "y", mode=mode)], {"x": (1, 2, 6, 5)}, ["y"], constants, opset=10
        )
    )
    if min(scales) >= 1:
        node = op("Upsample", "x s", "y", mode=mode)
        check(build([node], {"x": (1, 2, 6, 5)}, ["y"], constants, opset=9))


@pytest.mark.parametrize(
    "attributes", [{"antialias": 1}, {"keep_aspect_ratio_policy": "not_larger"}]
)
def test_what_is_not_native_is_an_fallback(check: Check, attributes: dict[str, object]) -> None:
    node = op("Resize", "x - - z", "y", mode="linear", axes=[2, 3], **attributes)
    model = build([node], {"x": (1, 2, 8, 8)}, ["y"], {"z": np.array([4, 3])}, opset=18)
    assert kinds(check(model, fallbacks=True)) == ["Fallback"]

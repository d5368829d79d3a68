"""If these break, a plan runs with a network it was not made for, and gives wrong numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from mquans.errors import PlanError
from mquans.graph.graph import Graph, ValueType
from mquans.plan import InputFormat, LayerPlan, Plan, check_plan
from mquans.plan.checks import MAX_DELTA, MIN_DELTA, check_values, problem_with

SHA256 = "ab" * 32
replace = msgspec.structs.replace


def test_fitting_plan_passes(plan: Plan, graph: Graph) -> None:
    check_plan(plan, graph, model_sha256=SHA256)


def test_changed_model_is_refused(plan: Plan, graph: Graph) -> None:
    with pytest.raises(PlanError, match="another model"):
        check_plan(plan, graph, model_sha256="cd" * 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {"layers": p.layers[:1]}, "lacks layers of the model: 'dense'"),
        (lambda p: {"layers": ()}, "lacks layers of the model: 'conv', 'dense'"),
        (lambda p: {"layers": (*p.layers, LayerPlan(name="more", delta=1.0, bits=4))},
         "layers that the model lacks: 'more'"),
        (lambda p: {"layers": (replace(p.layers[0], bits=(8, 8)), p.layers[1])},
         "bits for 2 neurons, but the layer has 3"),
        (lambda p: {"layers": (replace(p.layers[0], delta=(1.0,) * 4), p.layers[1])},
         "delta for 4 neurons, but the layer has 3"),
        (lambda p: {"input_shapes": {"image": (1, 3, 6, 4)}}, r"input shape \[1, 3, 6, 4\]"),
        (lambda p: {"input_shapes": {"picture": (1, 3, 4, 6)}}, "shapes for inputs 'picture'"),
        (lambda p: {"input_shapes": {}}, "shapes for inputs none"),
        (lambda p: {"input": replace(p.input, name="other")}, "not an input of the model"),
        (lambda p: {"input": replace(p.input, width=7)}, "pictures would have shape"),
        (lambda p: {"input": replace(p.input, layout="nhwc")}, "pictures would have shape"),
        (lambda p: {"input": replace(p.input, layout="ncthw", window=2)},
         r"prepared pictures would have shape \[1, 3, 2, 4, 6\], but"),
        (lambda p: {"feedback": {"image": "y"}}, "'image' has shape"),
        (lambda p: {"feedback": {"image": "image"}}, "'image' not an output"),
    ],
)  # fmt: skip
def test_plan_of_another_network_is_refused(
    plan: Plan, graph: Graph, change: Callable[[Plan], dict[str, object]], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        check_plan(replace(plan, **change(plan)), graph, model_sha256=SHA256)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delta": math.nan}, "delta"),
        ({"delta": math.inf}, "delta inf is outside"),
        ({"delta": 0.0}, "delta"),
        ({"delta": -1.0}, "delta"),
        ({"delta": MIN_DELTA / 2}, "is outside"),
        ({"delta": MAX_DELTA * 2}, "is outside"),
        ({"delta": 5e-324}, "is outside"),
        ({"delta": ()}, "delta is empty"),
        ({"delta": (1.0, math.inf, 1.0)}, "delta inf is outside"),
        ({"delta": (1.0, math.nan, 1.0)}, "delta"),
        ({"bits": 0}, "bits"),
        ({"bits": 13}, "bits"),
        ({"bits": ()}, "bits is empty"),
        ({"bits": (8, 9, 13)}, "bits"),
        ({"bits": (8, 8.5, 8)}, "bits"),
        ({"bits": True}, "bits"),
        ({"weight_bits": 4}, "weight_bits"),
        ({"name": 3}, "name"),
    ],
)  # fmt: skip
def test_layer_built_in_python_with_bad_values_is_refused(
    plan: Plan, change: dict[str, object], message: str
) -> None:
    """msgspec checks nothing when a plan is built in Python; the engine would divide by zero."""
    bad = replace(plan, layers=(replace(plan.layers[0], **change), plan.layers[1]))
    with pytest.raises(PlanError, match=message):
        check_values(bad)


def test_bits_finer_than_the_grid_are_refused(plan: Plan) -> None:
    with pytest.raises(PlanError, match=r"layers\[0\] 'conv'.*finer than the grid"):
        check_values(replace(plan, grid_bits=7))
    check_values(replace(plan, grid_bits=8))


def test_duplicate_layers_are_refused(plan: Plan) -> None:
    with pytest.raises(PlanError, match="appears twice"):
        check_values(replace(plan, layers=(plan.layers[0], plan.layers[0])))


def test_one_numpy_number_for_all_neurons_passes(plan: Plan) -> None:
    check_values(replace(plan, layers=(LayerPlan(name="a", delta=1.0, bits=np.int64(8)),)))


def test_smallest_and_largest_delta_and_numpy_numbers_pass(plan: Plan) -> None:
    """Calibration computes with numpy: its scalars must be as good as Python's."""
    layers = (
        LayerPlan(name="conv", delta=np.float64(MIN_DELTA), bits=(np.int64(8),) * 3),
        LayerPlan(name="dense", delta=MAX_DELTA, bits=1),
    )
    check_values(replace(plan, layers=layers))
    for delta in (MIN_DELTA, MAX_DELTA):
        for value in (np.float32(delta), np.float32(1 / delta), np.float32(delta) * 2**13):
            assert np.finfo(np.float32).tiny <= value < np.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"std": (0.0,)}, "std must not be 0"),
        ({"std": (1.0, 0.0, 1.0)}, "std must not be 0"),
        ({"mean": (1.0, 2.0)}, "mean has 2 values"),
        ({"mean": ()}, "mean has 0 values"),
        ({"mean": (math.nan,)}, "mean must be finite"),
        ({"std": (math.inf,)}, "std must be finite"),
        ({"scale": math.inf}, "scale must be finite"),
        ({"width": 1 << 20, "height": 1 << 20}, "larger than can be prepared"),
        ({"width": -5}, "no pictures of -5x"),
        ({"height": 0}, "no pictures of"),
        ({"color": "gray", "mean": (1.0, 2.0, 3.0)}, "gray needs 1 value"),
    ],
)
def test_picture_format_that_cannot_be_applied_is_named(
    change: dict[str, object], message: str
) -> None:
    format = replace(InputFormat(name="x", width=4, height=4), **change)
    assert message in str(problem_with(format))


def test_constants_must_be_numbers_that_a_file_can_hold(plan: Plan) -> None:
    for number in (math.nan, math.inf):
        with pytest.raises(PlanError, match=f"constants: 'sr' must be finite, not {number}"):
            check_values(replace(plan, constants={"sr": number}))


def test_pictures_do_not_go_to_a_state(plan: Plan, graph: Graph) -> None:
    graph.types["more"] = ValueType((1, 2))
    graph.types["y"] = graph.types["image"]
    graph.inputs = ("image", "more")
    shapes = {**plan.input_shapes, "more": (1, 2)}
    wrong = replace(plan, input_shapes=shapes, feedback={"image": "y"})
    with pytest.raises(PlanError, match="pictures would go to 'image', which is a state"):
        check_plan(wrong, graph, model_sha256=SHA256)


def test_gigantic_input_is_refused_before_anything_is_allocated(plan: Plan) -> None:
    shapes = {"image": (1, 1 << 20, 1 << 20, 1 << 20)}
    with pytest.raises(PlanError, match="more than"):
        check_values(replace(plan, input_shapes=shapes, input=None))

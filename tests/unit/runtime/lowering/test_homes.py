"""Values that share memory: parts of concatenations in place, slices, borders, gates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mquans.graph import Binary, Concat, Conv, Graph, Slice, Unary
from mquans.runtime.lowering.sites.homes import Home, homes_of

from .networks import Network, changed

SHAPE = (1, 6, 7, 70)


def conv(kernel: int = 3, groups: int = 1, activation: Any = None) -> Conv:
    return Conv((kernel,) * 2, (1, 1), (kernel // 2,) * 4, (1, 1), groups, activation)


def weights(outputs: int, inputs: int, kernel: int = 3) -> Any:
    return np.random.default_rng(outputs).normal(0, 0.3, (outputs, inputs, kernel, kernel))


def part(first: int, last: int) -> Slice:
    return Slice((0, first, 0, 0), (1, last, *SHAPE[2:]), (1,) * 4)


def halves_network(**options: Any) -> Network:
    """As YOLOv8 does it: halves of a layer go into a concatenation beside what is made of one."""
    rows = [
        (conv(), "x w", "c"),
        (part(0, 5), "c", "a"),
        (part(5, 10), "c", "b"),
        (conv(), "b w2", "d"),
        (Binary("add"), "d b", "e"),
        (Concat(1), "a b e", "v"),
    ]
    constants = {"w": weights(10, 6), "w2": weights(5, 5)}
    exponents = {"c": -10, "d": -10, "e": -9}
    return Network(rows, {"x": SHAPE}, constants, exponents, **options)


def homes(network: Network) -> dict[str, Home]:
    axes = {value: coding.axis for value, coding in network.analysis.codings.items()}
    return homes_of(network.graph, axes, network.analysis.integer_nodes, network.graph.inputs)


def test_halves_of_a_layer_lie_in_the_concatenation() -> None:
    found = homes(halves_network())
    assert found == {
        "a": Home("c", 0), "b": Home("c", 5), "c": Home("v", 0), "e": Home("v", 10)
    }  # fmt: skip


def test_a_part_has_one_home() -> None:
    rows = [
        (conv(), "x w", "a"),
        (Concat(1), "a x", "b"),
        (Concat(1), "a b a", "v"),
    ]
    network = Network(rows, {"x": SHAPE}, {"w": weights(3, 6)}, {"a": -9})
    assert homes(network) == {"a": Home("b", 0), "b": Home("v", 3)}


def test_what_two_concatenations_read_lies_in_the_first() -> None:
    rows = [
        (conv(), "x w", "c"),
        (part(0, 5), "c", "a"),
        (part(5, 10), "c", "b"),
        (Concat(1), "a b x", "d"),
        (Concat(1), "a b d", "v"),
    ]
    network = Network(rows, {"x": SHAPE}, {"w": weights(10, 6)}, {"c": -9})
    found = homes(network)
    assert found["c"] == Home("d", 0)
    assert found["d"] == Home("v", 10)


def test_halves_in_another_order_are_copied() -> None:
    rows = [
        (conv(), "x w", "c"),
        (part(0, 5), "c", "a"),
        (part(5, 10), "c", "b"),
        (Concat(1), "b a", "v"),
    ]
    network = Network(rows, {"x": SHAPE}, {"w": weights(10, 6)}, {"c": -9}, also=("c",))
    assert "c" not in homes(network)
    with network.session().stream() as stream:
        found = stream.step(network.frame(network.random_codes(1)))
    np.testing.assert_array_equal(found["v"], np.roll(found["c"], 5, axis=1))


@pytest.mark.parametrize("channels", [1, 3, 17])
def test_readers_of_a_part_see_zeros_around_it(channels: int) -> None:
    """A part of a concatenation is read by a wide window, the concatenation by none."""
    constants = {"w": weights(channels, 6), "w2": weights(channels, channels, 5)}
    wide = conv(5, 1 if channels == 1 else channels)
    constants["w2"] = weights(channels, 1 if channels > 1 else channels, 5)
    before = [(conv(), "x w", "a"), (wide, "a w2", "d")]
    exponents = {"a": -9, "d": -9}
    joined = Network(
        [*before, (Concat(1), "a d", "v")], {"x": SHAPE}, constants, exponents, also=("d",)
    )
    alone = Network([*before[:1], (wide, "a w2", "v")], {"x": SHAPE}, constants, {"a": -9, "v": -9})
    assert homes(joined) == {"a": Home("v", 0), "d": Home("v", channels)}
    frame = joined.frame(joined.random_codes(1))
    with joined.session().stream() as first, alone.session().stream() as second:
        np.testing.assert_array_equal(first.step(frame)["d"], second.step(frame)["v"])


def test_gates_behind_parts_keep_the_law() -> None:
    """Held back sites stay, whatever is recomputed."""
    scale = dict.fromkeys(("x", "c", "d", "e"), 1.0)
    network = halves_network(gates=scale, tolerance=0.5, also=("c", "d", "e"))
    codes = network.random_codes(1)
    with network.session().stream() as stream:
        stream.step(network.frame(codes))
        for seed in range(4):
            first = codes["x"].copy()
            first[..., seed::9] += 200
            codes = changed({"x": np.clip(first, -16383, 16383)}, seed)
            found = {k: v.copy() for k, v in stream.step(network.frame(codes)).items()}
            stream.recompute()
            again = stream.step(network.frame(codes))
            for name, values in found.items():
                np.testing.assert_array_equal(values, again[name], err_msg=name)
        exact = stream.step(network.frame(codes), keyframe=True)
        assert any((found[name] != exact[name]).any() for name in found)


def test_a_residual_sum_has_the_gate_of_the_plan() -> None:
    rows = [(Binary("add"), "a b", "v")]
    inputs = {"a": SHAPE, "b": SHAPE}
    network = Network(rows, inputs, exponents={"v": -9}, gates={"v": 1.0}, tolerance=0.45)
    codes = {name: np.zeros(SHAPE, np.int64) for name in inputs}
    unit = np.exp2(network.exponent("a", SHAPE[1]).astype(float)).reshape(-1)
    with network.session().stream() as stream:
        stream.step(network.frame(codes))
        codes["a"][0, :, 0, 0] = np.rint(0.4 / unit)
        codes["a"][0, :, 6, 69] = np.rint(1.9 / unit)
        found = stream.step(network.frame(codes))["v"]
    assert not found[..., 0, 0].any()
    np.testing.assert_allclose(found[0, :, 6, 69], 1.9, atol=2**-9)


def test_a_fused_function_writes_into_the_concatenation() -> None:
    rows = [
        (conv(), "x w", "c"),
        (conv(), "x w2", "d"),
        (Binary("add"), "c d", "e"),
        (Unary("relu"), "e", "f"),
        (Concat(1), "d f", "v"),
    ]
    constants = {"w": weights(5, 6), "w2": weights(5, 6) / 2}
    exponents = {"c": -6, "d": -6, "e": -6}
    network = Network(rows, {"x": SHAPE}, constants, exponents, also=("c", "d", "f"))
    with network.session().stream() as stream:
        found = stream.step(network.frame(network.random_codes(1)))
    np.testing.assert_array_equal(found["v"], np.concatenate([found["d"], found["f"]], 1))
    np.testing.assert_array_equal(found["f"], np.maximum(found["c"] + found["d"], 0))


def test_a_value_read_in_floats_too_is_decoded_whole() -> None:
    """A concatenation in codes does not take what decoded parts would write into a float one."""
    rows = [
        (Unary("relu"), "x", "a"),
        (Unary("exp"), "a", "z"),
        (Concat(1), "a x", "v"),
    ]
    network = Network(rows, {"x": SHAPE}, also=("a",), outputs=("z",))
    with network.session().stream() as stream:
        frame = network.frame(network.random_codes(1))
        found = stream.step(frame)
    expected = np.concatenate([np.maximum(frame["x"], 0), frame["x"]], 1)
    np.testing.assert_array_equal(found["v"], expected)


def test_only_consecutive_channels_at_all_sites_are_slices() -> None:
    graph: Graph = Network(
        [(Slice((0, 1, 0, 0), (1, 5, 7, 69), (1,) * 4), "x", "v")], {"x": SHAPE}
    ).graph
    axes = dict.fromkeys(graph.types, 1)
    assert homes_of(graph, axes, {node.name for node in graph.nodes}, graph.inputs) == {}

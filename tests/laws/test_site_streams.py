"""The law of the integer engine: recomputing from held codes changes nothing, so neither does
saving, restoring, interleaving, or whatever else happens between two frames."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mquans.graph import Conv, Graph, Node

from .builders import typed
from .site_networks import MOVES, SiteNetwork, SiteStream, networks, plan_of_sites
from .strategies import SEEDS, examples
from .test_sites import STREAMS, same


@examples(60)
@given(networks((0.02, 0.3)), STREAMS, SEEDS)
def test_recomputing_changes_no_code_and_no_output(
    net: SiteNetwork, moves: list[str], seed: int
) -> None:
    """Otherwise errors pile up over a long stream, and `verify` proves nothing."""
    stream, plain = SiteStream(net), SiteStream(net)
    for frame in net.frames(moves, seed):
        outputs, codes = stream.step(frame), stream.codes
        same(stream.recompute(), outputs, "recomputed")
        np.testing.assert_array_equal(stream.codes, codes)
        same(plain.step(frame), outputs, "recomputed in the frame before")
        np.testing.assert_array_equal(plain.codes, codes)


@examples(60)
@given(networks((0.02, 0.3)), STREAMS, STREAMS, SEEDS)
def test_a_restored_stream_goes_on_with_the_same_bits(
    net: SiteNetwork, before: list[str], after: list[str], seed: int
) -> None:
    """Otherwise a camera that moves to another process sees other results from then on."""
    frames = list(net.frames([*before, *after], seed))
    stream = SiteStream(net)
    for frame in frames[: len(before) + 1]:
        outputs = stream.step(frame)
    other = stream.restored()
    same(other.recompute(), outputs, "restored")
    for frame in frames[len(before) + 1 :]:
        same(other.step(frame), stream.step(frame), "after that")
        np.testing.assert_array_equal(other.codes, stream.codes)


@examples(40)
@given(networks((0.02,)), STREAMS, st.lists(st.integers(0, 2), max_size=15), SEEDS)
def test_streams_of_one_program_do_not_meet(
    net: SiteNetwork, moves: list[str], order: list[int], seed: int
) -> None:
    """Otherwise one camera's picture shows in the results of another."""
    first = SiteStream(net)
    streams = [first, first.another(), first.another()]
    frames = [list(net.frames(moves, seed + i)) for i in range(3)]
    turns = [*order, *(i for i in range(3) for _ in range(len(moves) + 1))]
    alone = [SiteStream(net) for _ in range(3)]
    expected = [
        [one.step(frame) for frame in mine] for one, mine in zip(alone, frames, strict=True)
    ]
    for turn in turns:
        stream = streams[turn]
        if stream.frames <= len(moves):
            index = stream.frames
            same(stream.step(frames[turn][index]), expected[turn][index], (turn, index))


@examples(60)
@given(networks((0.0,)), STREAMS, SEEDS, st.integers(0, 15))
def test_a_planted_fault_does_not_survive_recomputing(
    net: SiteNetwork, moves: list[str], seed: int, bit: int
) -> None:
    """`verify` must see a damaged code, or its word is worth nothing."""
    stream = SiteStream(net)
    for frame in net.frames(moves, seed):
        stream.step(frame)
    rng = np.random.default_rng(seed)
    value = rng.choice([node.outputs[0] for node in net.graph.nodes])
    x, codes = stream.lowered.sites.values[value], stream.codes
    rows, width, channels = stream.native.read_codes(x.tensor).shape
    at = (int(rng.integers(rows)), int(rng.integers(width)), int(rng.integers(channels)))
    stream.native.flip_code_bit(x.tensor, *at, bit)
    assert (stream.codes != codes).sum() == 1
    stream.recompute()
    np.testing.assert_array_equal(stream.codes, codes)


@examples(40)
@given(networks((0.0, 0.02)), st.sampled_from(MOVES), SEEDS)
def test_a_frame_without_change_costs_nothing(net: SiteNetwork, move: str, seed: int) -> None:
    """A still camera must leave the processor idle."""
    stream = SiteStream(net)
    *_, last = net.frames([move], seed)
    stream.step(last)
    outputs, codes = stream.outputs(), stream.codes
    same(stream.step(last), outputs, "still")
    assert stream.reports == [(0, 0, 0)] * len(net.graph.nodes)
    np.testing.assert_array_equal(stream.codes, codes)


def test_one_site_wakes_its_neighbours_only() -> None:
    """Work must follow what moved: a pixel wakes nine sites, those wake twenty-five."""
    rng = np.random.default_rng(1)
    conv = Conv((3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    constants = {name: rng.normal(size=(5, 5, 3, 3)).astype(np.float32) for name in ("w", "v")}
    nodes = [Node("one", conv, ("x", "w"), ("a",)), Node("two", conv, ("a", "v"), ("b",))]
    graph = typed(Graph("net", ("x",), ("b",), nodes, constants), {"x": (1, 5, 20, 70)})
    net = SiteNetwork(graph, plan_of_sites(graph, rng, exact=True))
    stream = SiteStream(net)
    x = rng.normal(size=(1, 5, 20, 70)).astype(np.float32)
    stream.step({"x": x})
    for row, column, first, second in ((9, 63, 9, 25), (0, 0, 4, 9), (19, 69, 4, 9)):
        x = x.copy()
        x[0, :, row, column] += 2
        stream.step({"x": x})
        assert [active for active, _, _ in stream.reports] == [first, second]

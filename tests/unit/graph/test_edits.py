"""An edit that loses a name or an edge would corrupt every network after it."""

from __future__ import annotations

from mquans.graph import Editor, Reshape, Unary, free_name

from .conftest import make_graph, random

RELU, NEG = Unary("relu"), Unary("neg")


def test_replacing_two_nodes_by_one_keeps_the_output_name() -> None:
    graph = make_graph([(RELU, "x", "a"), (NEG, "a", "y")], {"x": (2,)}, ["y"])
    editor = Editor(graph)
    first, last = graph.nodes
    node = editor.replace(last, Unary("abs"), ("x",), name="both", absorbed=first)
    assert graph.nodes == [node]
    assert (node.name, node.outputs) == ("both", ("y",))
    assert editor.producer("y") is node
    assert editor.producer("a") is None
    assert editor.readers["x"] == [node]


def test_alias_points_readers_to_the_source() -> None:
    graph = make_graph(
        [(RELU, "x", "a"), (Reshape((2,)), "a", "b"), (NEG, "b", "y")], {"x": (2,)}, ["y"]
    )
    editor = Editor(graph)
    assert editor.alias(graph.nodes[1])
    assert [node.inputs for node in graph.nodes] == [("x",), ("a",)]


def test_alias_renames_the_source_of_an_output_for_all_its_readers() -> None:
    rows = [(RELU, "x", "a"), (NEG, "a", "b"), (Reshape((2,)), "a", "y")]
    graph = make_graph(rows, {"x": (2,)}, ["y", "b"])
    editor = Editor(graph)
    assert editor.alias(graph.nodes[2])
    assert [(node.inputs, node.outputs) for node in graph.nodes] == [
        (("x",), ("y",)),
        (("y",), ("b",)),
    ]


def test_alias_refuses_when_both_names_are_visible() -> None:
    graph = make_graph(
        [(Reshape((2,)), "x", "y"), (Reshape((2,)), "y", "z")], {"x": (2,)}, ["y", "z"]
    )
    editor = Editor(graph)
    assert not editor.alias(graph.nodes[0])
    assert not editor.alias(graph.nodes[1])
    assert len(graph.nodes) == 2


def test_private_means_one_reader_and_not_an_output() -> None:
    rows = [(RELU, "x", "a"), (NEG, "a", "b"), (NEG, "a", "c"), (NEG, "c", "d")]
    editor = Editor(make_graph(rows, {"x": (2,)}, ["b", "c", "d"]))
    assert not editor.is_private("a")
    assert not editor.is_private("c")
    assert editor.is_private("x")


def test_scalars_are_constants_of_one_value() -> None:
    graph = make_graph([(RELU, "x", "y")], {"x": (2,)}, ["y"], {"one": [[3.0]], "two": random(2)})
    editor = Editor(graph)
    assert editor.scalar("one") == 3.0
    assert editor.scalar("two") is None
    assert editor.scalar("x") is None


def test_added_constants_never_overwrite() -> None:
    graph = make_graph([(RELU, "x", "y")], {"x": (2,)}, ["y"], {"w": [1.0]})
    assert Editor(graph).add_constant("w", random(3)) == "w:2"
    assert graph.shape("w:2") == (3,)
    assert free_name("w", graph.types) == "w:3"

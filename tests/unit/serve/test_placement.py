"""If these break, one machine of a cluster is overrun while another idles, or cameras wander."""

from __future__ import annotations

from mquans.serve.placement import loads, moves


def test_cameras_of_a_worker_that_is_gone_go_where_there_is_least_to_do() -> None:
    owners = {"dear": 9, "cheap": 9, "stays": 0, "other": 1}
    costs = {"dear": 5.0, "cheap": 1.0, "stays": 4.0, "other": 1.0}
    assert moves(owners, costs, {0, 1}) == {"dear": 1, "cheap": 0}


def test_a_worker_that_joins_is_given_its_share() -> None:
    """Four equal cameras on two workers: the third gets one, and nobody moves twice."""
    owners = {"a": 0, "b": 0, "c": 0, "d": 1, "e": 1, "f": 1}
    found = moves(owners, dict.fromkeys(owners, 1.0), {0, 1, 2})
    assert set(found.values()) == {2}
    spread = loads(owners | found, dict.fromkeys(owners, 1.0), {0, 1, 2})
    assert set(spread.values()) == {2.0}


def test_cost_counts_not_the_number_of_cameras() -> None:
    owners = {"dear": 0, "a": 0, "b": 0, "c": 0}
    costs = {"dear": 3.0, "a": 1.0, "b": 1.0, "c": 1.0}
    assert moves(owners, costs, {0, 1}) == {"dear": 1}


def test_cameras_stay_where_a_move_would_gain_little() -> None:
    """Every move is a keyframe and a new connection; two that are nearly even are left alone."""
    owners = {"a": 0, "b": 0, "c": 1}
    assert moves(owners, {"a": 1.0, "b": 0.03, "c": 1.0}, {0, 1}) == {}
    assert moves({"only": 0}, {"only": 1.0}, {0, 1}) == {}
    assert moves({"idle": 0}, {"idle": 0.0}, {0, 1}) == {}


def test_without_workers_nothing_moves() -> None:
    assert moves({"a": 3}, {"a": 1.0}, set()) == {}

"""If these break, a light goes on for a leaf, or a person is counted twice."""

from __future__ import annotations

import pytest

from mquans.serve.tracking import CONFIRMED, Event, Tracker, contains, crossing

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


def box(x: float, y: float = 0.5, side: float = 0.1) -> tuple[float, float, float, float]:
    return x, y, x + side, y + side


class Scene:
    """Five frames a second."""

    def __init__(self) -> None:
        lines = {"gate": ((0.5, 0.0), (0.5, 1.0))}
        self.tracker = Tracker("door", {"left": LEFT_HALF}, lines, clock=lambda: 7.0)
        self.now_s = 0.0
        self.events: list[Event] = []

    def show(self, *boxes: tuple[float, float, float, float], label: str = "cat") -> list[Event]:
        self.now_s += 0.2
        found = self.tracker.update([(one, label) for one in boxes], self.now_s)
        self.events += found
        return found

    def kinds(self) -> list[str]:
        return [event.type for event in self.events]


def test_an_object_appears_once_and_leaves_once() -> None:
    scene = Scene()
    for step in range(10):
        scene.show(box(0.6 + 0.01 * step))
    for _ in range(15):
        scene.show()
    assert scene.kinds() == ["appeared", "left"]
    assert scene.events[0].counts == {"cat": 1}
    assert scene.events[0].time == 7.0
    assert scene.events[1].counts == {}
    assert scene.events[0].track == scene.events[1].track


def test_a_single_box_is_no_object() -> None:
    scene = Scene()
    for _ in range(CONFIRMED - 1):
        scene.show(box(0.6))
    for _ in range(15):
        scene.show()
    assert scene.kinds() == []


def test_a_missed_frame_does_not_make_another_object() -> None:
    scene = Scene()
    for step in range(20):
        scene.show(*([] if step in (7, 8, 12) else [box(0.55 + 0.01 * step)]))
    assert scene.kinds() == ["appeared"]


def test_objects_that_move_by_more_than_their_size_are_followed() -> None:
    """A car at five frames a second."""
    scene = Scene()
    for step in range(8):
        scene.show(box(0.55 + 0.05 * step, side=0.06))
    assert scene.kinds() == ["appeared"]


def test_two_objects_that_pass_keep_their_numbers() -> None:
    scene = Scene()
    for step in range(12):
        scene.show(box(0.55 + 0.02 * step, 0.3), box(0.8 - 0.02 * step, 0.45))
    assert scene.kinds() == ["appeared", "appeared"]
    assert {event.track for event in scene.events} == {1, 2}


def test_labels_are_kept_apart() -> None:
    scene = Scene()
    for _ in range(5):
        scene.show(box(0.6))
    for _ in range(5):
        scene.show(box(0.6), label="dog")
    assert [event.label for event in scene.events if event.type == "appeared"] == ["cat", "dog"]


def test_zones_are_entered_and_left_with_the_feet() -> None:
    scene = Scene()
    for step in range(12):
        scene.show(box(0.55 - 0.03 * step))
    for step in range(12):
        scene.show(box(0.22 + 0.03 * step))
    kinds = [kind for kind in scene.kinds() if kind in ("entered", "exited")]
    assert kinds == ["entered", "exited"]
    assert scene.tracker.in_zones() == {"left": 0}


def test_crossings_are_counted_by_direction() -> None:
    scene = Scene()
    for step in range(12):
        scene.show(box(0.3 + 0.03 * step))
    assert scene.tracker.crossings == {"gate": {"forward": 0, "backward": 1}}
    for step in range(12):
        scene.show(box(0.63 - 0.03 * step))
    assert scene.tracker.crossings == {"gate": {"forward": 1, "backward": 1}}
    crossed = [event for event in scene.events if event.type == "crossed"]
    assert [event.direction for event in crossed] == ["backward", "forward"]


def test_a_camera_that_is_gone_has_nothing_in_front_of_it() -> None:
    scene = Scene()
    for _ in range(5):
        scene.show(box(0.6))
    assert [event.type for event in scene.tracker.clear()] == ["left"]
    assert scene.tracker.counts() == {}


@pytest.mark.parametrize(
    ("point", "inside"),
    [((0.2, 0.5), True), ((0.7, 0.5), False), ((0.2, 1.5), False), ((-0.1, 0.5), False)],
)
def test_a_point_in_a_polygon(point: tuple[float, float], inside: bool) -> None:
    assert contains(LEFT_HALF, point) == inside


def test_passing_beside_a_line_is_no_crossing() -> None:
    line = ((0.5, 0.0), (0.5, 0.4))
    assert crossing(line, (0.4, 0.6), (0.6, 0.6)) == ""
    assert crossing(line, (0.4, 0.2), (0.6, 0.2)) == "backward"
    assert crossing(line, (0.6, 0.2), (0.4, 0.2)) == "forward"
    assert crossing(line, (0.4, 0.2), (0.45, 0.2)) == ""

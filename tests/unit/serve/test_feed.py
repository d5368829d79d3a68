"""If these break, a camera lags behind, is lost for good, or a decoder is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from mquans.plan import AudioFormat, read_plan
from mquans.serve.config import ModelOptions
from mquans.serve.feed import Feeder, Pace, Slot, Taken, frame_seconds
from mquans.serve.measuring import Measured
from mquans.serve.planning import job_of
from mquans.serve.wire import CameraJob
from mquans.sources import begins

from ...mjpeg_camera import MjpegCamera
from .conftest import until


def taken(number: int) -> Taken:
    feeds = {"x": np.full((1,), number, np.float32)}
    return Taken(feeds, float(number), number, True, None, None)


def test_of_a_camera_the_newest_frame_wins_and_the_others_are_counted() -> None:
    slot = Slot()
    for number in range(5):
        slot.put(taken(number))
    found = slot.take()
    assert found is not None
    assert found.position == 4
    assert slot.dropped == 4
    assert slot.take() is None


def test_sound_waits_in_order_and_begins_anew_when_it_overflows() -> None:
    """States of a network that heard half of the hops are worth nothing."""
    slot = Slot(capacity=3, in_order=True)
    for number in range(3):
        slot.put(taken(number))
    assert not slot.overflows
    slot.put(taken(3))
    found = slot.take()
    assert found is not None
    assert begins(found.feeds)
    assert (found.position, slot.dropped, slot.overflows) == (3, 3, 1)


def test_of_a_file_none_is_left_out() -> None:
    slot = Slot(waits=True)
    writer = threading.Thread(target=lambda: [slot.put(taken(number)) for number in range(5)])
    writer.start()
    found: list[int] = []
    until(lambda: ((item := slot.take()) and found.append(item.position)) or len(found) == 5)
    writer.join()
    assert found == [0, 1, 2, 3, 4]


def test_who_waits_with_a_frame_of_a_file_is_let_go_at_the_end() -> None:
    slot = Slot(waits=True)
    slot.put(taken(0))
    writer = threading.Thread(target=slot.put, args=(taken(1),))
    writer.start()
    slot.close()
    writer.join(10)
    assert not writer.is_alive()


class Reading:
    """A feeder, what it tells, and what it hands over."""

    def __init__(self, job: CameraJob, plan: str) -> None:
        self.told: list[tuple[str | None, str]] = []
        self.came = threading.Semaphore(0)
        self.feeder = Feeder(
            job,
            read_plan(plan),
            pixels=True,
            wake=self.came.release,
            tell=lambda state, text, _: self.told.append((state, text)),
        )

    def take(self) -> Taken:
        assert self.came.acquire(timeout=30), self.told
        item = self.feeder.slot.take()
        return item if item is not None else self.take()

    def states(self) -> list[str | None]:
        return [state for state, _ in self.told]


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    camera = MjpegCamera()
    yield camera
    camera.switch_off()


def job(measured: Measured, source: str, **more: object) -> CameraJob:
    from mquans.serve.config import CameraOptions

    given = {"fps": 100.0, "retry_s": (0.05, 0.1)} | more
    options = CameraOptions(source=source, model="spots", **given)  # type: ignore[arg-type]
    return job_of("door", options, measured.job, epoch=1)


def test_a_camera_is_tried_for_ever_also_one_that_is_absent_at_the_start(
    camera: MjpegCamera, measured: Measured, spots: ModelOptions
) -> None:
    camera.switch_off()
    reading = Reading(job(measured, camera.url), spots.plan)
    until(lambda: reading.states().count("retry") >= 3)
    camera.switch_on()
    assert reading.take().size == (48, 32)
    camera.switch_off()
    until(lambda: reading.states()[-1] == "retry")
    camera.switch_on()
    reading.take()
    reading.feeder.close()
    assert reading.feeder.join(30)
    assert "***" not in str(reading.told)
    assert reading.feeder.connects >= 4


def test_a_camera_that_comes_back_is_read_from_its_first_frame(
    camera: MjpegCamera, measured: Measured, spots: ModelOptions
) -> None:
    """Only of files those are passed over that were taken before."""
    reading = Reading(job(measured, camera.url), spots.plan)
    assert [reading.take().position for _ in range(30)] == [0] * 30
    camera.switch_off()
    until(lambda: reading.states()[-1] == "retry")
    camera.silent.set()
    camera.switch_on()
    until(lambda: reading.states()[-1] == "connecting")
    camera.silent.clear()
    reading.take()
    assert reading.take().position == 0
    reading.feeder.close()


def test_of_sound_no_hop_is_left_out(
    measured: Measured, spots: ModelOptions, tmp_path: Path
) -> None:
    """`fps` is for pictures; sound comes as the network hears it."""
    soundfile = pytest.importorskip("soundfile")
    samples = np.linspace(-0.5, 0.5, 8000, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    format = AudioFormat(name="x", shape=(1, 160), rate=16000, window=160, hop=160)
    plan = replace(read_plan(spots.plan), audio=format, input=None, input_shapes={"x": (1, 160)})
    feeder = Feeder(
        job(measured, str(tmp_path / "a.wav"), fps=5.0),
        plan,
        pixels=True,
        wake=(came := threading.Semaphore(0)).release,
        tell=lambda *_: None,
    )
    heard = []
    while len(heard) < 50:
        assert came.acquire(timeout=30)
        while (item := feeder.slot.take()) is not None:
            heard.append(item.feeds["x"])
    np.testing.assert_allclose(np.concatenate(heard, axis=1)[0], samples)
    assert feeder.slot.dropped == 0


@pytest.mark.parametrize(("advance", "seconds"), [(0, 0.04), (1, 0.01)])
def test_a_frame_of_sound_lasts_as_long_as_its_steps(
    spots: ModelOptions, advance: int, seconds: float
) -> None:
    format = AudioFormat(
        name="x", shape=(1, 4, 160), rate=16000, window=160, hop=160, advance=advance
    )
    plan = replace(read_plan(spots.plan), audio=format)
    assert frame_seconds(plan, 5) == pytest.approx(seconds)
    assert frame_seconds(read_plan(spots.plan), 5) == 0.2


def test_a_file_that_became_shorter_is_begun_anew(
    clip: Path, measured: Measured, spots: ModelOptions
) -> None:
    told: list[str | None] = []
    feeder = Feeder(
        job(measured, str(clip)),
        read_plan(spots.plan),
        pixels=True,
        position=1000,
        wake=(came := threading.Semaphore(0)).release,
        tell=lambda state, *_: told.append(state),
    )
    assert came.acquire(timeout=30), told
    assert (found := feeder.slot.take()) is not None
    assert found.position == 1
    feeder.close()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_reconnecting_leaves_no_decoder_behind(
    camera: MjpegCamera, measured: Measured, spots: ModelOptions
) -> None:
    """Descriptors of a server that runs for months."""
    reading = Reading(job(measured, camera.url), spots.plan)
    reading.take()

    def gap() -> None:
        camera.switch_off()
        until(lambda: reading.states()[-1] == "retry")
        camera.switch_on()
        until(lambda: reading.states()[-1] == "live")

    gap()
    before = open_files()
    threads = threading.active_count()
    for _ in range(5):
        gap()
    assert open_files() <= before + 1
    assert threading.active_count() <= threads + 1
    reading.feeder.close()
    assert reading.feeder.join(30)


def test_pictures_are_made_only_while_somebody_watches(
    camera: MjpegCamera, measured: Measured, spots: ModelOptions
) -> None:
    reading = Reading(job(measured, camera.url), spots.plan)
    assert reading.take().jpeg is None
    reading.feeder.watched = True
    until(lambda: (reading.take().jpeg or b"").startswith(b"\xff\xd8"))
    reading.feeder.close()


def test_a_file_goes_on_where_it_was_left(
    clip: Path, measured: Measured, spots: ModelOptions
) -> None:
    """Bit by bit: the frames of an unbroken run and of one in two parts are the same."""
    whole = Reading(job(measured, str(clip)), spots.plan)
    frames = [whole.take() for _ in range(40)]
    until(lambda: whole.states()[-1] == "ended")
    parts = [frames[k].position for k in range(40)]
    assert parts == list(range(1, 41))
    rest = Feeder(
        job(measured, str(clip)),
        read_plan(spots.plan),
        pixels=True,
        position=25,
        wake=(came := threading.Semaphore(0)).release,
        tell=lambda *_: None,
    )
    assert came.acquire(timeout=30)
    found = rest.slot.take()
    assert found is not None
    assert found.position == 26
    np.testing.assert_array_equal(found.feeds["x"], frames[25].feeds["x"])
    rest.close()


def test_a_file_is_begun_again_if_it_is_to_loop(
    clip: Path, measured: Measured, spots: ModelOptions
) -> None:
    reading = Reading(job(measured, str(clip), loop=True, fps=1000.0), spots.plan)
    positions = [reading.take().position for _ in range(42)]
    assert positions == [*range(1, 41), 1, 2]
    reading.feeder.close()


def wanted(pace: Pace, times: list[float]) -> list[float]:
    return [at for at in times if pace.wants(None, at)]


def test_of_a_fast_camera_as_many_frames_are_taken_as_are_wanted() -> None:
    """Twenty-five frames a second, of which five are computed, evenly."""
    pace = Pace(0.2, every=False, live=True, closing=threading.Event())
    found = wanted(pace, [number / 25 for number in range(250)])
    assert len(found) == pytest.approx(50, abs=1)
    gaps = [late - early for early, late in pairwise(found)]
    assert max(gaps) <= 0.24 + 1e-9


def test_of_a_camera_that_is_as_fast_as_wanted_all_frames_are_taken() -> None:
    """Also of one whose frames do not come quite in time."""
    pace = Pace(0.2, every=False, live=True, closing=threading.Event())
    late = [0.0, 0.03, -0.02, 0.04, 0.01]
    times = [number * 0.2 + late[number % 5] for number in range(100)]
    assert wanted(pace, times) == times


def test_of_a_microphone_every_hop_is_taken() -> None:
    pace = Pace(0.01, every=True, live=True, closing=threading.Event())
    times = [0.0, 0.001, 0.002, 0.011, 0.012]
    assert wanted(pace, times) == times

"""If these break, a camera shows what is stale, one error stops it for good, or a new model takes
over that does not work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from mquans.errors import MquansError
from mquans.serve.config import CameraOptions, ModelOptions
from mquans.serve.engines import Network, in_picture, pooled
from mquans.serve.feed import Taken
from mquans.serve.measuring import Measured, measure
from mquans.serve.planning import job_of
from mquans.serve.watched import BESIDE, Watched
from mquans.serve.wire import CameraJob, Drained, Frame, Told, Upgraded

from ...spots import picture, pictures, write_model, write_plan
from .conftest import until


@pytest.fixture(scope="module")
def network(measured: Measured) -> Network:
    return Network(measured.job)


class Seen:
    """A camera that is fed by hand, and what it sends."""

    def __init__(self, network: Network, job: CameraJob, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mquans.serve.watched.Feeder", _Hand)
        self.sent: list[Any] = []
        self.camera = Watched(job, network, send=self.sent.append, wake=lambda: None)
        self.feeder: Any = self.camera._feeder
        self.now_s = 100.0
        self.network = network

    def show(
        self, shown: np.ndarray, *, later_s: float = 0.2, size: tuple[int, int] = (96, 64)
    ) -> Frame | None:
        self.now_s += later_s
        tensor = np.ascontiguousarray(shown.transpose(2, 0, 1)[None])
        self.feeder.slot.put(Taken({"x": tensor}, self.now_s, 0, True, size, None))
        before = len(self.sent)
        self.camera.step()
        frames = [one for one in self.sent[before:] if isinstance(one, Frame)]
        return frames[0] if frames else None

    def of(self, kind: type[Any]) -> list[Any]:
        return [one for one in self.sent if isinstance(one, kind)]


class _Hand:
    """In a feeder's place."""

    def __init__(self, *_: object, tell: Callable[..., None], **__: object) -> None:
        from mquans.serve.feed import Slot

        self.slot, self.connects, self.last_s, self.watched = Slot(), 1, 0.0, False
        self.tell = tell

    def close(self) -> None:
        pass


@pytest.fixture
def job(measured: Measured) -> CameraJob:
    options = CameraOptions(source="rtsp://nowhere", model="spots")
    return job_of("door", options, measured.job, epoch=3)


@pytest.fixture
def seen(network: Network, job: CameraJob, monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(network, job, monkeypatch)


def test_boxes_are_shares_of_the_picture(seen: Seen) -> None:
    frame = seen.show(picture(48, 24))
    assert frame is not None
    [(left, top, right, bottom, score, kind)] = frame.boxes[:1]
    assert frame.epoch == 3
    assert 0.4 < left < right < 0.7
    assert 0.2 < top < bottom < 0.7
    assert score > 0.5
    assert kind == 0


def test_still_pictures_are_reused(seen: Seen) -> None:
    seen.show(picture(48))
    frame = seen.show(picture(48))
    assert frame is not None
    assert frame.reuse == 1.0


def test_a_gap_a_new_size_and_a_request_give_a_keyframe(seen: Seen) -> None:
    def why(**more: Any) -> str:
        frame = seen.show(picture(48), **more)
        assert frame is not None
        return frame.keyframe

    assert why() == ""
    assert why() == ""
    assert why(later_s=2.5) == "gap"
    assert why(size=(48, 32)) == ""  # one a second at most
    assert why(later_s=1.5, size=(96, 64)) == "size"
    seen.camera.ask_keyframe()
    assert why() == "asked"
    assert why() == ""


def test_much_change_gives_a_keyframe_behind_it(seen: Seen) -> None:
    bright = picture(None)
    bright[:, :65] = 200  # two thirds
    seen.show(picture(None))
    first, second = seen.show(bright), seen.show(bright)
    assert first is not None
    assert second is not None
    assert (first.keyframe, second.keyframe) == ("", "change")


def test_an_error_is_told_of_and_the_next_frame_is_computed(seen: Seen) -> None:
    seen.show(picture(48))
    assert seen.show(np.zeros((5, 5, 3), np.uint8)) is None
    (told,) = [told for told in seen.of(Told) if "expected shape" in told.text]
    assert told.counts is not None
    assert told.counts.errors == 1  # also where no frame follows
    frame = seen.show(picture(48))
    assert frame is not None
    assert frame.counts.errors == 1
    assert frame.boxes


def test_what_only_viewers_need_is_made_for_viewers(seen: Seen) -> None:
    frame = seen.show(picture(48))
    assert frame is not None
    assert frame.heat is frame.layers is None
    seen.camera.watch(True)
    seen.show(picture(48))
    frame = seen.show(picture(60))
    assert frame is not None
    assert frame.heat is not None
    assert frame.layers is not None
    heat = np.frombuffer(frame.heat.data, np.uint8).reshape(frame.heat.rows, frame.heat.columns)
    assert heat[6:8, 11:17].any()
    assert not heat[:4].any()
    # The three heads read one value: they are one layer.
    assert [name for name, _ in frame.layers] == ["heat+size+offset"]


def test_a_silent_camera_is_told_of_once(seen: Seen) -> None:
    seen.feeder.tell("live", "", 0.0)
    for now_s in (4.0, 6.0, 7.0):
        seen.camera.look(now_s)
    assert [told.state for told in seen.of(Told)].count("stalled") == 1


def test_a_file_is_never_silent(seen: Seen) -> None:
    """With one frame in a minute it is no camera that is away."""
    seen.feeder.slot.waits = True
    seen.feeder.tell("live", "", 0.0)
    seen.camera.look(60.0)
    assert "stalled" not in [told.state for told in seen.of(Told)]


def other(folder: Path, **model: Any) -> Measured:
    file = write_model(folder / "other.onnx", **model)
    plan = write_plan(file, folder / "other.plan.json")
    return measure(ModelOptions(onnx=str(file), plan=str(plan), decode="centerface"), "mquans")


def test_another_model_runs_beside_before_it_takes_over(seen: Seen, tmp_path: Path) -> None:
    new = other(tmp_path, sharp=0.9)
    seen.camera.try_out(new.job, Network(new.job))
    scores = []
    for number in range(BESIDE + 1):
        frame = seen.show(picture(48))
        assert frame is not None
        scores.append(frame.boxes[0][4])
        assert len(seen.of(Upgraded)) == (number >= BESIDE - 1)
    assert len(set(scores[:BESIDE])) == 1
    assert scores[BESIDE] < scores[0] - 0.05
    [done] = seen.of(Upgraded)
    assert (done.problem, done.key) == ("", new.job.key)
    assert seen.camera.keys == {new.job.key}


def test_another_model_that_fails_is_taken_back(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = other(tmp_path, sharp=0.9)
    network = Network(new.job)
    monkeypatch.setattr(network, "boxes", lambda *_: 1 / 0)
    first = seen.show(picture(48))
    seen.camera.try_out(new.job, network)
    frame = seen.show(picture(48))
    assert first is not None
    assert frame is not None
    assert frame.boxes == first.boxes
    [done] = seen.of(Upgraded)
    assert "ZeroDivisionError" in done.problem
    assert seen.camera.keys == {seen.network.key}


def test_changed_files_are_refused(measured: Measured) -> None:
    """A model that was replaced behind the server's back."""
    with pytest.raises(MquansError, match="has changed"):
        Network(replace(measured.job, key=("0" * 64, *measured.job.key[1:])))


def test_onnxruntime_finds_the_same(
    seen: Seen, spots: ModelOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = measure(spots, "onnxruntime")
    job = replace(seen.camera._job, model=dense.job)
    other = Seen(Network(dense.job), job, monkeypatch)
    for shown in pictures(5):
        ours, theirs = seen.show(shown), other.show(shown)
        assert ours is not None
        assert theirs is not None
        assert len(ours.boxes) == len(theirs.boxes) >= 1
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=0.02)
        assert theirs.reuse == 0


def test_a_drained_file_goes_on_as_if_it_had_not_been_broken(
    network: Network, measured: Measured, clip: Path, tmp_path: Path
) -> None:
    """Outputs are bit-equal to those of an unbroken run."""
    options = CameraOptions(source=str(clip), model="spots", fps=1000)
    whole = Running(network, job_of("a", options, measured.job, epoch=1))
    until(lambda: whole.run() >= 40)
    file = str(tmp_path / "a.stream")
    broken = Running(network, job_of("a", options, measured.job, epoch=1, state_file=file))
    until(lambda: broken.run(most=17) >= 17)
    drained = broken.camera.drain(1e9)
    assert (drained.saved, drained.position) == (True, 17)
    job = job_of("a", options, measured.job, epoch=2, state_file=file, restore=True)
    rest = Running(network, job)
    assert not Path(file).exists()  # it holds for this once
    until(lambda: rest.run() >= 23)
    joined = [*broken.shown(), *rest.shown()]
    assert joined == whole.shown()


@pytest.mark.parametrize("damage", [b"", b"mquans", None])
def test_a_damaged_state_is_refused_and_the_camera_begins_anew(
    network: Network, measured: Measured, clip: Path, tmp_path: Path, damage: bytes | None
) -> None:
    file = tmp_path / "a.stream"
    options = CameraOptions(source=str(clip), model="spots", fps=1000)
    before = Running(network, job_of("a", options, measured.job, epoch=1, state_file=str(file)))
    until(lambda: before.run() >= 3)
    before.camera.drain(1e9)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage is None else damage)
    job = job_of("a", options, measured.job, epoch=2, state_file=str(file), restore=True)
    again = Running(network, job)
    assert any("begins anew" in told.text for told in again.sent if isinstance(told, Told))
    until(lambda: again.run() >= 40)
    assert again.shown()[0][0] == 1


def test_a_full_disk_is_told_of(network: Network, measured: Measured, clip: Path) -> None:
    options = CameraOptions(source=str(clip), model="spots", fps=1000)
    job = job_of("a", options, measured.job, epoch=1, state_file="/dev/full")
    running = Running(network, job)
    until(lambda: running.run() >= 3)
    drained = running.camera.drain(1e9)
    assert isinstance(drained, Drained)
    assert not drained.saved
    assert "the disk is full" in drained.problem


class Running:
    """A camera with its feeder."""

    def __init__(self, network: Network, job: CameraJob) -> None:
        self.sent: list[Any] = []
        self.came = threading.Event()
        self.camera = Watched(job, network, send=self.sent.append, wake=self.came.set)

    def run(self, most: int = 10**9) -> int:
        """Steps what waits; how many frames there were."""
        if len(self.shown()) < most:
            self.camera.step()
        return len(self.shown())

    def shown(self) -> list[tuple[int, Any]]:
        return [(one.counts.position, one.boxes) for one in self.sent if isinstance(one, Frame)]


def test_maps_are_pooled() -> None:
    active = np.zeros((6, 8), np.bool_)
    active[0, 0] = active[5, 6] = True
    np.testing.assert_allclose(pooled(active, 3, 2), [[1 / 8, 0], [0, 0], [0, 1 / 8]])
    assert pooled(active, 12, 16)[0, 1] == 1  # finer than the sites


def test_boxes_of_a_letterboxed_picture_are_put_back() -> None:
    from mquans.plan import InputFormat

    format = InputFormat(name="x", width=40, height=40, resize="letterbox")
    boxes = np.array([[0, 10, 40, 30, 0.9]], np.float32)
    np.testing.assert_allclose(in_picture(boxes, format, (80, 40))[0, :4], [0, 0, 1, 1])

"""One camera in a worker: its feeder, its stream, and when that is given a keyframe."""

from __future__ import annotations

import time
from collections.abc import Callable

from mquans.errors import MquansError, RefusedFrameError
from mquans.serve.engines import Network, Stepper
from mquans.serve.feed import Feeder, Taken
from mquans.serve.states import keep_state, take_state
from mquans.serve.wire import (
    CameraJob,
    CameraState,
    Counts,
    Drained,
    Frame,
    FromWorker,
    ModelJob,
    Told,
    Upgraded,
)

GAP_S = 2.0
"""Without a frame for so long, what is held says little about the next one."""

MOST_TAKEN = 0.6
"""Share of the input's sites beyond which the frame behind it is a keyframe."""

KEYFRAMES_APART_S = 1.0

BESIDE = 20
"""Frames that a new model runs beside the present one before it takes over."""

ERRORS_APART_S = 10.0
"""Between two words about errors of one camera."""

SAVED_EVERY_S = 1.0
LARGEST_SAVED_OFTEN = 1 << 20
"""Bytes of a state that is saved while the stream runs."""

SAVE_BYTES_PER_S = 50e6
"""Less than disks and hashes do, for whether there is time left to save."""


class Watched:
    """A camera that is read, computed and told of."""

    def __init__(
        self,
        job: CameraJob,
        network: Network,
        *,
        send: Callable[[FromWorker], None],
        wake: Callable[[], None],
    ) -> None:
        self._job, self._network, self._send = job, network, send
        self._counts = {"frames": 0, "refused": 0, "keyframes": 0, "errors": 0}
        self._position = job.position
        self._candidate: _Candidate | None = None
        self._watched = False
        self._asked = ""
        self._keyframe_s = self._error_s = self._saved_s = -KEYFRAMES_APART_S
        self._last: Taken | None = None
        self._shown: CameraState | None = None
        self._restored = False
        self._stepper = self._begin()
        self._feeder = Feeder(
            job,
            network.plan,
            pixels=network.pixels,
            position=self._position,
            wake=wake,
            tell=self._tell,
        )

    @property
    def keys(self) -> set[tuple[str, str, str]]:
        """Of the networks in use."""
        found = {self._network.key}
        return found if self._candidate is None else found | {self._candidate.network.key}

    def waiting_since(self) -> float | None:
        """When the frame came that waits longest."""
        return self._feeder.slot.since()

    def watch(self, on: bool) -> None:
        """Pictures, maps and layers as well, or no more."""
        self._watched = self._feeder.watched = on

    def ask_keyframe(self) -> None:
        """For the next frame."""
        self._asked = "asked"

    def look(self, now_s: float) -> None:
        """Tells once if the camera has fallen silent; a file comes when it is due."""
        silent = now_s - self._feeder.last_s > self._job.stall_s
        if silent and self._shown == "live" and not self._feeder.slot.waits:
            self._tell("stalled", f"no frame for {self._job.stall_s:g} s.", 0.0)

    def step(self) -> None:
        """Computes the frame that waits, and sends what it gave."""
        item = self._feeder.slot.take()
        if item is None:
            return
        if self._shown == "stalled":
            self._tell("live", "", 0.0)
        keyframe = self._keyframe_for(item)
        started_s = time.monotonic()
        try:
            outputs = self._stepper.step(item.feeds, keyframe=bool(keyframe))
            boxes = self._network.boxes(outputs, item.size)
        except RefusedFrameError as error:
            self._counts["refused"] += 1
            self._complain(str(error))
            return
        except Exception as error:  # of one camera, not of all
            self._counts["errors"] += 1
            self._complain(f"{type(error).__name__}: {error}")
            self._stepper.close()
            self._stepper = self._network.stepper(guard=self._job.guard)
            return
        done_s = time.monotonic()
        self._counts["frames"] += 1
        self._counts["keyframes"] += bool(keyframe)
        self._position, self._last = item.position, item
        if self._stepper.taken > MOST_TAKEN and not keyframe and self._counts["frames"] > 1:
            self._asked = self._asked or "change"
        self._send(
            Frame(
                camera=self._job.name,
                epoch=self._job.epoch,
                taken_s=item.taken_s,
                done_s=done_s,
                step_ms=(done_s - started_s) * 1e3,
                reuse=self._stepper.reuse,
                keyframe=keyframe,
                size=item.size,
                boxes=boxes,
                values=self._network.values(outputs),
                counts=self._counted(),
                guard=self._stepper.guard_report(),
                jpeg=item.jpeg,
                heat=self._stepper.heat() if self._watched else None,
                layers=self._stepper.layers() if self._watched else None,
            )
        )
        if self._candidate is not None:
            self._run_beside(self._candidate, item)
        self._save_often(done_s)

    def try_out(self, model: ModelJob, network: Network) -> None:
        """Runs another network beside the present one for some frames, then goes on with it."""
        self._end_candidate()
        try:
            stepper = network.stepper(guard=self._job.guard)
        except MquansError as error:
            self._send(Upgraded(self._job.name, self._job.epoch, model.key, str(error)))
            return
        self._candidate = _Candidate(network, stepper)

    def drain(self, until_s: float) -> Drained:
        """Saves the stream, if there is time, and ends."""
        saved, problem = False, ""
        if self._job.state_file and self._counts["frames"]:
            try:
                saved = self._save(until_s)
            except MquansError as error:
                problem = str(error)
        self._feeder.close()
        return Drained(self._job.name, self._job.epoch, saved, self._position, problem)

    def close(self) -> None:
        """Reads and computes no more."""
        self._feeder.close()
        self._end_candidate()
        self._stepper.close()

    def _begin(self) -> Stepper:
        """The stream, from where it was saved if that fits."""
        guard = self._job.guard
        if self._job.restore and self._network.session is not None:
            try:
                state, self._position = take_state(self._job.state_file)
                stepper = self._network.stepper(guard=guard, state=state)
                self._restored = True
                self._tell(None, "goes on where it was saved.", 0.0)
                return stepper
            except MquansError as error:
                self._position = self._job.position
                self._tell(None, f"begins anew: {error}", 0.0)
        return self._network.stepper(guard=guard)

    def _keyframe_for(self, item: Taken) -> str:
        """Why the frame is to be a keyframe; empty if it is not."""
        last, why = self._last, self._asked
        if last is None:  # what was saved is older than any gap
            return "gap" if self._restored and item.live else ""
        if why != "asked":
            if item.size != last.size:
                why = "size"
            elif item.live and item.taken_s - last.taken_s > GAP_S:
                why = "gap"
        if not why or (why != "asked" and item.taken_s - self._keyframe_s < KEYFRAMES_APART_S):
            return ""
        self._asked, self._keyframe_s = "", item.taken_s
        return why

    def _run_beside(self, candidate: _Candidate, item: Taken) -> None:
        try:
            outputs = candidate.stepper.step(item.feeds)
            candidate.network.boxes(outputs, item.size)
        except Exception as error:
            self._end_candidate()
            what = f"{type(error).__name__}: {error}"
            self._send(Upgraded(self._job.name, self._job.epoch, candidate.network.key, what))
            return
        candidate.frames += 1
        if candidate.frames == BESIDE:
            self._candidate = None
            self._stepper.close()
            self._stepper, self._network = candidate.stepper, candidate.network
            self._send(Upgraded(self._job.name, self._job.epoch, self._network.key))

    def _end_candidate(self) -> None:
        if self._candidate is not None:
            self._candidate.stepper.close()
            self._candidate = None

    def _save(self, until_s: float) -> bool:
        if self._stepper.state_bytes / SAVE_BYTES_PER_S > until_s - time.monotonic():
            return False
        state = self._stepper.save()
        if state is None:
            return False
        keep_state(self._job.state_file, state, self._position)
        return True

    def _save_often(self, now_s: float) -> None:
        """Of sound, and of networks with states: what they remember reaches far back."""
        plan = self._network.plan
        if (
            self._job.state_file
            and (plan.audio is not None or plan.feedback)
            and now_s - self._saved_s >= SAVED_EVERY_S
            and 0 < self._stepper.state_bytes <= LARGEST_SAVED_OFTEN
        ):
            self._saved_s = now_s
            try:
                self._save(now_s + SAVED_EVERY_S)
            except MquansError as error:
                self._complain(str(error))

    def _counted(self) -> Counts:
        slot = self._feeder.slot
        return Counts(
            **self._counts,
            dropped=slot.dropped,
            connects=self._feeder.connects,
            overflows=slot.overflows,
            position=self._position,
        )

    def _complain(self, what: str) -> None:
        now_s = time.monotonic()
        if now_s - self._error_s >= ERRORS_APART_S:
            self._error_s = now_s
            # Frames bring their counts, and here none may come.
            self._send(Told(self._job.name, self._job.epoch, None, what, counts=self._counted()))

    def _tell(self, state: CameraState | None, text: str, retry_s: float) -> None:
        self._shown = state or self._shown
        self._send(Told(self._job.name, self._job.epoch, state, text, retry_s))


class _Candidate:
    """A network that runs beside another."""

    def __init__(self, network: Network, stepper: Stepper) -> None:
        self.network, self.stepper, self.frames = network, stepper, 0

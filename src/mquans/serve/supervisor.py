"""Workers and cameras: who runs what, who is replaced, how all of it changes and ends."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from mquans.errors import MquansError
from mquans.serve.camera import Camera, Viewer
from mquans.serve.cluster import Cluster, ClusterCrew
from mquans.serve.config import CameraOptions, Config
from mquans.serve.crew import Crew
from mquans.serve.measuring import Measured
from mquans.serve.placement import loads, moves
from mquans.serve.planning import Planned, job_of, plan_config
from mquans.serve.states import StateFolder
from mquans.serve.wire import (
    Add,
    Beat,
    Drained,
    Frame,
    FromWorker,
    Inferred,
    Keyframe,
    Remove,
    Told,
    ToWorker,
    Upgrade,
    Upgraded,
    Watch,
)

DRAIN_SPARE_S = 1.0
"""Of the time for draining, for what comes after the workers."""

COUNTERS_EVERY_S = 10
"""Between two times that a camera's counters are written; memory cards wear out."""

FIXED = ("server", "mqtt", "scale")
"""Parts of the file that a reload leaves as they are."""

Listener = Callable[[str, Camera, Frame | None], None]


class Supervisor:
    """Runs the cameras of a plan until it is stopped. All methods are for the event loop.

    Args:
        cluster: whose machines run the workers; this one does without.

    Attributes:
        planned: what is run now.
        cameras: by name, in the order of the file.
        crew: the workers.
        states: the folder of states.
    """

    def __init__(self, planned: Planned, cluster: Cluster | None = None) -> None:
        self.planned = planned
        self.cameras: dict[str, Camera] = {}
        hang_s = planned.config.server.hang_s
        self.crew = (
            Crew(planned.workers, hang_s=hang_s, owner=self)
            if cluster is None
            else ClusterCrew(cluster, hang_s=hang_s, owner=self)
        )
        self.states = StateFolder(planned.config.server.state_dir)
        self.draining = False
        self._listeners: list[Listener] = []
        self._reloading = asyncio.Lock()

    @property
    def config(self) -> Config:
        return self.planned.config

    def labels(self, camera: Camera) -> tuple[str, ...]:
        """Names of the classes that a camera's boxes are of."""
        models = self.config.models
        return models[camera.runs if camera.runs in models else str(camera.options.model)].labels

    def listen(self, listener: Listener) -> None:
        """Has it called with `state`, `frame`, `added`, `changed` or `removed`, and the camera."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Starts workers and cameras.

        Raises:
            MquansError: there is no place for states.
        """
        self.states.prepare()
        self.crew.start()
        for name in self.config.cameras:
            self._add(name)
        self._keeping = asyncio.create_task(self._keep_records())

    def ready(self) -> bool:
        """All workers go round, and every camera was tried."""
        tried = all(camera.state != "waiting" for camera in self.cameras.values())
        return tried and self.crew.ready and not self.draining

    async def stop(self) -> None:
        """Has the workers save their streams, and ends them, within the file's `drain_s`."""
        self.draining = True
        self._keeping.cancel()
        within_s = max(0.5, self.config.server.drain_s - 2 * DRAIN_SPARE_S)
        await self.crew.end(within_s, DRAIN_SPARE_S / 2)
        self._write_records()
        for camera in self.cameras.values():
            for viewer in camera.viewers:
                viewer.end()

    def watch(self, camera: Camera) -> Viewer:
        """A viewer of a camera, who is to be handed to `unwatch`."""
        viewer = Viewer()
        camera.viewers.add(viewer)
        if len(camera.viewers) == 1:
            self._order(camera, Watch(camera.name, True))
        return viewer

    def unwatch(self, camera: Camera, viewer: Viewer) -> None:
        """Without viewers no pictures are made."""
        camera.viewers.discard(viewer)
        if not camera.viewers:
            self._order(camera, Watch(camera.name, False))

    def keyframe(self, camera: Camera) -> None:
        """Has the next frame computed whole."""
        self._order(camera, Keyframe(camera.name))

    def enable(self, camera: Camera, on: bool) -> None:
        """Runs a camera, or leaves it alone until it is enabled again, also over restarts."""
        if camera.enabled == on:
            return
        camera.enabled = on
        if on:
            self._give(camera)
        else:
            self._take_away(camera)
            camera.become("disabled", "")
        self._say("state", camera, None)

    async def reload(self, config: Config) -> dict[str, list[str]]:
        """Goes over to another configuration; cameras that it says the same of go on untouched.

        Returns:
            names of cameras that were added, removed, restarted and upgraded.

        Raises:
            MquansError: it cannot be run; nothing has changed.
        """
        async with self._reloading:
            if any(getattr(config, part) != getattr(self.config, part) for part in FIXED):
                raise MquansError(
                    f"what is under {', '.join(FIXED)} changes only with a restart.",
                    hint="Leave it as it was, or restart the server.",
                )
            planned = await asyncio.to_thread(plan_config, config, self.planned.engine)
            return self._go_over(planned)

    def _go_over(self, planned: Planned) -> dict[str, list[str]]:
        before = self.config
        self.planned = planned
        done: dict[str, list[str]] = {
            "added": [], "removed": [], "restarted": [], "upgraded": [],
        }  # fmt: skip
        for name in [name for name in self.cameras if name not in planned.config.cameras]:
            camera = self.cameras.pop(name)
            self._take_away(camera)
            for viewer in camera.viewers:
                viewer.end()
            self._say("removed", camera, None)
            done["removed"].append(name)
        for name in planned.config.cameras:
            if name not in self.cameras:
                self._add(name)
                done["added"].append(name)
                continue
            camera = self.cameras[name]
            options = planned.config.cameras[name]
            model = planned.models[str(options.model)]
            what = _difference(camera, options, model)
            if options.source != camera.options.source:
                camera.counts = replace(camera.counts, position=0)
            followed = _followed(before, name) != _followed(planned.config, name)
            camera.options = options
            if followed:
                self._say("changed", camera, None)
            if what == "upgraded" and camera.state != "live":
                what = "restarted"  # no frame comes that both could be tried on
            if what == "upgraded" and camera.enabled:
                camera.upgrade = model
                camera.say("another model or plan runs beside the present one.")
                self._order(camera, Upgrade(name, camera.epoch, model.job))
            elif what:
                camera.model, camera.upgrade, camera.runs = model, None, str(options.model)
                if camera.enabled:
                    self._take_away(camera)
                    self._give(camera)
            elif camera.upgrade is None:
                camera.runs = str(options.model)
            if what and camera.enabled:
                done[what].append(name)
        self.cameras = {name: self.cameras[name] for name in planned.config.cameras}
        return done

    def _add(self, name: str) -> None:
        options = self.config.cameras[name]
        record = self.states.read(name)
        model = self.planned.models[str(options.model)]
        camera = Camera(name, options, model, record, enabled=record.enabled)
        self.cameras[name] = camera
        if camera.enabled:
            self._give(camera)
        else:
            camera.become("disabled", "")
        self._say("added", camera, None)

    def _give(self, camera: Camera) -> None:
        """To the worker that has least to do, or the one that had it."""
        number = self._least_busy() if camera.worker is None else camera.worker
        if number is None:
            camera.become("waiting", "there is no worker.")
            return
        camera.own(number)
        # On another machine there is another disk.
        kept = self.crew.cameras_wait
        job = job_of(
            camera.name,
            camera.options,
            camera.model.job,
            epoch=camera.epoch,
            state_file=self.states.stream_file(camera.name) if kept else "",
            restore=kept and self.states.has_stream(camera.name),
            position=camera.counts.position,
        )
        self.crew.order(number, Watch(camera.name, bool(camera.viewers)))
        self.crew.order(number, Add(job))

    def _take_away(self, camera: Camera) -> None:
        self._order(camera, Remove(camera.name))
        camera.worker = None

    def _order(self, camera: Camera, order: ToWorker) -> None:
        if camera.worker is not None:
            self.crew.order(camera.worker, order)

    def _least_busy(self) -> int | None:
        """None without any worker."""
        load = loads(self._owners(), self._costs(), self.crew.takers)
        return min(load, key=lambda worker: (load[worker], worker), default=None)

    def _owners(self) -> dict[str, int]:
        return {
            camera.name: camera.worker
            for camera in self.cameras.values()
            if camera.worker is not None
        }

    def _costs(self) -> dict[str, float]:
        known = self._ms_per_mac()
        return {
            camera.name: camera.options.fps * (camera.step_ms or known * camera.model.macs)
            for camera in self.cameras.values()
        }

    def _ms_per_mac(self) -> float:
        """Of cameras that were measured, for those that have yet to be; only ratios matter."""
        measured = [camera for camera in self.cameras.values() if camera.step_ms]
        macs = sum(camera.model.macs for camera in measured)
        return sum(camera.step_ms for camera in measured) / macs if macs else 1.0

    async def _keep_records(self) -> None:
        for second in itertools.count(1):
            await asyncio.sleep(1.0)
            counters = second % COUNTERS_EVERY_S == 0
            await asyncio.to_thread(self._write_records, counters=counters)

    def _write_records(self, *, counters: bool = True) -> None:
        for camera in list(self.cameras.values()):
            record = camera.to_record()
            if problem := self.states.write(camera.name, record, counters=counters):
                camera.say(problem)

    def lost(self, worker: int) -> None:
        for camera in self._of(worker):
            camera.restarts += 1
            camera.become("waiting", "its worker ended and is replaced.")
            camera.say(camera.why)
            self._say("state", camera, None)
        self._even_out()

    def replaced(self, worker: int) -> None:
        for camera in self._of(worker):
            self._give(camera)
        self._even_out()

    def _even_out(self) -> None:
        """Where cameras do not wait for their workers, those without one go to others, and a worker
        that has joined is given its share."""
        if self.crew.cameras_wait:
            return
        for name, worker in moves(self._owners(), self._costs(), self.crew.takers).items():
            camera = self.cameras[name]
            self._take_away(camera)
            camera.worker = worker
            camera.say(f"goes to worker {worker}.")
            self._give(camera)
        for camera in self.cameras.values():
            if camera.enabled and camera.worker is None:
                self._give(camera)

    def hear(self, worker: int, report: FromWorker) -> None:
        """A report, unless somebody else runs its camera by now."""
        if isinstance(report, Beat | Inferred):
            return
        camera = self.cameras.get(report.camera)
        if camera is None or report.epoch != camera.epoch or camera.worker != worker:
            return
        match report:
            case Frame():
                camera.see(report)
                self._say("frame", camera, report)
            case Told():
                camera.hear(report, self.config.redact(report.text))
                self._say("state", camera, None)
            case Upgraded(key=key, problem=problem):
                if camera.upgrade is not None and key == camera.upgrade.job.key:
                    if not problem:
                        camera.model, camera.runs = camera.upgrade, str(camera.options.model)
                        self._say("changed", camera, None)
                    camera.upgrade = None
                    camera.say(
                        f"stays with the model that it has: {self.config.redact(problem)}"
                        if problem
                        else "goes on with the other model or plan."
                    )
            case Drained(saved=saved, problem=problem):
                camera.say(self.config.redact(problem) or ("saved." if saved else "ended."))
                self.states.errors += bool(problem)

    def _of(self, worker: int) -> list[Camera]:
        return [camera for camera in self.cameras.values() if camera.worker == worker]

    def _say(self, what: str, camera: Camera, frame: Frame | None) -> None:
        for listener in self._listeners:
            listener(what, camera, frame)


def _followed(config: Config, name: str) -> tuple[Any, ...]:
    """What the objects before a camera are told by."""
    options = config.cameras[name]
    return options.zones, options.lines, config.models[str(options.model)].labels


def _difference(camera: Camera, options: CameraOptions, model: Measured) -> str:
    """What a reload does to a camera: nothing, `upgraded` or `restarted`."""

    def key(options: CameraOptions) -> Any:
        return job_of(camera.name, options, camera.model.job, epoch=0)

    if key(options) != key(camera.options):
        return "restarted"
    if model.job.key == (camera.upgrade or camera.model).job.key:
        return ""
    # Frames are prepared once for both.
    return "upgraded" if model.preparation == camera.model.preparation else "restarted"

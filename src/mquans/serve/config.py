"""What a file of cameras says, typed and checked; `config_file` reads it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec

from mquans.errors import MquansError
from mquans.files import expanded

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Point = tuple[Share, Share]
NAME = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
"""Of models, cameras, zones and lines: parts of file names, addresses and topics."""
Name = Annotated[str, msgspec.Meta(pattern=NAME)]

LOOPBACK_NAME = "localhost"
SHORTEST_TOKEN = 8
SHORTEST_SECRET = 3
"""Characters; what is shorter would black out half of every message."""


class ConfigError(MquansError):
    """The file of cameras cannot be used."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ServerOptions(_Part, frozen=True, kw_only=True):
    """Where the server listens, and how it runs.

    Attributes:
        bind: address and port; any address but loopback needs a token.
        token: what clients must show; none is asked for where it is empty.
        state_dir: folder of what cameras go on with after a restart; none is kept where it is
            empty.
        workers: processes that step streams; `auto` is one per core, but no more than cameras.
        drain_s: how long a server that is stopped may take.
        hang_s: how long a worker may stand, or compute, without a sign of life before it is
            replaced.
        viewers: live pictures that may be watched at once.
        sequences: of the Open Inference Protocol that may be open at once.
    """

    bind: str = "127.0.0.1:8600"
    token: str = ""
    state_dir: str = ""
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] | Literal["auto"] = "auto"
    drain_s: Seconds = 10
    hang_s: Annotated[float, msgspec.Meta(ge=1, le=600)] = 4
    viewers: Annotated[int, msgspec.Meta(ge=1, le=10000)] = 64
    sequences: Annotated[int, msgspec.Meta(ge=1, le=10000)] = 16

    @property
    def host(self) -> str:
        """The address without brackets."""
        return self.bind.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.bind.rpartition(":")[2])


class ModelOptions(_Part, frozen=True, kw_only=True):
    """A network, and what its outputs mean.

    Attributes:
        onnx, plan: files.
        decode: a ready decoder of boxes; without it only numbers of small outputs are shown.
        threshold: least score of a box; by default the decoder's own.
        labels: names of the classes, in their order.
    """

    onnx: str
    plan: str
    decode: str | None = None
    threshold: Share | None = None
    labels: tuple[str, ...] = ()


class GuardOptions(_Part, frozen=True, kw_only=True):
    """As the flags of `mquans run`: a check every so many frames against a budget."""

    max_loss: Annotated[float, msgspec.Meta(gt=0)]
    every: Annotated[int, msgspec.Meta(ge=1)] = 100


class Defaults(_Part, frozen=True, kw_only=True):
    """What holds for every camera that says nothing else; see `CameraOptions`."""

    model: str | None = None
    fps: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 5
    stall_s: Seconds = 5
    retry_s: tuple[Seconds, Seconds] = (1, 30)
    loop: bool = False
    guard: GuardOptions | None = None


class CameraOptions(Defaults, frozen=True, kw_only=True):
    """One camera.

    Attributes:
        source: as `mquans run --source` takes it.
        model: one of `models`.
        fps: frames per second that are computed, at most.
        stall_s: without a frame for so long, it is shown as stalled.
        retry_s: shortest and longest pause before a camera that cannot be opened is tried again.
        loop: begin a file again where it ends.
        guard: compares the stream with the dense network from time to time.
        zones: areas by name, as corners in shares of the picture.
        lines: by name, from and to, in shares of the picture: crossings are counted.
    """

    source: str
    zones: dict[Name, Annotated[tuple[Point, ...], msgspec.Meta(min_length=3)]] = {}
    lines: dict[Name, tuple[Point, Point]] = {}


class MqttOptions(_Part, frozen=True, kw_only=True):
    """A broker.

    Attributes:
        prefix: first part of all topics.
        discovery: first part of Home Assistant's discovery topics; off where it is empty.
    """

    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1883
    user: str = ""
    password: str = ""
    tls: bool = False
    prefix: Annotated[str, msgspec.Meta(pattern="^[^#+/]+(/[^#+/]+)*$")] = "mquans"
    discovery: Annotated[str, msgspec.Meta(pattern="^([^#+/]+(/[^#+/]+)*)?$")] = ""


class ScaleOptions(_Part, frozen=True, kw_only=True):
    """A cluster whose machines run the cameras.

    Attributes:
        address: of its head as Ray has it (HOST:PORT), or `auto`: the one that this machine is in.
    """

    address: Annotated[str, msgspec.Meta(pattern="^(auto|[^:/]+:[0-9]{1,5})$")] = "auto"


class Config(_Part, frozen=True, kw_only=True):
    """The whole file.

    Attributes:
        secrets: values that came from the environment, and passwords in URLs: never shown.
    """

    server: ServerOptions = ServerOptions()
    models: dict[Name, ModelOptions]
    cameras: dict[Name, CameraOptions] = {}
    mqtt: MqttOptions | None = None
    scale: ScaleOptions | None = None
    secrets: tuple[str, ...] = ()

    def redact(self, text: str) -> str:
        """The text without passwords."""
        return redacted(text, self.secrets)

    def shown_source(self, camera: CameraOptions) -> str:
        """A source without passwords, of files without the folder."""
        source = camera.source
        return Path(source).name if _is_file(source) else self.redact(source)

    def bound(self, bind: str | None) -> Self:
        """Listening at another address, if there is one.

        Raises:
            ConfigError: it is none, or needs a token.
        """
        if bind is None:
            return self
        server = msgspec.structs.replace(self.server, bind=bind)
        found = msgspec.structs.replace(self, server=server)
        if problem := problem_of(found):
            _, what, hint = problem
            raise ConfigError(what, where=f"--bind {bind}", hint=hint or None)
        return found

    def scaled(self, address: str | None) -> Self:
        """Over the cluster of an address, if there is one.

        Raises:
            ConfigError: it is none.
        """
        if address is None:
            return self
        try:
            scale = msgspec.convert({"address": address}, ScaleOptions)
        except msgspec.ValidationError:
            raise ConfigError(
                "is no address of a cluster.",
                where=f"--address {address}",
                hint="Write HOST:PORT of its head, or auto for the one that this machine is in.",
            ) from None
        return msgspec.structs.replace(self, scale=scale)

    def resolved(self, folder: Path) -> Self:
        """With paths of files taken from a folder, that of the file of cameras."""

        def path(text: str) -> str:
            return str(folder / expanded(text)) if text else text

        models = {
            name: msgspec.structs.replace(model, onnx=path(model.onnx), plan=path(model.plan))
            for name, model in self.models.items()
        }
        server = msgspec.structs.replace(self.server, state_dir=path(self.server.state_dir))
        cameras = {
            name: msgspec.structs.replace(
                camera,
                source=path(camera.source) if _is_file(camera.source) else camera.source,
            )
            for name, camera in self.cameras.items()
        }
        return msgspec.structs.replace(self, models=models, server=server, cameras=cameras)


def problem_of(config: Config) -> tuple[tuple[str, ...], str, str] | None:
    """What no type says: where (keys that lead there), what is wrong, and a way out."""
    server = config.server
    if re.fullmatch(r".+:[0-9]{1,5}", server.bind) is None or server.port > 65535:
        return ("server", "bind"), "is not an address and a port.", "Write it like 127.0.0.1:8600."
    if server.token and len(server.token) < SHORTEST_TOKEN:
        return (
            ("server", "token"),
            f"has fewer than {SHORTEST_TOKEN} characters.",
            "Make one with: openssl rand -hex 16",
        )
    if not server.token and not is_loopback(server.host):
        return (
            ("server", "bind"),
            f"{server.host} can be reached from other machines, and there is no token.",
            'Give one, such as token: "${MQUANS_TOKEN}", or bind to 127.0.0.1.',
        )
    if not config.models:
        return ("models",), "there is no model.", "Name an ONNX file and its plan."
    from mquans.metrics import DECODERS

    for name, model in config.models.items():
        if model.decode is not None and model.decode not in DECODERS:
            return (
                ("models", name, "decode"),
                f"there is no decoder {model.decode!r}.",
                f"Decoders are: {', '.join(DECODERS)}.",
            )
    for name, camera in config.cameras.items():
        at = ("cameras", name)
        if camera.model not in config.models:
            what = "says no model" if camera.model is None else f"there is no model {camera.model}"
            return (*at, "model"), f"{what}.", f"Models are: {', '.join(config.models)}."
        if camera.retry_s[0] > camera.retry_s[1]:
            return (*at, "retry_s"), "the shortest pause is longer than the longest.", ""
        if (camera.zones or camera.lines) and config.models[camera.model].decode is None:
            return at, "zones and lines need boxes.", "Say how to decode the model's outputs."
    return None


def is_loopback(host: str) -> bool:
    """Can only this machine reach it?"""
    if host == LOOPBACK_NAME:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Text without users and passwords of URLs, without values of their queries, and without
    secrets.

    >>> redacted("rtsp://me:word@10.0.0.4/sub?channel=1&password=word")
    'rtsp://***@10.0.0.4/sub?channel=***&password=***'
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    text = re.sub(r"(?<=://)[^/\s'\"]*@", "***@", text)
    return re.sub(r"(?<=[?&])([\w.-]+)=(?:[^&\s'\":]|:(?!\s|$))+", r"\1=***", text)


def secrets_of(values: Iterable[str], cameras: Iterable[Any]) -> tuple[str, ...]:
    """What must never be shown: values from the environment, and passwords in sources."""
    found = {value for value in values if len(value) >= SHORTEST_SECRET}
    for source in cameras:
        if isinstance(source, str) and (user := re.search(r"://([^/@\s]*)@", source)):
            password = user[1].partition(":")[2]
            if len(password) >= SHORTEST_SECRET:
                found.add(password)
    return tuple(sorted(found))


def _is_file(source: str) -> bool:
    """False for URLs, cameras of this machine and microphones."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://|mic:|[0-9]{1,4}$", source) is None

"""Reading a file of cameras: YAML whose every mistake is told with its line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from mquans.errors import MquansError
from mquans.files import PathLike, printable, read_limited
from mquans.serve.config import (
    NAME,
    CameraOptions,
    Config,
    ConfigError,
    Defaults,
    ModelOptions,
    MqttOptions,
    ScaleOptions,
    ServerOptions,
    problem_of,
    secrets_of,
)

LARGEST_FILE_BYTES: Final = 1 << 20
Keys = tuple[str, ...]
T = TypeVar("T")

_SECTIONS: Final = ("server", "models", "defaults", "cameras", "mqtt", "scale")
_TOKEN: Final = ("server", "token")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_AT = re.compile(r"(.*) - at (?:`key` in )?`\$(.*)`", re.DOTALL)


def read_config(path: PathLike, environment: Mapping[str, str] | None = None) -> Config:
    """Reads and checks a file of cameras; paths in it are taken from its folder.

    Args:
        environment: for "${NAME}"; that of this process by default.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong; with the line.
    """
    data = read_limited(path, LARGEST_FILE_BYTES, error=ConfigError)
    where = printable(os.fspath(path))
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ConfigError("is not text in UTF-8.", where=where) from None
    config = parse_config(text, os.environ if environment is None else environment, where=where)
    return config.resolved(Path(path).resolve().parent)


def parse_config(text: str, environment: Mapping[str, str], *, where: str = "cameras") -> Config:
    """The file's content; paths stay as they are.

    Raises:
        ConfigError: as `read_config`.
    """
    return _Document(text, environment, where).config()


def _is_name(key: yaml.Node) -> bool:
    """False for what YAML reads as something else than what is written, such as `yes` and 0x10."""
    kind = key.tag.rpartition(":")[2]
    as_written = kind == "int" and re.fullmatch("0|[1-9][0-9]{0,15}", str(key.value)) is not None
    return kind in ("str", "merge") or as_written


class _Document:
    """One file: its values, and the line of each by the keys that lead there."""

    def __init__(self, text: str, environment: Mapping[str, str], where: str) -> None:
        self._where = where
        self._lines: dict[Keys, int] = {}
        self._environment = environment
        self._from_environment: list[str] = []
        try:
            values = self._filled(self._read(text), ())
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = "" if mark is None else f", line {mark.line + 1}"
            what = getattr(error, "problem", None) or getattr(error, "reason", "cannot be read")
            raise ConfigError(f"is not YAML: {what}.", where=f"{where}{line}") from None
        except RecursionError:
            raise ConfigError("is nested too deeply, or holds itself.", where=where) from None
        except ValueError as error:  # such as a number of thousands of digits
            raise ConfigError(f"is not YAML: {error}.", where=where) from None
        if not isinstance(values, dict):
            raise ConfigError("holds no keys.", where=where, hint="It needs models and cameras.")
        self._values = values

    def _read(self, text: str) -> Any:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            self._note(node, ())
            return loader.construct_document(node)
        finally:
            loader.dispose()

    def config(self) -> Config:
        values = self._values
        self._check_keys(values, _SECTIONS, ())
        server = self._typed(values.get("server"), ServerOptions, ("server",))
        models = {
            name: self._typed(value, ModelOptions, ("models", name))
            for name, value in self._mapping(values, "models").items()
        }
        defaults = values.get("defaults") or {}
        self._typed(defaults, Defaults, ("defaults",))
        cameras = {
            name: self._camera(value, defaults, ("cameras", name))
            for name, value in self._mapping(values, "cameras").items()
        }
        mqtt, scale = values.get("mqtt"), values.get("scale")
        whole = {
            "server": server,
            "models": models,
            "cameras": cameras,
            "mqtt": None if mqtt is None else self._typed(mqtt, MqttOptions, ("mqtt",)),
            "scale": None
            if "scale" not in values
            else self._typed(scale, ScaleOptions, ("scale",)),
            "secrets": secrets_of(
                self._from_environment, [camera.source for camera in cameras.values()]
            ),
        }
        config = self._typed(whole, Config, ())
        if problem := problem_of(config):
            keys, what, hint = problem
            raise self._error(keys, what, hint)
        return config

    def _camera(self, value: Any, defaults: dict[str, Any], keys: Keys) -> CameraOptions:
        given = {"source": value} if isinstance(value, str | int) else value
        if not isinstance(given, dict):
            raise self._error(
                keys, "is no camera.", "Write its source, or source: and what else it needs."
            )
        self._check_keys(given, CameraOptions.__struct_fields__, keys)
        source = given.get("source")
        if isinstance(source, int):  # a camera of this machine, by its index
            given = given | {"source": str(source)}
        return self._typed(defaults | given, CameraOptions, keys)

    def _mapping(self, values: dict[str, Any], key: str) -> dict[str, Any]:
        found = values.get(key) or {}
        if not isinstance(found, dict):
            raise self._error((key,), "is not a list of names with what belongs to each.", "")
        for name in found:
            if re.fullmatch(NAME, str(name)) is None:
                raise self._error(
                    (key, str(name)),
                    "the name cannot be used.",
                    "Use up to 64 letters, digits, - and _.",
                )
        return {str(name): value for name, value in found.items()}

    def _typed(self, value: Any, kind: type[T], keys: Keys) -> T:
        value = {} if value is None else value
        if isinstance(value, dict):
            self._check_keys(value, kind.__struct_fields__, keys)  # type: ignore[attr-defined]
        try:
            # Numbers may come from the environment, as text.
            return msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError as error:
            text, inside = str(error), keys
            if found := _AT.match(text):
                text = found[1]
                inside = (*keys, *re.findall(r"[^.\[\]]+", found[2].replace("[...]", "")))
            if "matching regex" in text:
                text = "It has characters that cannot be used here"
            raise self._error(inside, f"{text[:1].lower()}{text[1:]}.", "") from None

    def _check_keys(self, values: dict[str, Any], known: tuple[str, ...], keys: Keys) -> None:
        for key in values:
            if key not in known:
                raise self._error(
                    (*keys, str(key)), "there is no such key.", f"Keys are: {', '.join(known)}."
                )

    def _note(self, node: yaml.Node, keys: Keys) -> None:
        """Notes the lines of all keys.

        Raises:
            ConfigError: a key that is given twice, of which YAML would take the last.
        """
        self._lines.setdefault(keys, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                inside = (*keys, str(key.value))
                if not _is_name(key):
                    self._lines[inside] = key.start_mark.line + 1
                    raise self._error(
                        inside, "YAML does not read this as a name.", "Put it in quotes."
                    )
                if inside in self._lines and key.value != "<<":
                    self._lines[inside] = key.start_mark.line + 1
                    raise self._error(inside, "is given twice.", "")
                self._lines[inside] = key.start_mark.line + 1
                self._note(value, inside)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._note(value, (*keys, str(index)))

    def _filled(self, value: Any, keys: Keys) -> Any:
        """With "${NAME}" replaced from the environment."""
        if isinstance(value, dict):
            return {key: self._filled(each, (*keys, str(key))) for key, each in value.items()}
        if isinstance(value, list):
            return [self._filled(each, (*keys, str(i))) for i, each in enumerate(value)]
        if not isinstance(value, str):
            return value

        def fill(variable: re.Match[str]) -> str:
            if variable[1] not in self._environment:
                raise self._error(
                    keys, f"the environment has no {variable[1]}.", "Set it, or write the value."
                )
            found = self._environment[variable[1]]
            if not found and keys == _TOKEN:
                raise self._error(
                    keys,
                    f"{variable[1]} is empty in the environment, so there is no token.",
                    "Set it, or leave it away.",
                )
            self._from_environment.append(found)
            return found

        return _VARIABLE.sub(fill, value)

    def _error(self, keys: Keys, what: str, hint: str) -> MquansError:
        known = keys
        while known and known not in self._lines:
            known = known[:-1]
        line = f", line {self._lines[known]}" if known in self._lines else ""
        name = f" ({printable('.'.join(keys))})" if keys else ""
        return ConfigError(what, where=f"{self._where}{line}{name}", hint=hint or None)

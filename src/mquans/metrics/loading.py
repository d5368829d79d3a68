"""Metrics by name: ready ones, or `module:function` from the user's own code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mquans.errors import MetricError
from mquans.files import printable
from mquans.metrics.meter import AnyMetric, metric_name, new_meter
from mquans.metrics.ready import READY


def load_metric(name: str) -> AnyMetric:
    """The metric of that name; `new_meter` takes it.

    Args:
        name: of a ready metric, such as `centerface_f1`; or `module:name`, where the module is
            imported as Python would in the current folder and the name may have dots.

    Raises:
        MetricError: there is no such metric, its module fails to load, or it is not a metric.
    """
    if ":" not in name:
        if name not in READY:
            raise MetricError(
                f"there is no ready metric {printable(name)!r}.",
                hint=f"Ready ones are: {', '.join(READY)}. Your own is given as module:function.",
            )
        return READY[name]
    module_name, _, attribute = name.partition(":")
    found = _attribute(_module(module_name, name), attribute, name)
    new_meter(found)  # a thing that is no metric is better refused now than after a long run
    return found  # type: ignore[no-any-return]


def _module(module_name: str, name: str) -> Any:
    where = f"metric {printable(name)!r}"
    if not module_name:
        raise MetricError(
            "has no module.", where=where, hint="Write it like my_metrics:steering_error."
        )
    if module_name.endswith(".py") or "/" in module_name:
        raise MetricError(
            "names a file.",
            where=where,
            hint=f"Give the module: {Path(module_name).stem}:{name.partition(':')[2]}, "
            "run in the file's folder.",
        )
    try:
        with _current_folder():
            return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.split(".")[0] == error.name.split(".")[0]:
            raise MetricError(
                f"there is no module {printable(module_name)!r} in this folder or among the "
                "installed packages.",
                where=where,
            ) from error
        raise MetricError(f"its module needs {error.name!r}.", where=where) from error
    except Exception as error:  # the module runs code of the user's
        raise MetricError(
            f"its module fails with {type(error).__name__}: {error}.", where=where
        ) from error


def _attribute(module: Any, attribute: str, name: str) -> Any:
    found = module
    for part in attribute.split("."):
        if not part or not hasattr(found, part):
            raise MetricError(
                f"{metric_name(module)!r} has no {printable(attribute)!r}.",
                where=f"metric {printable(name)!r}",
                hint="Write it like my_metrics:steering_error.",
            )
        found = getattr(found, part)
    return found


@contextmanager
def _current_folder() -> Iterator[None]:
    """The current folder first among the places where modules are looked for, as for scripts."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)

"""The packages of the extra `serve`."""

from __future__ import annotations

from importlib.util import find_spec

from mquans.errors import DependencyError

PACKAGES = ("starlette", "uvicorn", "websockets", "prometheus_client", "paho")


def require_packages() -> None:
    """Raises:
    DependencyError: one of them is not installed.
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            raise DependencyError(
                f"serving needs the package {package!r}.",
                hint='Install it with: pip install "mquans[serve]"',
            )

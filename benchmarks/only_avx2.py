"""Runs a benchmark as if the CPU had AVX2 at most: every engine in the process believes it.

    python benchmarks/only_avx2.py benchmarks/engines.py --quick --networks yolox --clips vtest

Needs a C compiler, Linux on x86-64, and a CPU with `cpuid_fault` in /proc/cpuinfo (Intel since Ivy
Bridge, AMD since Zen 4). `MQUANS_ISA=avx2` limits our kernels only; this also limits the others.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if len(sys.argv) > 1 else 2
    if "cpuid_fault" not in Path("/proc/cpuinfo").read_text():
        print("error: this CPU cannot hide instructions (no cpuid_fault)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="mquans-") as folder:
        library = Path(folder, "only_avx2.so")
        source = Path(__file__).with_suffix(".c")
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
        environment = {**os.environ, "LD_PRELOAD": str(library)}
        return subprocess.run([sys.executable, *sys.argv[1:]], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())

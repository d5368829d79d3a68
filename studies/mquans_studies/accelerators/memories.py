"""Energy per byte and leakage of memories, by CACTI 7: where the figures of
`designs` that name it come from.

    python -m mquans_studies.accelerators.memories CACTI

CACTI is a folder with the program and `cache.cfg_temp`, as zigzag-dse 3.9.1 has it in
`zigzag/cacti/cacti_master`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

KELVIN = 350
KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Memory:
    """What CACTI is asked for.

    Attributes:
        size, width: bytes, and bytes per access.
        nm: technology; cell: of CACTI's names.
    """

    use: str
    size: int
    width: int
    nm: int
    cell: str
    banks: int = 1


MEMORIES = (
    Memory("reuse edram, one tile", 9 * MIB, 128, 32, "lp-dram", 4),
    Memory("reuse io_buffer", 1152 * KIB, 64, 32, "itrs-lstp", 4),
    Memory("diannao nbin, nbout and a bank of sb", 2 * KIB, 32, 65, "itrs-lstp"),
    Memory("dadiannao tile_edram, a bank", 512 * KIB, 128, 32, "lp-dram"),
    Memory("dadiannao central_edram", 4 * MIB, 64, 32, "lp-dram", 2),
    Memory("eyeriss global_buffer", 108 * KIB, 8, 65, "itrs-lstp"),
    Memory("neuflow stream_buffers", 64 * KIB, 32, 45, "itrs-lstp"),
    Memory("cpu2 cache, one core", 1 * MIB, 64, 32, "itrs-hp"),
)


def configuration(template: str, memory: Memory) -> str:
    """CACTI's input file."""
    cell = memory.cell
    fields = {
        "-size (bytes)": memory.size,
        "-block size (bytes)": memory.width,
        "-output/input bus width": 8 * memory.width,
        "-read-write port": 1,
        "-exclusive read port": 0,
        "-exclusive write port": 0,
        "-UCA bank count": memory.banks,
        "-technology (u)": memory.nm / 1000,
        "-Data array cell type -": f'"{cell}"',
        "-Data array peripheral type -": f'"{"itrs-lstp" if cell == "itrs-lstp" else "itrs-hp"}"',
        "-operating temperature (K)": KELVIN,
    }
    for name, value in fields.items():
        line = re.compile(rf"^{re.escape(name)}.*$", re.MULTILINE)
        template, count = line.subn(f"{name} {value}", template)
        if count != 1:
            raise SystemExit(f"cache.cfg_temp has no line {name!r}")
    return template


def measure(cacti: Path, memory: Memory) -> tuple[float, float, float]:
    """(pJ per byte read, pJ per byte written, mW of leakage of all banks)."""
    template = (cacti / "cache.cfg_temp").read_text()
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(configuration(template, memory))
        file.flush()
        command = [str(cacti / "cacti"), "-infile", file.name]
        done = subprocess.run(command, cwd=cacti, capture_output=True, text=True, check=True)
    found = [
        float(re.search(rf"{label}.*?:\s*([0-9.e+-]+)", done.stdout)[1])  # type: ignore[index]
        for label in (
            r"Total dynamic read energy per access \(nJ\)",
            r"Total dynamic write energy per access \(nJ\)",
            r"Total leakage power of a bank \(mW\)",
            r"Total gate leakage power of a bank \(mW\)",
        )
    ]
    per_byte = [1e3 * energy / memory.width for energy in found[:2]]
    return per_byte[0], per_byte[1], memory.banks * (found[2] + found[3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cacti", type=Path)
    asked = parser.parse_args()
    print("| memory | bytes | width | nm | cell | banks | read pJ/B | write pJ/B | leakage mW |")
    print("|---|---:|---:|---:|---|---:|---:|---:|---:|")
    for memory in MEMORIES:
        read, written, leakage = measure(asked.cacti.resolve(), memory)
        print(
            f"| {memory.use} | {memory.size} | {memory.width} | {memory.nm} | {memory.cell} "
            f"| {memory.banks} | {read:.2f} | {written:.2f} | {leakage:.3f} |"
        )


if __name__ == "__main__":
    main()

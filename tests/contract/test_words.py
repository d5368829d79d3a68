"""One word per thing, of docs/glossary.md: those that were given up do not come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

RETIRED = {
    "afresh": "dense, or recomputed",
    "snap": "keyframe",
    "refresh": "recompute, or keyframe",
    "touched": "active",
    "island": "fallback subgraph",
    "twin": "reference",
    "oracle": "reference",
    "habit": "policy",
    "lent": "scratch",
    "driven": "externally clocked",
    "strung": "listed",
    "knob": "setting",
    "price": "multiplier",
    "searched": "selection",
    "judged": "validation",
}

ALLOWED = {
    # Columns of a file format.
    ("docs/reference/traces.md", "touched"),
    # The name of a network.
    ("docs/reference/onnx.md", "twin"),
}

FOLDERS = ("src", "native", "docs/guide", "docs/reference")
FILES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
KINDS = (".py", ".pyi", ".h", ".cpp", ".md")


def texts() -> list[Path]:
    found = [ROOT / name for name in FILES]
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.suffix in KINDS]
    return sorted(found)


@pytest.mark.parametrize("word", RETIRED)
def test_retired_words_stay_away(word: str) -> None:
    # As a word of its own or a part of an identifier; "untouched" is another word.
    pattern = re.compile(rf"(?<![a-z]){word}(?:s|ed|ing)?(?![a-z])", re.IGNORECASE)
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        if (str(path.relative_to(ROOT)), word) not in ALLOWED
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not lines, f"say {RETIRED[word]}:\n" + "\n".join(lines)

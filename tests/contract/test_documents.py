"""Documents say what is so: commands that are quoted parse, and links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from mquans.cli.app import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def commands(text: str) -> Iterator[str]:
    """Command lines of mquans, those that go on in the next line joined."""
    for block in FENCED.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("mquans "):
                yield line


def quoted() -> list[tuple[str, str]]:
    return [
        (str(path.relative_to(ROOT)), line)
        for path in DOCUMENTS
        for line in commands(path.read_text())
    ]


@pytest.fixture(scope="module")
def group() -> Any:
    import mquans.cli.commands  # noqa: F401

    found: Any = typer.main.get_command(app)
    found.list_commands(None)  # those of other packages too
    return found


@pytest.mark.parametrize(("document", "line"), quoted())
def test_quoted_commands_parse(group: Any, document: str, line: str) -> None:
    """A reader copies them; an option that went must go here too."""
    words = shlex.split(line, comments=True)[1:]
    command = group.commands[words[0]]
    if isinstance(command, TyperGroup):
        words = words[1:]
        command = command.commands[words[0]]
    if "[" in line:  # a synopsis
        known = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
        assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line)) <= known
        return
    rest = [word for word in words[1:] if word != "..."]
    command.make_context(words[0], rest, resilient_parsing=False)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Files that were moved, sections that were renamed."""
    for target in LINK.findall(path.read_text()):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        aimed = (path.parent / file).resolve() if file else path
        assert aimed.exists(), f"{path.name}: {target}"
        if anchor:
            assert anchor in anchors(aimed.read_text()), f"{path.name}: {target}"


def anchors(text: str) -> set[str]:
    """Of headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
    return set(plain)


def test_every_decision_is_listed() -> None:
    """With its title, and whether it still holds."""
    folder = ROOT / "docs/decisions"
    index = (folder / "index.md").read_text()
    for path in sorted(folder.glob("0*.md")):
        text = path.read_text()
        number, _, title = text.splitlines()[0].removeprefix("# ").partition(". ")
        [row] = [line for line in index.splitlines() if line.startswith(f"| {number} |")]
        assert f"[{title}]({path.name})" in row
        assert ("superseded" in row) == ("**Superseded**" in text), path.name

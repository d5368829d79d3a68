"""The site holds the documents only: links that leave them become plain text."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
INCLUDED = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
}


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    folder = dirname(page.file.src_uri)
    docs = Path(config["docs_dir"])

    def resolved(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        place = normpath(join("docs", folder, target))
        if place in INCLUDED:
            back = "../" * folder.count("/") + ("../" if folder else "")
            return f"[{text}]({back}{INCLUDED[place]}{anchor})"
        inside = place.startswith("docs/") and (docs.parent / place).is_file()
        return link[0] if inside else text

    return LINK.sub(resolved, markdown)

"""What the name of a source says of what will come."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from mquans.errors import SourceError
from mquans.files import expanded, printable
from mquans.sources.clips import VIDEO_SUFFIXES
from mquans.sources.images import IMAGE_SUFFIXES, files_in
from mquans.sources.pipe import STANDARD_INPUT
from mquans.sources.sound import AUDIO_SUFFIXES


def named_by(url: str) -> Path:
    """The file that a file:// address names.

    Raises:
        SourceError: it names another machine.
    """
    machine, _, path = url[len("file://") :].partition("/")
    if machine not in ("", "localhost"):
        raise SourceError(
            f"names a file of the machine {printable(machine)!r}.",
            where=printable(url),
            hint="A file of this one is written file:///folder/name, or without file://.",
        )
    return Path("/" + unquote(path))


def is_sound(spec: object) -> bool:
    """Would `open_source` take this for sound: a file, a folder or glob of files, a microphone?"""
    if not isinstance(spec, str | Path):
        return False
    try:
        if str(spec).startswith("mic:"):
            return True
        local = str(spec).lower().startswith("file://")
        path = named_by(str(spec)) if local else expanded(spec)
        if path.is_dir():
            return bool(sounds_in(path, preferred=False))
    except (OSError, ValueError, SourceError):  # such as a name too long to exist
        return False
    return path.suffix.lower() in AUDIO_SUFFIXES


def is_video(spec: object) -> bool:
    """Is this the name of a video file, which may hold sound as well?"""
    return isinstance(spec, str | Path) and Path(spec).suffix.lower() in VIDEO_SUFFIXES


def is_pipe(spec: object) -> bool:
    """Is this standard input or a named pipe, of which sound or pictures may come, once?"""
    if not isinstance(spec, str | Path):
        return False
    try:
        return str(spec) in STANDARD_INPUT or expanded(spec).is_fifo()
    except (OSError, ValueError):  # as above
        return False


def require_again(spec: object, purpose: str) -> None:
    """Refuses what can be read only once, before work that reads it again.

    Args:
        purpose: what reads it again, such as "the report".

    Raises:
        SourceError: a pipe.
    """
    if is_pipe(spec):
        raise SourceError(
            f"can be read only once, but {purpose} reads it again.",
            where=printable(str(spec)),
            hint="Write what comes to a file first.",
        )


def sounds_in(folder: Path, *, preferred: bool) -> list[Path]:
    """Sound files of a folder, unless it holds pictures that were meant."""
    sounds = files_in(folder, AUDIO_SUFFIXES)
    return sounds if preferred or not files_in(folder, IMAGE_SUFFIXES) else []

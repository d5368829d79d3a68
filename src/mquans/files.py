"""Files that are written whole or not at all, and read no further than they may be long."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from mquans.errors import MquansError

PathLike = str | os.PathLike[str]

_REASONS = {
    errno.ENOSPC: "the disk is full.",
    errno.EDQUOT: "the disk quota is used up.",
    errno.EFBIG: "the file would be larger than this disk or user may hold.",
    errno.EACCES: "permission was denied.",
    errno.EPERM: "permission was denied.",
    errno.EROFS: "the disk is read-only.",
    errno.ENOENT: "there is no such file or folder.",
    errno.ENOTDIR: "a part of the path is a file, not a folder.",
    errno.EISDIR: "it is a folder, not a file.",
    errno.ENAMETOOLONG: "the name is too long.",
    errno.ELOOP: "its symbolic links lead in a circle.",
}


def reason(error: OSError) -> str:
    """One clause for people on why the system refused a file."""
    if error.errno in _REASONS:
        return _REASONS[error.errno]
    return f"{error.strerror or error}."


def printable(text: str, limit: int = 200) -> str:
    """`text` from an untrusted file made safe for a terminal: control characters escaped, cut to
    `limit` characters."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def expanded(path: PathLike) -> Path:
    """A path with `~` in place of a home folder; as it is where nobody knows of one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def atomic_write(path: PathLike, data: bytes, *, error: type[MquansError] = MquansError) -> None:
    """Write a file so that every reader, at every moment, sees the old content or all of the new.

    The data goes to a temporary file in the same folder, is flushed to the disk and then takes the
    place of `path`. A link is followed, permissions of an existing file are kept, and a device or
    pipe (`/dev/stdout`) is written to instead of being replaced.

    Raises:
        error: the file cannot be written; whatever was at `path` is untouched and nothing else is
            left behind, also after Ctrl-C.
    """
    try:
        _replace(Path(os.path.realpath(path)), data)
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the path
        raise _unwritable(path, problem, error) from problem


def require_writable(*paths: PathLike | None, read: Iterable[PathLike] = ()) -> None:
    """Raise now what `atomic_write` would raise later, before work whose results go to `paths`.

    Args:
        read: files that the work needs; patterns stand for all that match, and what is no file,
            such as the address of a camera, is passed over.

    Raises:
        MquansError: a folder is not there or cannot be written to, a path is a folder itself, is
            one of those that are read, or is given twice.
    """
    named = [path for path in paths if path is not None]
    for i, path in enumerate(named):
        if any(_same_file(path, other) for other in named[:i]):
            raise MquansError(
                "two results would be written there.", where=printable(os.fspath(path))
            )
        if any(_same_file(path, name) for other in read for name in _matching(other)):
            raise MquansError(
                "is read by the same command, and would be overwritten.",
                where=printable(os.fspath(path)),
                hint="Give the result another name.",
            )
        try:
            target = Path(os.path.realpath(path))
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not target.exists() or target.is_file():  # a device needs no room beside it
                temporary = _temporary(target)
                temporary.open("xb").close()
                temporary.unlink()
        except (OSError, ValueError) as problem:
            raise _unwritable(path, problem) from problem


def _matching(path: PathLike) -> list[str]:
    """The path itself, and what it matches as a pattern."""
    name = os.fspath(path)
    return [name, *(glob.glob(name, recursive=True) if glob.has_magic(name) else ())]  # noqa: PTH207


def _same_file(a: PathLike, b: PathLike) -> bool:
    """Whether both lead to one file, be it through links. Devices may be given as often as wanted:
    nothing in them is lost."""
    try:
        target = Path(os.path.realpath(a))
        if target.exists() and not target.is_file():
            return False
        return target == Path(os.path.realpath(b)) or target.samefile(b)
    except (OSError, ValueError):  # one is not there, or no path at all
        return False


def read_limited(
    path: PathLike, limit_bytes: int, *, error: type[MquansError] = MquansError
) -> bytes:
    """All bytes of a file that may be at most `limit_bytes` long.

    The limit holds for what is really read, so that pipes and devices cannot exceed it either.

    Raises:
        error: the file is absent, unreadable or too long.
    """
    where = printable(os.fspath(path))
    try:
        with Path(path).open("rb") as file:
            data = file.read(limit_bytes + 1)
    except (OSError, ValueError) as problem:
        why = reason(problem) if isinstance(problem, OSError) else f"{problem}."
        raise error(f"cannot be read: {why}", where=where) from problem
    if len(data) > limit_bytes:
        raise error(f"is longer than the {limit_bytes} bytes such a file may have.", where=where)
    return data


def _unwritable(
    path: PathLike, problem: OSError | ValueError, error: type[MquansError] = MquansError
) -> MquansError:
    why = reason(problem) if isinstance(problem, OSError) else f"{problem}."
    return error(f"cannot be written: {why}", where=printable(os.fspath(path)))


def _temporary(target: Path) -> Path:
    return target.parent / f".mquans-{secrets.token_hex(8)}.tmp"


def _replace(target: Path, data: bytes) -> None:
    mode: int | None = None
    try:
        status = target.stat()
    except FileNotFoundError:
        pass
    else:
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            with target.open("wb") as device:
                device.write(data)
            return
        mode = stat.S_IMODE(status.st_mode)
    temporary = _temporary(target)
    try:
        with temporary.open("xb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        return  # some network file systems cannot sync a folder; the data itself is safe
    finally:
        os.close(descriptor)

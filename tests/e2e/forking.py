"""`mquans` in processes that are forked from one that has loaded its packages.

Such a process has arguments, files, an environment and an exit code of its own, as any other, but
need not load packages again, which is most of what a short command costs. As a program, this file
is the process that is forked.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import mquans.cli

LONGEST_MESSAGE_BYTES = 1 << 20
LONGEST_RUN_S = 120.0


class Forker:
    """Runs commands one after the other."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(LONGEST_RUN_S)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def run(
        self, args: list[str], cwd: Path, env: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Waits for the end of `mquans ARGS`, without standard input."""
        with (
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            Path(os.devnull).open("rb") as nothing,
        ):
            files = [file.fileno() for file in (nothing, out, err)]
            socket.send_fds(self._socket, [json.dumps([args, str(cwd), env]).encode()], files)
            try:
                code = json.loads(self._socket.recv(LONGEST_MESSAGE_BYTES))
            except TimeoutError:  # its answer would be taken for that to the next command
                self.close()
                self._start()
                raise
            said = []
            for file in (out, err):
                file.seek(0)
                said.append(file.read().decode())
        return subprocess.CompletedProcess(["mquans", *args], code, *said)

    def close(self) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()


def _fork_for(asking: socket.socket) -> None:
    """Forks for every message until there are no more; returns in the children, once each."""
    while True:
        message, files, _, _ = socket.recv_fds(asking, LONGEST_MESSAGE_BYTES, 3)
        if not message:
            sys.exit()
        pid = os.fork()
        if not pid:
            break
        for file in files:
            os.close(file)
        _, status = os.waitpid(pid, 0)
        asking.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())
    asking.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    args, cwd, env = json.loads(message)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["mquans", *args]


def _load_everything() -> None:
    for module in walk_packages(mquans.__path__, "mquans."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    # Else every child that collects garbage copies all of it.
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _load_everything()
    _fork_for(socket.socket(fileno=int(sys.argv[1])))
    mquans.cli.main()

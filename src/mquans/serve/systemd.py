"""What a service tells systemd by its notification socket, as `sd_notify(3)` describes it.

Own code: a message is one datagram, and packages for it bring more code or need libsystemd.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import Callable, Mapping

LOOK_EVERY_S = 0.1
SEND_WITHIN_S = 1.0
"""systemd may be slow to read when a machine starts; the loop is not to hang with it."""


class Systemd:
    """Says when the service is ready, that its event loop goes round, and that it ends. Without
    `NOTIFY_SOCKET` nobody asks, and nothing happens.

    Args:
        environment: of this process by default.

    Attributes:
        beat_s: time between two signs of life, half of what the watchdog allows; None without one.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        found = os.environ if environment is None else environment
        self._address = found.get("NOTIFY_SOCKET", "")
        allowed_us = found.get("WATCHDOG_USEC", "")
        ours = found.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        watched = self._address and ours and allowed_us.isdecimal() and int(allowed_us) > 0
        self.beat_s = int(allowed_us) / 2e6 if watched else None

    async def attend(self, ready: Callable[[], bool]) -> None:
        """Says `READY=1` once the service is, and then feeds the watchdog until it is cancelled."""
        while not ready():
            await asyncio.sleep(LOOK_EVERY_S)
        self._say("READY=1")
        while self.beat_s is not None:
            self._say("WATCHDOG=1")
            await asyncio.sleep(self.beat_s)

    def stopping(self) -> None:
        """Says that the service ends."""
        self._say("STOPPING=1")

    def _say(self, what: str) -> None:
        if not self._address:
            return
        # Names in the kernel's own (abstract) space begin with a zero byte, for which @ stands.
        address = re.sub("^@", "\0", self._address)
        # A server that nobody hears still serves: systemd itself says what it missed.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.settimeout(SEND_WITHIN_S)
            out.sendto(what.encode(), address)

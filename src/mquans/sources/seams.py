"""Where transport streams were put together, which their numbering takes for a loss."""

from __future__ import annotations

REACH = 2
"""Packets from the one that FFmpeg marks to the first of the next part, at most."""


class Seams:
    """Packets in the order they come.

    Where files are joined (`cat a.ts b.ts`, segments one behind the other), numbers jump and FFmpeg
    marks a packet as incomplete. What follows begins with a keyframe and needs nothing from before,
    so nothing is missing; if a picture was cut off in front of it, its decoder tells.
    """

    def __init__(self) -> None:
        self._number = 0
        self._marked: list[int] = []

    @property
    def gaps(self) -> int:
        """Packets that were marked elsewhere than at a seam."""
        return len(self._marked)

    def meet(self, *, marked: bool, keyframe: bool) -> None:
        """The next packet."""
        self._number += 1
        if marked:
            self._marked.append(self._number)
        while keyframe and self._marked and self._number - self._marked[-1] <= REACH:
            self._marked.pop()

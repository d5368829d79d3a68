"""What of a source cannot be read: an error at once, or left out, counted and told of."""

from __future__ import annotations

import warnings
from typing import Literal, get_args

from mquans.errors import SourceError
from mquans.sources.warning import SourceWarning

OnError = Literal["stop", "skip"]


class Unreadable:
    """Meets what cannot be read: pictures, recordings.

    Attributes:
        count: how many were left out.
        skips: may anything be left out?

    Raises:
        SourceError: `on_error` is neither `stop` nor `skip`.
    """

    def __init__(self, on_error: OnError = "stop") -> None:
        if on_error not in get_args(OnError):
            raise SourceError(
                f"there is no way {on_error!r} to meet what cannot be read.",
                hint=f"Choose one of: {', '.join(get_args(OnError))}.",
            )
        self.count = 0
        self.skips = on_error == "skip"
        self._first: SourceError | None = None

    def meet(self, error: SourceError) -> None:
        """Counts what is left out.

        Raises:
            SourceError: that error, where nothing may be left out.
        """
        if not self.skips:
            raise error
        self.count += 1
        self._first = self._first or error

    def tell(self, name: str, total: int) -> None:
        """Warns, with `SourceWarning`, if of a source's files some were left out."""
        if self._first is not None:
            warnings.warn(
                f"{name}: {self.count} of {total} files could not be read and were left out, the "
                f"first: {self._first}",
                SourceWarning,
                stacklevel=3,
            )

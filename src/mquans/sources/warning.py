"""What a source tells without stopping."""

from __future__ import annotations


class SourceWarning(UserWarning):
    """A source was damaged, silent or broke off; the frames before and after were used."""

"""Frames in: video, cameras, images, arrays; and their preparation for a network."""

from mquans.sources.grammar import open_source
from mquans.sources.preparation import Placement, guess_format, placement, prepare
from mquans.sources.source import Source
from mquans.sources.video import SourceWarning

__all__ = [
    "Placement",
    "Source",
    "SourceWarning",
    "guess_format",
    "open_source",
    "placement",
    "prepare",
]

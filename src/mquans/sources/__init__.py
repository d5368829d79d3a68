"""Frames in: video, cameras, images, sound, arrays; and their preparation for a network."""

from mquans.sources.arrays import Lookahead, first_of
from mquans.sources.audio_format import FRONT_ENDS, guess_audio_format
from mquans.sources.audio_frames import AudioFrames, prepare_recordings
from mquans.sources.frames import FirstFrame, begins, in_place_of
from mquans.sources.grammar import open_planned, open_source
from mquans.sources.kinds import is_pipe, is_sound, is_video, require_again
from mquans.sources.preparation import Placement, guess_format, place_boxes, placement, prepare
from mquans.sources.resynthesis import OverlapAdd, SpectralGains, masked, resynthesise, spectra
from mquans.sources.sound import read_sound
from mquans.sources.source import Source
from mquans.sources.unreadable import OnError
from mquans.sources.warning import SourceWarning

__all__ = [
    "FRONT_ENDS",
    "AudioFrames",
    "FirstFrame",
    "Lookahead",
    "OnError",
    "OverlapAdd",
    "Placement",
    "Source",
    "SourceWarning",
    "SpectralGains",
    "begins",
    "first_of",
    "guess_audio_format",
    "guess_format",
    "in_place_of",
    "is_pipe",
    "is_sound",
    "is_video",
    "masked",
    "open_planned",
    "open_source",
    "place_boxes",
    "placement",
    "prepare",
    "prepare_recordings",
    "read_sound",
    "require_again",
    "resynthesise",
    "spectra",
]

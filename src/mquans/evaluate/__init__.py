"""What a run is worth: agreement with the dense network, work, time, and proof of the law."""

from __future__ import annotations

from mquans.evaluate.agreement import Agreement, AgreementMeter
from mquans.evaluate.compare import Comparison, compare
from mquans.evaluate.coverage import Coverage, IslandInfo, NodeCoverage, coverage
from mquans.evaluate.detections import DetectionScore, decode_centerface
from mquans.evaluate.frames import Feeds, feeds_of, finite
from mquans.evaluate.machine import machine_report
from mquans.evaluate.outputs import NpzWriter
from mquans.evaluate.progress import Track, silent
from mquans.evaluate.run import FrameReport, RunSummary, run_clip
from mquans.evaluate.verify import BrokenLaw, Verification, verify
from mquans.evaluate.work import Work

__all__ = [
    "Agreement",
    "AgreementMeter",
    "BrokenLaw",
    "Comparison",
    "Coverage",
    "DetectionScore",
    "Feeds",
    "FrameReport",
    "IslandInfo",
    "NodeCoverage",
    "NpzWriter",
    "RunSummary",
    "Track",
    "Verification",
    "Work",
    "compare",
    "coverage",
    "decode_centerface",
    "feeds_of",
    "finite",
    "machine_report",
    "run_clip",
    "silent",
    "verify",
]

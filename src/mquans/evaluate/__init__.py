"""What a run is worth: agreement with the dense network, work, time, and proof of the law."""

from __future__ import annotations

from mquans.evaluate.compare import Comparison, compare
from mquans.evaluate.coverage import Coverage, FallbackInfo, NodeCoverage, coverage
from mquans.evaluate.energy import frame_energy
from mquans.evaluate.gating import TunedGate, tune_gate
from mquans.evaluate.interleave import Interleaved, interleave, speedups
from mquans.evaluate.layer_table import LayerRow, LayerTable, layer_table
from mquans.evaluate.machine import machine_report
from mquans.evaluate.memory import activation_bytes
from mquans.evaluate.outputs import NpzWriter
from mquans.evaluate.progress import Track, silent
from mquans.evaluate.run import FrameReport, RunSummary, run_clip
from mquans.evaluate.throughput import Throughput, throughput
from mquans.evaluate.verify import BrokenLaw, Verification, verify
from mquans.evaluate.work import Work

__all__ = [
    "BrokenLaw",
    "Comparison",
    "Coverage",
    "FallbackInfo",
    "FrameReport",
    "Interleaved",
    "LayerRow",
    "LayerTable",
    "NodeCoverage",
    "NpzWriter",
    "RunSummary",
    "Throughput",
    "Track",
    "TunedGate",
    "Verification",
    "Work",
    "activation_bytes",
    "compare",
    "coverage",
    "frame_energy",
    "interleave",
    "layer_table",
    "machine_report",
    "run_clip",
    "silent",
    "speedups",
    "throughput",
    "tune_gate",
    "verify",
]

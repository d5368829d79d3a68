"""What a run is worth: agreement with the dense network, work, time, and proof of the law."""

from __future__ import annotations

from mquans.evaluate.agreement import Agreement, AgreementMeter
from mquans.evaluate.compare import Comparison, compare
from mquans.evaluate.coverage import Coverage, IslandInfo, NodeCoverage, coverage
from mquans.evaluate.detections import DetectionScore
from mquans.evaluate.energy import frame_energy
from mquans.evaluate.gating import TunedGate, tune_gate
from mquans.evaluate.guard import Guard, GuardCheck, GuardReport
from mquans.evaluate.interleave import Interleaved, interleave, speedups
from mquans.evaluate.layer_table import LayerRow, LayerTable, layer_table
from mquans.evaluate.machine import machine_report
from mquans.evaluate.memory import activation_bytes
from mquans.evaluate.metrics import (
    AnyMetric,
    Metric,
    MetricMeter,
    decode_centerface,
    load_labels,
    load_metric,
    new_meter,
)
from mquans.evaluate.outputs import NpzWriter
from mquans.evaluate.progress import Track, silent
from mquans.evaluate.run import FrameReport, RunSummary, run_clip
from mquans.evaluate.throughput import Throughput, throughput
from mquans.evaluate.trace import Activity, LayerTrace, Trace, TraceRecorder
from mquans.evaluate.trace_file import TraceError, load_trace, save_trace
from mquans.evaluate.traced import TracedRun, run_traced
from mquans.evaluate.verify import BrokenLaw, Verification, verify
from mquans.evaluate.work import Work
from mquans.sources.frames import Feeds, feeds_of, finite

__all__ = [
    "Activity",
    "Agreement",
    "AgreementMeter",
    "AnyMetric",
    "BrokenLaw",
    "Comparison",
    "Coverage",
    "DetectionScore",
    "Feeds",
    "FrameReport",
    "Guard",
    "GuardCheck",
    "GuardReport",
    "Interleaved",
    "IslandInfo",
    "LayerRow",
    "LayerTable",
    "LayerTrace",
    "Metric",
    "MetricMeter",
    "NodeCoverage",
    "NpzWriter",
    "RunSummary",
    "Throughput",
    "Trace",
    "TraceError",
    "TraceRecorder",
    "TracedRun",
    "Track",
    "TunedGate",
    "Verification",
    "Work",
    "activation_bytes",
    "compare",
    "coverage",
    "decode_centerface",
    "feeds_of",
    "finite",
    "frame_energy",
    "interleave",
    "layer_table",
    "load_labels",
    "load_metric",
    "load_trace",
    "machine_report",
    "new_meter",
    "run_clip",
    "run_traced",
    "save_trace",
    "silent",
    "speedups",
    "throughput",
    "tune_gate",
    "verify",
]

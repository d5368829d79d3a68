"""What a calibration found, as one self-contained HTML page (extra `report`)."""

from __future__ import annotations

from mquans.report.calibration import content_of, report_calibration
from mquans.report.content import Content, Curve, LayerRow
from mquans.report.page import render, write_report
from mquans.report.simulation import plot_simulation

__all__ = [
    "Content",
    "Curve",
    "LayerRow",
    "content_of",
    "plot_simulation",
    "render",
    "report_calibration",
    "write_report",
]

"""What a calibration found, as one self-contained HTML page (extra `report`)."""

from __future__ import annotations

from mquans.report.calibration import content_of, report_calibration
from mquans.report.content import Content, Curve, LayerRow
from mquans.report.page import render, write_report

__all__ = [
    "Content",
    "Curve",
    "LayerRow",
    "content_of",
    "render",
    "report_calibration",
    "write_report",
]

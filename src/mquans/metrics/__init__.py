"""Task metrics: how much worse a network does its job when it reuses computation.

Detection, classification, regression and speech are ready, by name in `READY`; a user's own metric
is a function `(outputs, dense_outputs, label) -> loss` or a class with `add` and `result`. All
losses are 0 for perfect and say what is lost *against the dense network*: with labels, how much
further from them than it is; without, how far from its outputs.
"""

from __future__ import annotations

from mquans.metrics.box_labels import PictureBoxes, place_label, place_labels
from mquans.metrics.classification import ClassificationLoss
from mquans.metrics.decoders import (
    Decoder,
    decode_centerface,
    decode_fastestdet,
    decode_yolov8,
    decode_yolox,
    decode_yunet,
)
from mquans.metrics.detection import DetectionLoss
from mquans.metrics.enhancement import DistortionLoss, si_sdr
from mquans.metrics.labels import load_labels
from mquans.metrics.loading import load_metric
from mquans.metrics.meter import (
    AnyMetric,
    Metric,
    MetricMeter,
    OutputWeights,
    metric_name,
    new_meter,
)
from mquans.metrics.precision import AveragePrecisionLoss, average_precision
from mquans.metrics.ready import DECODERS, READY
from mquans.metrics.regression import RegressionLoss
from mquans.metrics.speech import WordErrorLoss, edit_distance, greedy_ctc
from mquans.metrics.voice import VoiceActivityLoss

__all__ = [
    "DECODERS",
    "READY",
    "AnyMetric",
    "AveragePrecisionLoss",
    "ClassificationLoss",
    "Decoder",
    "DetectionLoss",
    "DistortionLoss",
    "Metric",
    "MetricMeter",
    "OutputWeights",
    "PictureBoxes",
    "RegressionLoss",
    "VoiceActivityLoss",
    "WordErrorLoss",
    "average_precision",
    "decode_centerface",
    "decode_fastestdet",
    "decode_yolov8",
    "decode_yolox",
    "decode_yunet",
    "edit_distance",
    "greedy_ctc",
    "load_labels",
    "load_metric",
    "metric_name",
    "new_meter",
    "place_label",
    "place_labels",
    "si_sdr",
]

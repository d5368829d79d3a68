"""Ready metrics by name, for `--metric NAME`. All are meters; `new_meter` copies them."""

from __future__ import annotations

from functools import partial
from typing import Literal

from mquans.metrics.box_weights import WEIGHTS
from mquans.metrics.classification import ClassificationLoss
from mquans.metrics.decoders import (
    decode_centerface,
    decode_fastestdet,
    decode_yolov8,
    decode_yolox,
    decode_yunet,
)
from mquans.metrics.detection import DetectionLoss
from mquans.metrics.enhancement import DistortionLoss
from mquans.metrics.meter import MetricMeter
from mquans.metrics.precision import AveragePrecisionLoss
from mquans.metrics.regression import RegressionLoss
from mquans.metrics.speech import WordErrorLoss
from mquans.metrics.voice import VoiceActivityLoss
from mquans.sources import guess_audio_format

DECODERS = {
    "centerface": decode_centerface,
    "fastestdet": decode_fastestdet,
    "yolov8": decode_yolov8,
    "yolox": decode_yolox,
    "yunet": decode_yunet,
}

COCO_PERSON = 0
"""Number of the class in networks of COCO's 80 classes."""

DETECTION_SCORES: dict[str, Literal["f1", "mean_iou"]] = {"f1": "f1", "iou": "mean_iou"}

decode_yolox_doubtful = partial(decode_yolox, threshold=0.01)
"""For average precision, which ranks boxes of all scores."""

READY: dict[str, MetricMeter] = {
    **{
        f"{name}_{end}": DetectionLoss(decode, score=score, error_weights=WEIGHTS[name])
        for name, decode in DECODERS.items()
        for end, score in DETECTION_SCORES.items()
    },
    "yolox_ap": AveragePrecisionLoss(decode_yolox_doubtful, error_weights=WEIGHTS["yolox"]),
    "yolox_person_ap": AveragePrecisionLoss(
        decode_yolox_doubtful, classes=[COCO_PERSON], error_weights=WEIGHTS["yolox"]
    ),
    "top1": ClassificationLoss(),
    "frame_accuracy": ClassificationLoss(axis=-1),
    "rmse": RegressionLoss(),
    "mae": RegressionLoss(kind="mae"),
    "word_error_rate": WordErrorLoss(),
    # The blank, then the digits: each a word.
    "digit_error_rate": WordErrorLoss(symbols=["", *(f"{digit} " for digit in range(10))]),
    "vad_f1": VoiceActivityLoss(),
    "nsnet2_si_sdr": DistortionLoss(
        guess_audio_format("input", (1, 1, 161), front_end="nsnet2"), least_gain=1e-4
    ),
    "dtln_si_sdr": DistortionLoss(guess_audio_format("input", (1, 1, 257), front_end="dtln")),
}

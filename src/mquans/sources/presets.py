"""Preparations of pictures that many networks share, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mquans.errors import SourceError

PRESETS: dict[str, dict[str, Any]] = {
    "pixels": {"scale": 1.0},
    "unit": {"scale": 1 / 255},
    "signed": {"scale": 1 / 127.5, "mean": (1.0,)},
    "imagenet": {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "caffe": {"color": "bgr", "mean": (103.939, 116.779, 123.68)},
    "yolo": {"scale": 1 / 255, "resize": "letterbox"},
    "yolox": {"color": "bgr", "resize": "letterbox", "anchor": "top_left"},
}
"""Fields of `InputFormat`: values 0 to 255, 0 to 1, -1 to 1; as torchvision's classifiers take
them; as Caffe's and Keras' do; as ultralytics' detectors do; as YOLOX does."""

VALUES = frozenset({"preset", "scale", "mean", "std"})
"""What says how large the values are that a network takes."""

ULTRALYTICS_TASKS = frozenset({"detect", "segment", "pose", "obb"})


def preset(name: str) -> dict[str, Any]:
    """Fields of a preset.

    Raises:
        SourceError: there is none of this name.
    """
    if name not in PRESETS:
        raise SourceError(
            f"there is no preset {name!r} for pictures.", hint=f"There are: {', '.join(PRESETS)}."
        )
    return dict(PRESETS[name])


def preset_of(metadata: Mapping[str, str]) -> str | None:
    """The preset that a model's own metadata call for; None where they do not say."""
    ultralytics = metadata.get("author") == "Ultralytics"
    return "yolo" if ultralytics and metadata.get("task") in ULTRALYTICS_TASKS else None

"""Dense engines to compare with: onnxruntime and OpenVINO, in floating point and int8, and the
former behind a motion gate."""

from mquans.baselines.engines import (
    CALIBRATED,
    ENGINES,
    load_engine,
    open_engine,
    prepare_model,
)
from mquans.baselines.gated import Gate, GatedEngine
from mquans.baselines.protocol import Engine
from mquans.baselines.reference import open_reference, open_values

__all__ = [
    "CALIBRATED",
    "ENGINES",
    "Engine",
    "Gate",
    "GatedEngine",
    "load_engine",
    "open_engine",
    "open_reference",
    "open_values",
    "prepare_model",
]

"""Dense engines to compare with: onnxruntime and OpenVINO, in floating point and int8."""

from mquans.baselines.engines import ENGINES, Engine, open_engine

__all__ = ["ENGINES", "Engine", "open_engine"]

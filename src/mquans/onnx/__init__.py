"""The only readers of ONNX and torch: a model file becomes a `Graph`, and back."""

from __future__ import annotations

from mquans.onnx.applied_options import whole_feedback
from mquans.onnx.explanation import explained
from mquans.onnx.feedback import guess_feedback
from mquans.onnx.folding import RANDOM
from mquans.onnx.model_file import (
    ModelFile,
    declared_inputs,
    declared_outputs,
    metadata_of,
    read_model,
    takes_integers,
)
from mquans.onnx.reader import import_model
from mquans.onnx.recurrence_writer import state_value
from mquans.onnx.writer import to_onnx

__all__ = [
    "RANDOM",
    "ModelFile",
    "declared_inputs",
    "declared_outputs",
    "explained",
    "guess_feedback",
    "import_model",
    "metadata_of",
    "read_model",
    "state_value",
    "takes_integers",
    "to_onnx",
    "whole_feedback",
]

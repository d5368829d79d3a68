"""The only readers of ONNX and torch: a model file becomes a `Graph`, and back."""

from __future__ import annotations

from mquans.importers.applied_options import whole_feedback
from mquans.importers.feedback import guess_feedback
from mquans.importers.model_file import (
    ModelFile,
    declared_inputs,
    declared_outputs,
    metadata_of,
    read_model,
)
from mquans.importers.onnx_model import import_model
from mquans.importers.onnx_writer import to_onnx
from mquans.importers.recurrence_writer import state_value

__all__ = [
    "ModelFile",
    "declared_inputs",
    "declared_outputs",
    "guess_feedback",
    "import_model",
    "metadata_of",
    "read_model",
    "state_value",
    "to_onnx",
    "whole_feedback",
]

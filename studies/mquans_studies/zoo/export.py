"""Networks to ONNX, with names and fixed shapes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch

OPSET = 18


def export(module: Any, inputs: Mapping[str, Any], outputs: Sequence[str]) -> bytes:
    """The ONNX file of a network in evaluation mode.

    Args:
        inputs: an example of every input by name, in the order `forward` takes them; their shapes
            become the model's.
        outputs: names, in order.
    """
    buffer = io.BytesIO()
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                verbose=False,
            )
        program.save(buffer)
    finally:
        module.train(was_training)
    return buffer.getvalue()

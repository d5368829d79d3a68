"""torch modules to ONNX bytes, through torch's own exporter (extra `torch`)."""

from __future__ import annotations

import io
from importlib import import_module
from typing import Any

from mquans.errors import DependencyError, ModelError
from mquans.files import printable

EXPORT_OPSET = 18


def export(module: Any, example: Any) -> bytes:
    """The ONNX file of a torch module.

    Args:
        module: a torch.nn.Module; it is exported in evaluation mode and left in the mode it was in.
        example: a tensor or a tuple of tensors to trace it with; their shapes become the model's.

    Raises:
        ModelError: no example is given, or torch cannot export the module.
        DependencyError: torch, or onnxscript which its exporter needs, is not installed.
    """
    try:
        torch = import_module("torch")
        import_module("onnxscript")
    except ImportError as error:
        raise DependencyError(
            f"exporting a torch module needs the package {error.name!r}.",
            hint='Install it with: pip install "mquans[torch]"',
        ) from None
    name = type(module).__name__
    if example is None:
        raise ModelError(
            "a torch module needs example inputs to be exported.",
            where=f"module {name!r}",
            hint="Pass example=torch.zeros(1, 3, H, W), or a tuple of tensors.",
        )
    arguments = example if isinstance(example, tuple) else (example,)
    buffer = io.BytesIO()
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                module, arguments, dynamo=True, opset_version=EXPORT_OPSET, verbose=False
            )
        program.save(buffer)
    except Exception as error:
        raise ModelError(
            f"torch cannot export it to ONNX: {_cause(error)}", where=f"module {name!r}"
        ) from error
    finally:
        module.train(was_training)
    return buffer.getvalue()


def _cause(error: BaseException) -> str:
    """What stopped torch, in a line; it adds advice, tables and stacks."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return printable(line.strip()).rstrip(".") + "."

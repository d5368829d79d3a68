"""Reading a model: file, bytes, onnx.ModelProto or torch module to the bytes of an ONNX file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mquans.errors import ModelError
from mquans.files import printable, read_limited, reason
from mquans.onnx.boundary import model_errors
from mquans.onnx.external_weights import external_tensors, is_external, tensors_of
from mquans.onnx.structure import check_structure

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 7

PROTOBUF_LIMIT_BYTES = (1 << 31) - 1
"""No protobuf message is longer; larger models keep their weights in files beside them."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model as it lies on disk; nothing in it is changed.

    Attributes:
        name: file name without its ending, for messages.
        data: the ONNX protobuf.
        sha256: of `data` and of the external weight files it refers to, hexadecimal.
        directory: where external weight files are looked for; None for models from memory.
    """

    name: str
    data: bytes = field(repr=False)
    sha256: str
    directory: Path | None = None

    def proto(self) -> onnx.ModelProto:
        """The parsed model, with external weights loaded.

        Raises:
            ModelError: external weights are missing or damaged, or lie where they may not.
        """
        import onnx

        model = onnx.load_model_from_string(self.data)
        if self.directory is not None:
            for weights in external_tensors(model, self.directory, f"model {self.name!r}"):
                weights.load()
        return model


def read_model(model: Any, *, example: Any = None) -> ModelFile:
    """Read a model and check that it is one.

    Args:
        model: path of an ONNX file, its bytes, an onnx.ModelProto, or a torch.nn.Module (which is
            exported with torch.onnx, extra `torch`); a ModelFile is returned as it is.
        example: inputs for the export of a torch module: a tensor or a tuple of tensors.

    Raises:
        ModelError: the file is missing, truncated, not ONNX or of an opset that is not understood.
        DependencyError: a torch module was given and its exporter is not installed.
    """
    if isinstance(model, ModelFile):
        return model
    if isinstance(model, str | Path):
        path = Path(model)
        data = read_limited(path, PROTOBUF_LIMIT_BYTES, error=ModelError)
        return _checked(printable(path.stem), data, path.resolve().parent)
    if isinstance(model, bytes | bytearray | memoryview):
        return _checked("model", bytes(model), None)
    if type(model).__module__.split(".")[0] == "onnx" and hasattr(model, "SerializeToString"):
        return _checked(model.graph.name or "model", model.SerializeToString(), None)
    if hasattr(model, "state_dict") and hasattr(model, "forward"):
        from mquans.onnx.torch_module import export

        return _checked(type(model).__name__, export(model, example), None)
    raise ModelError(
        f"a {type(model).__name__} is not a model.",
        hint="Give the path of an ONNX file, its bytes, an onnx.ModelProto or a torch.nn.Module.",
    )


def _checked(name: str, data: bytes, directory: Path | None) -> ModelFile:
    """The model file, after the checks that need no more than its structure."""
    with model_errors(f"model {name!r}"):
        return _sound(name, data, directory)


def _sound(name: str, data: bytes, directory: Path | None) -> ModelFile:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    where = f"model {name!r}"
    try:
        proto = onnx.load_model_from_string(data)
    except DecodeError:
        proto = None
    if proto is None or not proto.graph.output or not proto.opset_import:
        raise ModelError(
            "this is not an ONNX model, or the file is cut off.",
            where=where,
            hint="Download or export it again.",
        )
    opset = default_opset(proto)
    if opset < OLDEST_OPSET:
        raise ModelError(
            f"it uses ONNX opset {opset}; mquans reads opset {OLDEST_OPSET} and newer.",
            where=where,
            hint="Convert it with onnx.version_converter.convert_version.",
        )
    if opset > onnx.defs.onnx_opset_version():
        raise ModelError(
            f"it uses ONNX opset {opset}, and the installed onnx package knows up to "
            f"{onnx.defs.onnx_opset_version()}.",
            where=where,
            hint="Upgrade with: pip install --upgrade onnx onnxruntime",
        )
    check_structure(proto, where)
    digest = hashlib.sha256(data)
    external = [tensor for tensor in tensors_of(proto) if is_external(tensor)]
    if external and directory is None:
        location = next((e.value for e in external[0].external_data if e.key == "location"), "")
        raise ModelError(
            f"its weights lie in the file {printable(location)!r} beside it.",
            where=where,
            hint="Give the path of the model instead of its bytes.",
        )
    if directory is not None:
        placed = external_tensors(proto, directory, where)
        for file in dict.fromkeys(weights.file for weights in placed):
            _add(digest, file)
    return ModelFile(name, data, digest.hexdigest(), directory)


def _add(digest: hashlib._Hash, file: Path) -> None:
    """The content of a file into a hash, piece by piece."""
    try:
        with file.open("rb") as opened:
            while piece := opened.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise ModelError(f"cannot be read: {reason(error)}", where=str(file)) from None


def default_opset(model: onnx.ModelProto) -> int:
    """Version of the standard operator set that a model is written in; 1 when it names none."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return max(versions, default=1)


def declared_inputs(model: ModelFile) -> dict[str, tuple[int | None, ...]]:
    """Shapes of the inputs that are fed per frame (weights listed as inputs are left out).

    Returns:
        name to shape, in the model's order; None for a dynamic dimension.
    """
    proto = model.proto()
    weights = {tensor.name for tensor in proto.graph.initializer}
    weights |= {tensor.values.name for tensor in proto.graph.sparse_initializer}
    return {value.name: _dims(value) for value in proto.graph.input if value.name not in weights}


def takes_integers(model: ModelFile, name: str) -> bool:
    """True for an input that pictures go into as they are, 0 to 255, since it is of integers."""
    import onnx

    codes = {value.name: value.type.tensor_type.elem_type for value in model.proto().graph.input}
    code = codes.get(name, onnx.TensorProto.UNDEFINED)
    return code != onnx.TensorProto.UNDEFINED and (
        onnx.helper.tensor_dtype_to_np_dtype(code).kind in "iu"
    )


def metadata_of(model: ModelFile) -> dict[str, str]:
    """What the exporter says about the model, by key."""
    return {entry.key: entry.value for entry in model.proto().metadata_props}


def declared_outputs(model: ModelFile) -> dict[str, tuple[int | None, ...]]:
    """Shapes of the outputs as the file declares them: often dynamic, sometimes out of date."""
    return {value.name: _dims(value) for value in model.proto().graph.output}


def _dims(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.dim_value > 0 else None for dim in dims)

"""int8 quantization by onnxruntime; the static one is kept in a cache because it takes minutes."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mquans.baselines.fixed_model import recurrent_layers
from mquans.baselines.ort_engine import first_line, open_session
from mquans.baselines.protocol import Arrays
from mquans.errors import ModelError, MquansError
from mquans.files import atomic_write

PER_CHANNEL_OPSET = 13
"""The first ONNX opset in which DequantizeLinear has one scale per channel."""

SCHEME = "static, uint8 activations (min-max), int8 weights per channel"

DYNAMIC = ("MatMul", "Gemm", "Attention", "LSTM")
"""Operators that gain from integers without ranges of activations known beforehand."""

FOLDED = "folded.onnx"

CACHE_BYTES = 1 << 30
"""Of quantized models that are kept."""

Form = Literal["QDQ", "QOperator"]
"""How quantization is written down: as pairs around float operators, which engines fuse, or as
integer operators."""


def quantize(
    data: bytes,
    calibration: Sequence[Arrays],
    *,
    form: Form = "QDQ",
    model_name: str = "model",
) -> bytes:
    """The model in int8, as bytes of an ONNX file.

    The result is cached under `$XDG_CACHE_HOME/mquans` (or `~/.cache/mquans`) by a hash of model,
    calibration frames, onnxruntime's version and options; up to a GiB of what was used last.

    Args:
        data: a model with fixed shapes and its weights inside.
        calibration: feeds whose activations give the ranges.

    Raises:
        MquansError: no calibration frames.
        ModelError: onnxruntime cannot quantize the model, or would leave recurrent layers out.
    """
    if not calibration:
        raise MquansError(
            "an int8 engine takes its ranges from calibration frames, and there are none.",
            hint="Give frames of the stream, or compare with fp32 engines only.",
        )
    if layers := recurrent_layers(data):
        raise ModelError(
            f"onnxruntime's static quantization leaves its {' and '.join(layers)} layers in "
            "floating point.",
            where=f"model {model_name!r}",
            hint="Compare with ort-int8-dynamic instead.",
        )
    reduce_range = not _has_vnni()
    key = _key(data, calibration, form, reduce_range)
    cached = _cache_folder() / f"int8-{key}.onnx"
    with contextlib.suppress(OSError, ModelError):
        stored = cached.read_bytes()
        open_session(stored, model_name=model_name)  # a damaged entry is made anew
        cached.touch()
        return stored
    quantized = _quantize(data, calibration, form, reduce_range, model_name)
    with contextlib.suppress(
        OSError, MquansError
    ):  # a cache that cannot be written only costs time
        cached.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(cached, quantized)
        _keep_newest(cached.parent)
    return quantized


def _keep_newest(folder: Path) -> None:
    """Removes the models that were used longest ago from a cache that has grown too large."""
    entries = sorted(folder.glob("int8-*.onnx"), key=lambda path: path.stat().st_mtime)
    size = sum(path.stat().st_size for path in entries)
    for path in entries[:-1]:
        if size <= CACHE_BYTES:
            break
        size -= path.stat().st_size
        path.unlink()


def quantize_dynamic(data: bytes, *, model_name: str = "model") -> bytes:
    """The model with int8 weights and activations whose ranges are taken from each frame.

    Matrix products and LSTM layers are quantized, weights per channel. onnxruntime has no integer
    GRU or RNN (the engine's description says so), and convolutions stay as they are: it advises
    static quantization for them, and runs their dynamic form slower than floating point.

    Raises:
        ModelError: onnxruntime cannot quantize the model.
    """
    from onnxruntime import quantization

    with _folded(data, model_name) as folder, _quiet():
        quantization.quantize_dynamic(
            str(folder / FOLDED),
            str(folder / "int8.onnx"),
            op_types_to_quantize=list(DYNAMIC),
            per_channel=True,
            reduce_range=not _has_vnni(),
            weight_type=quantization.QuantType.QInt8,
        )
        return (folder / "int8.onnx").read_bytes()


@contextlib.contextmanager
def _folded(data: bytes, model_name: str) -> Iterator[Path]:
    """A folder in which the model lies as `FOLDED`, its constants folded: batch norms are gone, so
    that ranges are taken where the int8 kernels round, and weights are all initializers.

    Raises:
        ModelError: onnxruntime fails, also on what is done with the folder.
    """
    import onnxruntime as ort

    with tempfile.TemporaryDirectory(prefix="mquans-") as name:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(name, FOLDED))
        try:
            current = _with_opset(data, PER_CHANNEL_OPSET)
            ort.InferenceSession(current, options, providers=["CPUExecutionProvider"])
            yield Path(name)
        except Exception as error:  # onnxruntime's own classes share no public base
            raise ModelError(
                f"onnxruntime cannot quantize it: {first_line(error)}",
                where=f"model {model_name!r}",
            ) from error


def _quantize(
    data: bytes, calibration: Sequence[Arrays], form: Form, reduce_range: bool, model_name: str
) -> bytes:
    from onnxruntime import quantization

    with _folded(data, model_name) as folder, _quiet():
        quantization.quantize_static(
            str(folder / FOLDED),
            str(folder / "int8.onnx"),
            _Reader(calibration),
            quant_format=quantization.QuantFormat[form],
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return (folder / "int8.onnx").read_bytes()


def _with_opset(data: bytes, least: int) -> bytes:
    """The model in at least this version of the standard operator set."""
    import onnx
    from onnx import version_converter

    model = onnx.load_model_from_string(data)
    opset = max((entry.version for entry in model.opset_import if not entry.domain), default=1)
    if opset >= least:
        return data
    converted: bytes = version_converter.convert_version(model, least).SerializeToString()
    return converted


class _Reader:
    """The calibration frames in the form onnxruntime asks for: one call each, then None."""

    def __init__(self, calibration: Sequence[Arrays]) -> None:
        self._frames = calibration
        self.rewind()

    def get_next(self) -> dict[str, Any] | None:
        return next(self._remaining, None)

    def rewind(self) -> None:
        self._remaining: Iterator[dict[str, Any]] = (dict(feeds) for feeds in self._frames)

    def __len__(self) -> int:
        return len(self._frames)


def _key(data: bytes, calibration: Sequence[Arrays], form: Form, reduce_range: bool) -> str:
    import onnxruntime as ort

    digest = hashlib.sha256(f"{ort.__version__}|{form} {SCHEME}|{reduce_range}|".encode())
    digest.update(hashlib.sha256(data).digest())
    for feeds in calibration:
        for name, array in sorted(feeds.items()):
            digest.update(f"{name}|{array.dtype}|{array.shape}|".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:32]


def _cache_folder() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # Relative paths are to be ignored, says the XDG specification.
    return (base if base.is_absolute() else Path.home() / ".cache") / "mquans"


def _has_vnni() -> bool:
    """Without VNNI, products of 8-bit activations and weights are summed in 16 bits and saturate,
    unless weights are kept to 7 bits."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime's quantizer writes advice on the root logger; it concerns us, not the user."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)

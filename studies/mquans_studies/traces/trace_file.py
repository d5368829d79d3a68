"""Traces on disk: a NumPy archive that anybody can read (`docs/reference/traces.md`)."""

from __future__ import annotations

import io
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from mquans.errors import MquansError
from mquans.files import PathLike, atomic_write, read_limited
from mquans_studies.traces.layer_shape import LayerShape
from mquans_studies.traces.trace import Activity, LayerTrace, Trace
from mquans_studies.traces.weight_repetition import WeightRepetition

FORMAT: Final = "mquans-trace"
VERSION: Final = 3
LIMIT_BYTES = 1 << 32

DERIVED = ("macs", "weight_rows", "weight_bytes", "distinct_rows")
"""Columns that follow from others, written for readers and not read back."""


class TraceError(MquansError):
    """A trace cannot be written, is damaged, or is no trace."""


class _Layer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    shape: LayerShape
    input: str
    producers: tuple[str, ...]
    given: int
    by_sites: bool
    widths: tuple[int, ...]
    neurons: tuple[int, ...]
    compared: tuple[int, ...]
    dense_macs: int
    weight_bits: int
    repetition: WeightRepetition


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: str
    model_sha256: str
    plan_fingerprint: str
    rule: str
    memory: int
    layers: tuple[_Layer, ...]
    version: int = VERSION
    format: Literal["mquans-trace"] = FORMAT


def save_trace(trace: Trace, path: PathLike) -> None:
    """Writes a trace, whole or not at all.

    Raises:
        TraceError: the file cannot be written.
    """
    header = _Header(
        **{name: getattr(trace, name) for name in _PLAIN},
        layers=tuple(
            _Layer(
                compared=layer.compared,
                dense_macs=layer.shape.macs,
                **{name: getattr(layer, name) for name in _OF_LAYER},
            )
            for layer in trace.layers
        ),
    )
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "header": np.array(msgspec.json.encode(header).decode()),
        "begins": trace.begins,
    }
    for index, layer in enumerate(trace.layers):
        for entry in fields(Activity):
            arrays[f"{index}/{entry.name}"] = getattr(layer.activity, entry.name)
        for name in DERIVED:
            arrays[f"{index}/{name}"] = getattr(layer, name)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    atomic_write(path, buffer.getvalue(), error=TraceError)


def load_trace(path: PathLike) -> Trace:
    """Reads a trace.

    Raises:
        TraceError: the file is absent, no trace, damaged, or from a newer version.
    """
    data = read_limited(path, LIMIT_BYTES, error=TraceError)
    where = Path(path).name
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            header = msgspec.json.decode(str(archive["header"]), type=_Header)
            if header.version != VERSION:
                raise TraceError(
                    f"the trace has format {header.version}; this mquans reads {VERSION}.",
                    where=where,
                    hint="Read it with the version that wrote it, or record it again.",
                )
            begins = np.asarray(archive["begins"], np.int64)
            layers = tuple(
                LayerTrace(
                    activity=_activity(archive, index, len(begins), entry),
                    **{name: getattr(entry, name) for name in _OF_LAYER},
                )
                for index, entry in enumerate(header.layers)
            )
    except (
        msgspec.MsgspecError, zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError,
    ) as error:  # fmt: skip
        raise TraceError("this is not a trace, or it is damaged.", where=where) from error
    return Trace(**{name: getattr(header, name) for name in _PLAIN}, begins=begins, layers=layers)


_PLAIN = ("model", "model_sha256", "plan_fingerprint", "rule", "memory")
_OF_LAYER = (
    "shape", "input", "producers", "given", "by_sites", "widths", "neurons", "weight_bits",
    "repetition",
)  # fmt: skip


def _activity(
    archive: np.lib.npyio.NpzFile[np.generic], index: int, frames: int, layer: _Layer
) -> Activity:
    classes = len(layer.shape.reach)
    shapes = {
        "changed": (frames, len(layer.widths), classes),
        "blocks": (frames, classes),
    }
    columns = []
    for entry in fields(Activity):
        column = archive[f"{index}/{entry.name}"]
        if column.shape != shapes.get(entry.name, (frames,)) or column.dtype != np.int64:
            raise ValueError(entry.name)
        columns.append(np.asarray(column, np.int64))
    return Activity(*columns)

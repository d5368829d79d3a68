"""Frames in the types that a model declares, for engines that run the model as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.baselines.protocol import Arrays


def input_types(data: bytes) -> dict[str, np.dtype[Any]]:
    """Types of the inputs of an ONNX file."""
    import onnx

    return {
        value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        for value in onnx.load_model_from_string(data).graph.input
    }


def in_types(feeds: Arrays, types: Mapping[str, np.dtype[Any]]) -> dict[str, npt.NDArray[Any]]:
    """A frame in these types; sources and our engine have checked that they hold its values."""
    return {
        name: value.astype(types.get(name, value.dtype), copy=False)
        for name, value in feeds.items()
    }

"""What a network returns: every output has a node that computes it, in the type of the file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx

from mquans.errors import ModelError
from mquans.graph import Binary
from mquans.onnx.number_types import FLOATS
from mquans.onnx.sequences import make

if TYPE_CHECKING:
    from mquans.onnx.translation import Translation


def finish_output(translation: Translation, name: str) -> None:
    """Give an output a node that computes it, also when it is a constant.

    Raises:
        ModelError: nothing computes it.
    """
    make(translation, [name])
    if name in translation.constants:
        array = translation.constants.pop(name)
        source = translation.new_value(f"{name}/constant")
        translation.constants[source] = array
        translation.nodes = [node.reading(name, source) for node in translation.nodes]
        translation.apply_rule_or_not(onnx.helper.make_node("Identity", [source], [name]))
    elif name in translation.grids and translation.dtype(name) not in FLOATS:
        _return_codes(translation, name)
    elif name not in translation.types:
        raise ModelError(
            f"nothing computes its output {name!r}.",
            where=f"model {translation.model.graph.name!r}",
        )


def _return_codes(translation: Translation, name: str) -> None:
    """An output is the integers themselves, not what they stand for."""
    real, grid = translation.new_value(f"{name}/real"), translation.grids[name]
    for index, node in enumerate(translation.nodes):
        inputs = tuple(real if value == name else value for value in node.inputs)
        outputs = tuple(real if value == name else value for value in node.outputs)
        translation.nodes[index] = replace(node, inputs=inputs, outputs=outputs)
    translation.types[real] = translation.types.pop(name)
    for label, number in (("scale", grid.scale), ("zero", grid.zero)):
        translation.constants[f"{real}/{label}"] = np.array(number, np.float32)
    translation.emit(f"{real}/steps", Binary("div"), [real, f"{real}/scale"], f"{real}/steps")
    translation.emit(name, Binary("add"), [f"{real}/steps", f"{real}/zero"], name)

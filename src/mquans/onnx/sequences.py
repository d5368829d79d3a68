"""Sequences of tensors whose length is known at import, such as lists in scripted loops: names of
tensors, nothing that a frame computes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

if TYPE_CHECKING:
    from mquans.onnx.translation import Translation


def follow(translation: Translation, proto: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """What is left of a node that makes or reads a sequence: nodes, or none at all.

    Returns:
        None where it does neither, or in a way that depends on the frame.
    """
    known, output = translation.sequences, next(filter(None, proto.output))
    given = list(proto.input)
    if proto.op_type in ("SequenceEmpty", "SequenceConstruct"):
        known[output] = given
        return []
    if given and given[0] in known and set(given[1:]).isdisjoint(known):
        return _read(translation, proto, known[given[0]], output)
    return None


def make(translation: Translation, names: Iterable[str]) -> None:
    """Sequences as onnxruntime knows them, made of their tensors; of other values nothing."""
    for name in names:
        if name in translation.sequences:
            parts = translation.sequences.pop(name)
            kind = "SequenceConstruct" if parts else "SequenceEmpty"
            translation.apply_rule_or_not(onnx.helper.make_node(kind, parts, [name]))


def _read(
    translation: Translation, proto: onnx.NodeProto, parts: list[str], output: str
) -> list[onnx.NodeProto] | None:
    def place(index: int, default: int) -> int | None:
        if len(proto.input) <= index or not proto.input[index]:
            return default
        value = translation.constants.get(proto.input[index])
        return None if value is None else int(value.item())

    known = translation.sequences
    match proto.op_type:
        case "Identity":
            known[output] = parts
        case "SequenceLength":
            translation.constants[output] = np.array(len(parts), np.int64)
        case "SequenceInsert" if (at := place(2, len(parts))) is not None:
            known[output] = [*parts[:at], proto.input[1], *parts[at:]]
        case "SequenceErase" if (at := place(1, -1)) is not None and parts:
            known[output] = [part for i, part in enumerate(parts) if i != at % len(parts)]
        case "SequenceAt" if (at := place(1, 0)) is not None and -len(parts) <= at < len(parts):
            return [onnx.helper.make_node("Identity", [parts[at]], [output])]
        case "ConcatFromSequence" if parts:
            return _joined(translation, proto, parts, output)
        case _:
            return None
    return []


def _joined(
    translation: Translation, proto: onnx.NodeProto, parts: list[str], output: str
) -> list[onnx.NodeProto]:
    attributes: dict[str, Any] = {"new_axis": 0}
    attributes |= {a.name: a.i for a in proto.attribute}
    nodes = []
    if attributes["new_axis"]:
        axes = translation.new_value(f"{output}/axes")
        translation.constants[axes] = np.array([attributes["axis"]])
        rows = [translation.new_value(f"{part}/row") for part in parts]
        nodes = [
            onnx.helper.make_node("Unsqueeze", [part, axes], [row])
            for part, row in zip(parts, rows, strict=True)
        ]
        parts = rows
    return [*nodes, onnx.helper.make_node("Concat", parts, [output], axis=attributes["axis"])]

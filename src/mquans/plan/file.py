"""The plan as a file: UTF-8 JSON, one line per layer, nothing in it that is not in the schema.

Forbidden, so that a file means one thing to every reader: unknown fields, duplicate keys, numbers
that are not finite, more than `MAX_PLAN_BYTES`. A plan holds no paths that are opened and no code.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from typing import Any

import msgspec

from mquans.errors import PlanError
from mquans.files import PathLike, atomic_write, printable, read_limited
from mquans.plan.checks import check_values, check_version, describe, plain_number
from mquans.plan.schema import FORMAT, Plan

MAX_PLAN_BYTES = 64 * 2**20

OPTIONAL = (
    *("constants", "feedback", "carry_state", "floats", "audio"),
    *("tolerance", "motion_gate", "motion_tolerance", "tensors"),
)
"""Fields that are left out where they say nothing: most networks have none of these."""

OPTIONAL_OF_PICTURES: dict[str, object] = {"anchor": "centre", "window": 1, "hop": 1}
"""Fields of `input` that are left out at these values: most networks see one picture at once, and
files written before there were such fields stay as they are."""


class _Header(msgspec.Struct):
    """The part of a plan that every version of the format shares."""

    format: object = None
    version: object = None


def read_plan(path: PathLike) -> Plan:
    """Read and check a plan.

    Raises:
        PlanError: unreadable, not a plan, from a newer version, or with a wrong value (named by its
            JSON path).
    """
    where = printable(str(path))
    data = read_limited(path, MAX_PLAN_BYTES, error=PlanError)
    try:
        return decode_plan(data)
    except PlanError as error:
        inside = f"{where}, {error.where}" if error.where else where
        raise PlanError(error.what, where=inside, hint=error.hint) from error


def write_plan(plan: Plan, path: PathLike) -> None:
    """Write a plan; an existing file is replaced at once or not at all.

    Raises:
        PlanError: the plan is not valid, or the file cannot be written.
    """
    atomic_write(path, encode_plan(plan), error=PlanError)


def decode_plan(data: bytes) -> Plan:
    """The plan in the bytes of a file.

    Raises:
        PlanError: as `read_plan`.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        header = msgspec.json.decode(data, type=_Header)
        if header.format != FORMAT:
            raise PlanError(
                "not an mquans plan.", hint=f'A plan has "format": "{FORMAT}" at its top level.'
            )
        if header.version is None:
            raise PlanError("not a valid plan: it states no format version.")
        if type(header.version) is int:
            check_version(header.version)
        plan = msgspec.json.decode(data, type=Plan)
        # Last, because untyped parsing is only cheap for what the schema has admitted.
        json.loads(data, object_pairs_hook=_refuse_duplicates)
    except msgspec.ValidationError as error:
        raise PlanError(f"not a valid plan: {describe(error)}.") from error
    except RecursionError as error:
        raise PlanError("not a valid plan: it is nested too deeply.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise PlanError(f"not a plan: {describe(error)}.") from error
    check_values(plan)
    return plan


def encode_plan(plan: Plan) -> bytes:
    """The bytes of a plan's file: JSON for people, one line per field, tensor and layer.

    Raises:
        PlanError: the plan is not valid.
    """
    check_values(plan)
    fields = []
    for name, value in _said(plan).items():
        if name in ("layers", "tensors") and value:
            lines = ",\n".join(f"    {_line(layer)}" for layer in value)
            fields.append(f'  "{name}": [\n{lines}\n  ]')
        else:
            fields.append(f'  "{name}": {_line(value)}')
    return ("{\n" + ",\n".join(fields) + "\n}\n").encode()


def plan_fingerprint(plan: Plan) -> str:
    """SHA-256, in hex, of everything in a plan that changes results.

    Left out are the model's name and the provenance. Order of layers and inputs does not count, nor
    whether equal values are written once or for every neuron.
    """
    fields = _said(plan)
    del fields["provenance"], fields["model"]
    for layer in fields["layers"]:
        for field in ("delta", "bits"):
            values = layer[field]
            if isinstance(values, list | tuple) and len(set(values)) == 1:
                layer[field] = values[0]
    for entries in ("layers", "tensors"):
        if entries in fields:
            fields[entries] = sorted(fields[entries], key=lambda entry: str(entry["name"]))
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _said(plan: Plan) -> dict[str, Any]:
    """Fields of a plan in the order of the schema, without those that say nothing."""
    fields: dict[str, Any] = msgspec.to_builtins(plan, enc_hook=plain_number)
    for name in OPTIONAL:
        if not fields[name]:
            del fields[name]
    for name, usual in OPTIONAL_OF_PICTURES.items():
        if fields["input"] and fields["input"][name] == usual:
            del fields["input"][name]
    return fields


def _line(value: object) -> str:
    encoded = msgspec.json.encode(value)
    return msgspec.json.format(encoded, indent=0).decode()


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> None:
    """Keys of one JSON object must differ: parsers disagree on which of two values counts."""
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise PlanError(f"not a valid plan: key {printable(key)!r} appears twice.")
        seen.add(key)

"""One rule per ONNX operator: how it is written in the closed set.

A rule reads a `Call` and emits nodes, or raises `Refused` with a reason, which makes a fallback
subgraph of the node. Rules know every opset from 7 on.
"""

from __future__ import annotations

from mquans.onnx.call import Rule
from mquans.onnx.rules import (
    einsum,
    elementwise,
    layers,
    layout,
    logic,
    normalization,
    pooling,
    quantized,
    recurrent,
    reductions,
    resampling,
    scattering,
    selection,
    transforms,
)

RULES: dict[str, Rule] = {
    **einsum.RULES,
    **elementwise.RULES,
    **layers.RULES,
    **layout.RULES,
    **logic.RULES,
    **selection.RULES,
    **scattering.RULES,
    **pooling.RULES,
    **quantized.RULES,
    **recurrent.RULES,
    **resampling.RULES,
    **reductions.RULES,
    **normalization.RULES,
    **transforms.RULES,
}
"""By operator type of the standard domain."""

RULES_BY_DOMAIN: dict[str, dict[str, Rule]] = {
    "": RULES,
    "ai.onnx": RULES,
    "com.microsoft": quantized.MICROSOFT,
}

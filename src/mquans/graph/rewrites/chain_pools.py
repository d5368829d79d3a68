"""Let a wide max pool go on from a narrower one of the same value.

Spatial pyramid pooling takes maxima over 5, 9 and 13 sites of one tensor; those over 9 are the
largest over 5 of those over 5.
"""

from __future__ import annotations

from dataclasses import replace

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Pool


def chain_pools(editor: Editor) -> bool:
    """Afterwards no max pool of stride 1 reads a value of which a narrower one with the same centre
    was computed before."""
    changed = False
    narrower: dict[str, list[Node]] = {}
    for node in editor.visit():
        if not isinstance(node.op, Pool) or not _is_centred(node.op):
            continue
        kernel, source = node.op.kernel, node.inputs[0]
        known = [
            other
            for other in narrower.get(source, [])
            if isinstance(other.op, Pool)
            and other.op.kernel != kernel
            and all(k <= n for k, n in zip(other.op.kernel, kernel, strict=True))
        ]
        narrower.setdefault(source, []).append(node)
        if not known:
            continue
        widest = max(known, key=lambda other: getattr(other.op, "kernel", ()))
        assert isinstance(widest.op, Pool)
        rest = tuple(n - k + 1 for k, n in zip(widest.op.kernel, kernel, strict=True))
        half = tuple(size // 2 for size in rest)
        op = replace(node.op, kernel=rest, pads=half + half)
        chained = editor.replace(node, op, (widest.outputs[0],))
        # A third, wider one goes on from this one, whose whole kernel is the node's own.
        narrower[source][-1] = replace(chained, op=replace(node.op, kernel=kernel))
        changed = True
    return changed


def _is_centred(op: Pool) -> bool:
    half = tuple(size // 2 for size in op.kernel)
    return (
        op.kind == "max"
        and all(size % 2 for size in op.kernel)
        and max(op.kernel) > 1
        and op.pads == half + half
        and set(op.strides) == {1}
        and set(op.dilations) == {1}
    )

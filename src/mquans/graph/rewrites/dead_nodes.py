"""Remove nodes and constants that no output depends on."""

from __future__ import annotations

from mquans.graph.edits import Editor


def remove_dead_nodes(editor: Editor) -> bool:
    """Afterwards every node and constant is needed by an output, and types name nothing else."""
    graph = editor.graph
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if needed.isdisjoint(node.outputs):
            continue
        needed.update(node.inputs)
        kept.append(node)
    changed = len(kept) < len(graph.nodes)
    graph.nodes[:] = reversed(kept)
    computed = {output for node in kept for output in node.outputs}
    graph.constants = {name: array for name, array in graph.constants.items() if name in needed}
    alive = computed | set(graph.inputs) | set(graph.constants)
    graph.types = {name: kind for name, kind in graph.types.items() if name in alive}
    if changed:
        editor.reindex()
    return changed

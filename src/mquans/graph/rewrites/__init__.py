"""Rewrites: each turns a graph into an equal one that the engine runs better.

Every rewrite is a function of an `Editor` that applies itself wherever it fits and says whether it
changed anything. `rewrite` runs them in a fixed order until nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable

from mquans.graph.edits import Editor
from mquans.graph.graph import Graph
from mquans.graph.rewrites.cancel_transposes import cancel_transposes
from mquans.graph.rewrites.chain_pools import chain_pools
from mquans.graph.rewrites.channel_selection import select_channels
from mquans.graph.rewrites.dead_nodes import remove_dead_nodes
from mquans.graph.rewrites.fold_affine import fold_affine
from mquans.graph.rewrites.fold_channel_order import fold_channel_order
from mquans.graph.rewrites.fold_input_affine import fold_input_affine
from mquans.graph.rewrites.fold_pad import fold_pad
from mquans.graph.rewrites.fuse_activation import fuse_activations
from mquans.graph.rewrites.head_mixing import mix_heads
from mquans.graph.rewrites.hoist_scales import hoist_scales
from mquans.graph.rewrites.identities import remove_identities
from mquans.graph.rewrites.layer_norm import find_layer_norms
from mquans.graph.rewrites.layout import merge_layout
from mquans.graph.rewrites.merge_layers import merge_layers
from mquans.graph.rewrites.merge_scales import merge_scales
from mquans.graph.rewrites.normalise_inputs import normalise_inputs
from mquans.graph.rewrites.part_concats import part_concats
from mquans.graph.rewrites.part_quantizations import quantize_parts
from mquans.graph.rewrites.product_activations import find_product_activations
from mquans.graph.rewrites.safe_softmax import find_safe_softmax
from mquans.graph.rewrites.sequences import find_sequences
from mquans.graph.rewrites.sink_reshapes import sink_reshapes
from mquans.graph.rewrites.sink_scales import sink_scales
from mquans.graph.rewrites.space_to_depth import unfold_space
from mquans.graph.rewrites.split_wide_layers import split_wide_layers
from mquans.graph.rewrites.turn_inputs import turn_inputs

Rewrite = Callable[[Editor], bool]

PIPELINE: tuple[Rewrite, ...] = (
    remove_identities,
    remove_dead_nodes,
    split_wide_layers,
    find_layer_norms,
    find_product_activations,
    find_safe_softmax,
    fold_pad,
    unfold_space,
    turn_inputs,
    normalise_inputs,
    hoist_scales,
    sink_scales,
    quantize_parts,
    merge_scales,
    fold_affine,
    fold_input_affine,
    fuse_activations,
    sink_reshapes,
    merge_layers,
    chain_pools,
    select_channels,
    fold_channel_order,
    part_concats,
    mix_heads,
    cancel_transposes,
    merge_layout,
    find_sequences,
)
"""In the order they run. Patterns of many nodes come before the folds that would take them apart:
the `x + 3` of a hard swish must not disappear into the bias of a convolution."""


def rewrite(graph: Graph) -> Graph:
    """Apply all rewrites until none of them finds anything; edits the graph in place.

    Every rewrite removes nodes, or replaces one by a simpler kind, so this ends.
    """
    editor = Editor(graph)
    changed = True
    while changed:
        changed = False
        for rule in PIPELINE:
            changed |= rule(editor)
    return graph

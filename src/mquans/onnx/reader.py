"""From a model file to a graph that is ready for the engine."""

from __future__ import annotations

from mquans.errors import ModelError
from mquans.files import printable
from mquans.graph import Graph, Island, rewrite
from mquans.onnx.applied_options import apply_options
from mquans.onnx.half_precision import half_values
from mquans.onnx.input_shapes import fix_shapes
from mquans.onnx.island_merging import merge_islands
from mquans.onnx.model_file import ModelFile
from mquans.onnx.preparation import prepare
from mquans.onnx.translation import Translation
from mquans.plan import NetworkOptions, problem_with_feedback


def import_model(model: ModelFile, options: NetworkOptions | None = None) -> Graph:
    """Translate a model into the closed operator set and rewrite it.

    Args:
        model: from `read_model`.
        options: how it is to be run. Shapes are needed for dynamic dimensions other than the batch
            (which is 1 then), and may override what the model declares, since many declared
            shapes are leftovers of the export. Constant inputs are no inputs of the graph; carried
            states are.

    Raises:
        ModelError: a dimension is not known, the shapes do not fit the model's weights, or the
            options do not fit the model.
        UnsupportedOperatorError: an operator that neither the engine nor onnxruntime can run.
    """
    options = options or NetworkOptions()
    where = f"model {model.name!r}"
    edited, feedback = apply_options(model, options)
    halves = half_values(edited.graph)
    proto = prepare(edited)
    wanted = {name: s for name, s in options.input_shapes.items() if name not in options.constants}
    graph = Translation(proto).run(model.name, fix_shapes(proto, wanted, where))
    graph.declared |= halves
    if problem := problem_with_feedback(feedback, graph):
        raise ModelError(
            problem, where=where, hint="Feedback (--state) is STATE_INPUT=OUTPUT that feeds it."
        )
    done = merge_islands(rewrite(graph))
    _check(done, where)
    return done


def _check(graph: Graph, where: str) -> None:
    """Refuses tensors without values, which valid files may hold and the engine has no use for."""
    for node in graph.nodes:
        if isinstance(node.op, Island):
            continue
        for name in (*node.inputs, *node.outputs):
            if name and min(graph.types[name].shape, default=1) < 1:
                raise ModelError(
                    f"the value {printable(name)!r} has shape {list(graph.types[name].shape)}, "
                    "which holds nothing.",
                    where=f"{where}, node {printable(node.name)!r}",
                    hint="Leave out of the model what is made of it.",
                )

"""From a model file to a graph that is ready for the engine."""

from __future__ import annotations

from mquans.errors import ModelError
from mquans.files import printable
from mquans.graph import Fallback, Graph, in_floats, rewrite
from mquans.onnx.applied_options import apply_options
from mquans.onnx.boundary import model_errors
from mquans.onnx.dynamic_steps import unround_biases
from mquans.onnx.fallback_merging import merge_fallbacks
from mquans.onnx.half_precision import half_values
from mquans.onnx.input_shapes import fix_shapes
from mquans.onnx.model_file import ModelFile
from mquans.onnx.preparation import prepare
from mquans.onnx.translation import Translation
from mquans.onnx.verdict import check_operators
from mquans.plan import NetworkOptions, problem_with_feedback


def import_model(
    model: ModelFile, options: NetworkOptions | None = None, *, loads: bool = False
) -> Graph:
    """Translate a model into the closed operator set and rewrite it.

    Args:
        model: from `read_model`.
        options: how it is to be run. Shapes are needed for dynamic dimensions other than the batch
            (which is 1 then), and may override what the model declares, since many declared
            shapes are leftovers of the export. Constant inputs are no inputs of the graph; carried
            states are.
        loads: onnxruntime is known to load it, as it did when a plan was made for it; importing
            onnxruntime takes time and memory that a stream need not spend.

    Raises:
        ModelError: a dimension is not known, the shapes do not fit the model's weights, or the
            options do not fit the model.
        UnsupportedOperatorError: an operator that neither the engine nor onnxruntime can run.
        PlanError: the options have layers in floats that the network does not have.
    """
    with model_errors(f"model {model.name!r}"):
        return _imported(model, options or NetworkOptions(), loads)


def _imported(model: ModelFile, options: NetworkOptions, loads: bool) -> Graph:
    where = f"model {model.name!r}"
    edited, feedback = apply_options(model, options)
    halves = half_values(edited.graph)
    proto = prepare(edited)
    unround_biases(proto.graph)
    wanted = {name: s for name, s in options.input_shapes.items() if name not in options.constants}
    inputs = fix_shapes(proto, wanted, where)
    graph = Translation(proto).run(model.name, inputs)
    graph.declared |= halves
    if not loads:
        # After the translation, which knows all shapes: sizes below 0 end onnxruntime's process.
        check_operators(proto, inputs, where)
    if problem := problem_with_feedback(feedback, graph):
        raise ModelError(
            problem, where=where, hint="Feedback (--state) is STATE_INPUT=OUTPUT that feeds it."
        )
    done = in_floats(merge_fallbacks(rewrite(graph)), options.floats)
    _check(done, where)
    return done


def _check(graph: Graph, where: str) -> None:
    """Refuses tensors without values, which valid files may hold and the engine has no use for."""
    for node in graph.nodes:
        if isinstance(node.op, Fallback):
            continue
        for name in (*node.inputs, *node.outputs):
            if name and min(graph.types[name].shape, default=1) < 1:
                raise ModelError(
                    f"the value {printable(name)!r} has shape {list(graph.types[name].shape)}, "
                    "which holds nothing.",
                    where=f"{where}, node {printable(node.name)!r}",
                    hint="Leave out of the model what is made of it.",
                )

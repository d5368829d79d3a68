"""Random changes to models, plans and saved states, by structure and by bytes."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import onnx
from onnx import TensorProto

NUMBERS = (0, -1, 1, 2, 3, -2, 7, 255, 4096, 65536, 2**31 - 1, -(2**31), 2**40, 2**63 - 1, -(2**63))
REALS = (0.0, -1.0, 1e-30, 1e30, -1e30, math.nan, math.inf, -math.inf, 0.5, 3.0)
OPERATORS = (
    "Conv", "ConvTranspose", "MatMul", "Gemm", "Relu", "Softmax", "MaxPool", "AveragePool", "Pad",
    "Slice", "Concat", "Reshape", "Transpose", "Tile", "Expand", "Resize", "Add", "Mul", "Div",
    "Gather", "Split", "LSTM", "GRU", "LayerNormalization", "BatchNormalization", "ReduceMean",
    "TopK", "NonZero", "Where", "Cast", "Shape", "ConstantOfShape", "Range", "Loop", "If", "Clip",
    "DepthToSpace", "Einsum", "CumSum", "OneHot", "QuantizeLinear", "DequantizeLinear", "Nothing",
)  # fmt: skip


def mutated_model(rng: random.Random, model: onnx.ModelProto) -> bytes:
    """One to three changes of its structure, or of its bytes."""
    if rng.random() < 0.2:
        return mutated_bytes(rng, model.SerializeToString())
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(MODEL_CHANGES)(rng, changed)
    return bytes(changed.SerializeToString())


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    """Bits flipped, bytes overwritten, parts cut, doubled or moved."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not changed:
            break
        at = rng.randrange(len(changed))
        end = min(len(changed), at + rng.choice((1, 2, 4, 8, 64)))
        match rng.randrange(5):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at:end] = rng.randbytes(end - at)
            case 2:
                del changed[at:end]
            case 3:
                changed[at:at] = changed[at:end]
            case _:
                del changed[at:]
    return bytes(changed)


def mutated_plan(rng: random.Random, plan: bytes) -> bytes:
    """Values replaced, keys and entries removed or doubled; or bytes changed."""
    if rng.random() < 0.2:
        return mutated_bytes(rng, plan)
    content = json.loads(plan)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.choice(list(_containers(content)))
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            continue
        key = rng.choice(keys)
        match rng.randrange(6):
            case 0:
                del place[key]
            case 1 if isinstance(place, dict):
                place[rng.choice((f"{key}x", "", "x"))] = place[key]
            case 1:
                place.insert(key, place[key])
            case 2:
                place[key] = place[rng.choice(keys)]
            case _:
                place[key] = _other(rng, place[key])
    return json.dumps(content).encode()


def mutated_state(rng: random.Random, state: bytes) -> bytes:
    """Bytes changed, often with a checksum that fits again, to reach what lies behind it."""
    if rng.random() < 0.3:
        return mutated_bytes(rng, state)
    content = mutated_bytes(rng, state[:-32])
    return content + hashlib.sha256(content).digest()


def _containers(content: Any) -> Any:
    if isinstance(content, dict | list):
        yield content
        for inner in content.values() if isinstance(content, dict) else content:
            yield from _containers(inner)


def _other(rng: random.Random, value: Any) -> Any:
    if rng.random() < 0.2:
        return rng.choice((None, True, [], {}, "", "x", 0, -1, 1e300, [[0]], "\0", "é" * 300))
    if isinstance(value, bool) or value is None:
        return rng.choice((True, False, None, 0, "x"))
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, 2 * value, *NUMBERS))
    if isinstance(value, float):
        finite = [number for number in REALS if math.isfinite(number)]
        return rng.choice((-value, 2 * value, value * 1e6, *finite))
    if isinstance(value, list):
        return rng.choice((value + value, value[:-1], value * 50, value[::-1]))
    return value


def _node(rng: random.Random, model: onnx.ModelProto) -> onnx.NodeProto:
    return rng.choice(model.graph.node) if model.graph.node else onnx.NodeProto()


def _values(model: onnx.ModelProto) -> list[str]:
    names = [tensor.name for tensor in model.graph.initializer]
    names += [value.name for value in model.graph.input]
    return names + [value for node in model.graph.node for value in node.output] + ["", "ghost"]


def change_attribute(rng: random.Random, model: onnx.ModelProto) -> None:
    attributes = [a for node in model.graph.node for a in node.attribute]
    if not attributes:
        return
    attribute = rng.choice(attributes)
    if attribute.ints:
        at = rng.randrange(len(attribute.ints))
        match rng.randrange(3):
            case 0:
                del attribute.ints[at]
            case 1:
                attribute.ints.append(rng.choice(NUMBERS))
            case _:
                attribute.ints[at] = rng.choice(NUMBERS)
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice(NUMBERS)
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = rng.choice(REALS)
    elif attribute.type == onnx.AttributeProto.STRING:
        attribute.s = rng.choice((b"", b"linear", b"cubic", b"reflect", b"\xff", b"SAME_UPPER"))
    else:
        attribute.name = rng.choice(("x", "axis", "body"))


def add_attribute(rng: random.Random, model: onnx.ModelProto) -> None:
    name = rng.choice(
        ("axis", "group", "strides", "pads", "dilations", "kernel_shape", "auto_pad", "to",
         "ceil_mode", "keepdims", "axes", "output_shape", "hidden_size", "direction", "clip")
    )  # fmt: skip
    value = rng.choice(
        (rng.choice(NUMBERS), [rng.choice(NUMBERS)] * rng.randrange(1, 5), 1.5, "SAME_LOWER")
    )
    _node(rng, model).attribute.append(onnx.helper.make_attribute(name, value))


def change_operator(rng: random.Random, model: onnx.ModelProto) -> None:
    _node(rng, model).op_type = rng.choice(OPERATORS)


def change_input(rng: random.Random, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    if not node.input or rng.random() < 0.2:
        node.input.append(rng.choice(_values(model)))
    else:
        node.input[rng.randrange(len(node.input))] = rng.choice(_values(model))


def remove_input(rng: random.Random, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    if node.input:
        del node.input[rng.randrange(len(node.input))]


def change_output(rng: random.Random, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    if node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice(_values(model))


def remove_node(rng: random.Random, model: onnx.ModelProto) -> None:
    if model.graph.node:
        del model.graph.node[rng.randrange(len(model.graph.node))]


def repeat_node(rng: random.Random, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    model.graph.node.add().CopyFrom(node)
    if rng.random() < 0.7:
        model.graph.node[-1].output[:] = [f"{value}/again" for value in node.output]
        model.graph.node[-1].input[:] = [*node.output[:1], *node.input[1:]]


def change_numbers(rng: random.Random, model: onnx.ModelProto) -> None:
    """Values of a weight or an argument."""
    if not model.graph.initializer:
        return
    tensor = rng.choice(model.graph.initializer)
    try:
        array = onnx.numpy_helper.to_array(tensor).copy()
    except Exception:
        return  # an earlier change spoiled it
    if not array.size:
        return
    numbers: Sequence[Any] = REALS if array.dtype.kind == "f" else NUMBERS
    if array.dtype.kind in "fi":
        array.reshape(-1)[rng.randrange(array.size)] = rng.choice(numbers)
    tensor.raw_data = array.tobytes()


def change_tensor(rng: random.Random, model: onnx.ModelProto) -> None:
    """Shape, type or bytes of a weight."""
    if not model.graph.initializer:
        return
    tensor = rng.choice(model.graph.initializer)
    match rng.randrange(5):
        case 0 if tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)
        case 1:
            tensor.data_type = rng.randrange(25)
        case 2:
            tensor.raw_data = mutated_bytes(rng, tensor.raw_data)
        case 3:
            tensor.data_location = TensorProto.EXTERNAL
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", rng.choice(("../x", "/dev/zero", "", "x"))
        case _:
            tensor.dims[:] = list(tensor.dims)[::-1] + rng.choice(([], [1], [0]))


def change_interface(rng: random.Random, model: onnx.ModelProto) -> None:
    """Inputs and outputs of the network."""
    graph = model.graph
    match rng.randrange(6):
        case 0 if graph.input and graph.input[0].type.tensor_type.shape.dim:
            dims = rng.choice(graph.input).type.tensor_type.shape.dim
            rng.choice(dims or graph.input[0].type.tensor_type.shape.dim).dim_value = rng.choice(
                (*NUMBERS, 5, 13, 40)
            )
        case 1 if graph.input:
            rng.choice(graph.input).type.tensor_type.elem_type = rng.randrange(25)
        case 2:
            graph.output.add().name = rng.choice(_values(model))
        case 3 if graph.output:
            rng.choice(graph.output).name = rng.choice(_values(model))
        case 4 if graph.input:
            graph.input.add().CopyFrom(graph.input[0])
            graph.input[-1].name = rng.choice(_values(model))
        case _ if graph.input:
            graph.input[0].ClearField("type")


def change_header(rng: random.Random, model: onnx.ModelProto) -> None:
    match rng.randrange(3):
        case 0:
            model.opset_import[0].version = rng.choice((*range(7, 28), *NUMBERS))
        case 1:
            model.ir_version = rng.choice((1, 3, 7, 10, 99))
        case _:
            rng.shuffle(nodes := list(model.graph.node))
            del model.graph.node[:]
            model.graph.node.extend(nodes)


MODEL_CHANGES: tuple[Callable[[random.Random, onnx.ModelProto], None], ...] = (
    change_attribute, change_attribute, change_attribute, add_attribute, change_operator,
    change_input, change_input, remove_input, change_output, remove_node, repeat_node,
    change_numbers, change_numbers, change_tensor, change_interface, change_header,
)  # fmt: skip

"""Rules for pools."""

from __future__ import annotations

from mquans.graph import Pool, Reduce, ReduceKind
from mquans.onnx.call import Call, Refused, Rule
from mquans.onnx.rules.windows import read_windows


def pool(call: Call) -> None:
    if call.is_read(1):
        raise Refused("the indices of a max pool are used")
    windows = read_windows(call, tuple(call.attribute("kernel_shape")))
    average = call.op_type == "AveragePool"
    op = Pool(
        kind="average" if average else "max",
        kernel=windows.kernel,
        strides=windows.strides,
        pads=windows.pads,
        dilations=windows.dilations,
        ceil_mode=bool(call.attribute("ceil_mode", 0)),
        count_include_pad=average and bool(call.attribute("count_include_pad", 0)),
    )
    call.finish(op, call.value())


def global_pool(call: Call) -> None:
    axes = tuple(range(2, len(call.shape())))
    kind: ReduceKind = "mean" if call.op_type == "GlobalAveragePool" else "max"
    call.finish(Reduce(kind, axes, True), call.value())


RULES: dict[str, Rule] = {
    "AveragePool": pool,
    "MaxPool": pool,
    "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool,
}

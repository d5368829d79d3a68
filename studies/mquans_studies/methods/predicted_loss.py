"""How well criticality predicts the loss: noise as large as rounding, on layers of a real network.

python -m mquans_studies.methods.predicted_loss MODEL --source CLIP
    [--input-shape NAME:1,3,H,W] [--color bgr] [--scale S] [--bits 10,8,6,5]

Uniform noise of a step's width is added to all values that layers read. The step is the layer's
range / 2**bits. Printed per number of bits: the predicted loss, `sum s * step^2 / 12` over all
neurons, with all layers noisy at once; the measured one, mean over frames; and for noise on one
layer at a time, measured over predicted: 5th percentile, median and 95th over layers.
"""

from __future__ import annotations

import argparse
from collections.abc import Container, Mapping

import numpy as np
import numpy.typing as npt

from mquans.calibration.criticality import METHODS, criticality
from mquans.calibration.criticality.perturb import with_noise
from mquans.calibration.criticality.probe import Probe
from mquans.graph import Graph
from mquans.metrics.agreement import AgreementMeter
from mquans.onnx import declared_inputs, import_model, read_model
from mquans.plan import NetworkOptions
from mquans.sources import guess_format, open_source
from mquans.sources.frames import Feeds, feeds_of

Outputs = list[dict[str, npt.NDArray[np.floating]]]


def noisy_loss(
    graph: Graph,
    layers: Container[str],
    steps: Mapping[str, float],
    frames: list[Feeds],
    dense: Outputs,
) -> float:
    """Mean loss over frames with noise on some layers."""
    random = np.random.default_rng(0)
    noisy, added = with_noise(graph, layers)
    run, meter = Probe(noisy, graph.outputs, threads=1), AgreementMeter()
    for feeds, outputs in zip(frames, dense, strict=True):
        noise = {
            value: (random.random(noisy.shape(value), np.float32) - 0.5) * np.float32(steps[layer])
            for layer, value in added.items()
        }
        meter.add({name: outputs[name] for name in graph.outputs}, run.run({**feeds, **noise}))
    return meter.result().loss_mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--source", required=True)
    parser.add_argument("--input-shape", help="NAME:1,3,H,W")
    parser.add_argument("--color", default="rgb")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--bits", default="10,8,6,5")
    parser.add_argument("--method", choices=METHODS, default="fisher")
    arguments = parser.parse_args()

    file = read_model(arguments.model)
    shapes: dict[str, tuple[int, ...]] = {}
    if arguments.input_shape:
        name, dims = arguments.input_shape.rsplit(":", 1)
        shapes = {name: tuple(map(int, dims.split(",")))}
    graph = import_model(file, NetworkOptions(shapes))
    [name] = declared_inputs(file)
    form = guess_format(name, graph.shape(name), color=arguments.color, scale=arguments.scale)
    with open_source(
        arguments.source,
        form,
        input_shapes={name: graph.shape(name)},
        frames=arguments.frames,
        stride=arguments.stride,
    ) as source:
        frames = [feeds_of(frame, [name]) for frame in source]

    found = criticality(graph, frames, method=arguments.method)
    layers = {node.name: node.inputs[0] for node in graph.reuse_layers()}
    probe = Probe(graph, [*graph.outputs, *layers.values()], threads=1)
    dense, ranges = [], dict.fromkeys(layers, 0.0)
    for feeds in frames:
        values = probe.run(feeds)
        dense.append({output: values[output] for output in graph.outputs})
        for layer, value in layers.items():
            ranges[layer] = max(ranges[layer], float(np.ptp(values[value])))

    print("| bits | predicted | measured | measured / predicted | one layer at a time |")
    print("|---|---|---|---|---|")
    for bits in map(int, arguments.bits.split(",")):
        steps = {layer: width / 2**bits for layer, width in ranges.items()}
        predicted = {k: float(found[k].sum()) * steps[k] ** 2 / 12 for k in layers}
        total = sum(predicted.values())
        measured = noisy_loss(graph, layers, steps, frames, dense)
        each = [
            noisy_loss(graph, {layer}, steps, frames[::4], dense[::4]) / loss
            for layer, loss in predicted.items()
            if loss > 0
        ]
        low, middle, high = np.percentile(each, (5, 50, 95))
        print(
            f"| {bits} | {total:.3g} | {measured:.3g} | {measured / total:.2f} "
            f"| {low:.2f}, {middle:.2f}, {high:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Dense cycles and traffic of the DianNao model beside those of an independent simulator.

zigzag-dse has dependencies of its own, so it runs in an environment of its own (`pip install
zigzag-dse six`), in two steps:

    cd studies/mquans_studies/accelerators
    python dense_check.py layers NAME=MODEL.onnx ... -o layers.json
    zigzag-env/bin/python dense_check.py zigzag layers.json -o zigzag.json

What version 3.9.1 gives for the zoo's AutoPilot and for YuNet is recorded in
`tests/unit/studies/accelerators/zigzag.json`, and `test_zigzag.py` beside it compares.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

SIDES = 16
WORD_BITS = 16


def layers_of(path: str) -> list[dict[str, Any]]:
    """Loop sizes of every Conv and Linear of a model."""
    from mquans.graph import Conv, Linear
    from mquans.onnx import import_model, read_model
    from mquans_studies.traces.layer_shape import layer_geometry

    graph = import_model(read_model(path))
    found = []
    for node in graph.reuse_layers():
        shape = layer_geometry(graph, node).shape
        sizes = {"K": shape.row, "C": shape.channels // shape.groups, "G": shape.groups}
        strides: tuple[int, ...] = (1, 1)
        pads: tuple[int, ...] = (0, 0)
        if isinstance(node.op, Conv) and len(node.op.kernel) == 2:
            _, _, sizes["OY"], sizes["OX"] = graph.shape(node.outputs[0])
            sizes["FY"], sizes["FX"] = node.op.kernel
            strides, pads = node.op.strides, node.op.pads[:2]
        elif not isinstance(node.op, Linear):
            raise SystemExit(f"{path}: {node.name} is neither a 2-D convolution nor linear")
        else:
            sizes |= {"OY": shape.positions, "OX": 1, "FY": 1, "FX": 1}
        found.append({"name": node.name, "sizes": sizes, "strides": strides, "pads": pads})
    return found


def zigzag(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each layer on the architecture below: with the loops in DianNao's order, and in the order
    that takes least energy, which moves least from and to DRAM."""
    import yaml

    found = []
    with tempfile.TemporaryDirectory() as folder:
        (hardware := Path(folder) / "hardware.yaml").write_text(
            yaml.safe_dump(_hardware(), sort_keys=False)
        )
        for layer in layers:
            padded = {**layer, "sizes": _padded(layer["sizes"])}
            mapping = _mapping(padded)
            if not mapping[0]["temporal_ordering"]:
                continue  # a single step, which zigzag cannot print
            ordered = _run(padded, mapping, hardware, "latency")
            free = _run(layer, [{**mapping[0], "temporal_ordering": []}], hardware, "energy")
            moved, best = ordered["traffic_bytes"], free["traffic_bytes"]["dram"]
            found.append(
                {
                    **layer,
                    "cycles": ordered["cycles"],
                    "sb_read": moved["sb"]["read"],
                    "nbin_read": moved["nbin"]["read"],
                    "dram": best["read"] + best["written"],
                }
            )
    return found


def _run(
    layer: dict[str, Any], mapping: list[dict[str, Any]], hardware: Path, aim: str
) -> dict[str, Any]:
    import yaml
    from zigzag.api import get_hardware_performance_zigzag

    path = hardware.parent / "mapping.yaml"
    path.write_text(yaml.safe_dump(mapping, sort_keys=False))
    _, _, results = get_hardware_performance_zigzag(
        workload=[_workload(layer)],
        accelerator=str(hardware),
        mapping=str(path),
        opt=aim,
        dump_folder=str(hardware.parent / "out"),
        loma_show_progress_bar=False,
        lpf_limit=5,
    )
    return _result(results[0][1][0][0])


def _padded(sizes: dict[str, int]) -> dict[str, int]:
    """Channels as lanes see them: the last pass leaves some idle. zigzag would rather split loops
    evenly, into more passes of fewer lanes."""
    return {
        dim: -(-size // SIDES) * SIDES if dim in "KC" and size > SIDES else size
        for dim, size in sizes.items()
    }


def _memory(name: str, operand: str, kib: float, bits: int, served: list[str]) -> dict[str, Any]:
    reads, writes = [f"{operand}, tl"], [f"{operand}, fh"]
    if operand == "O":
        reads, writes = ["O, tl", "O, th"], ["O, fh", "O, fl"]
    ports: list[dict[str, Any]] = [
        {"name": "r_port_1", "type": "read", "allocation": reads},
        {"name": "w_port_1", "type": "write", "allocation": writes},
    ]
    for port in ports:
        port |= {"bandwidth_min": WORD_BITS, "bandwidth_max": bits}
    return {
        name: {
            "size": int(kib * 8192), "r_cost": 0.7 * bits / 8, "w_cost": 0.9 * bits / 8,
            "area": 0.0, "latency": 1,
            "operands": [operand], "ports": ports, "served_dimensions": served,
        }
    }  # fmt: skip


def _hardware() -> dict[str, Any]:
    """DianNao: D1 neurons, D2 synapses; a register per neuron for its sum; split buffers; DRAM."""
    every = ["I1", "I2", "O"]
    directions = ["fh", "tl"]
    allocation = [f"{operand}, {way}" for operand in every for way in directions]
    dram = {
        "size": 10**10, "r_cost": 160.0 * 255, "w_cost": 160.0 * 255, "area": 0.0,
        "latency": 1, "operands": every,
        "ports": [
            {
                "name": "rw_port_1", "type": "read_write", "bandwidth_min": WORD_BITS,
                "bandwidth_max": 2040, "allocation": [*allocation, "O, fl", "O, th"],
            }
        ],
        "served_dimensions": ["D1", "D2"],
    }  # fmt: skip
    both = ["D1", "D2"]
    return {
        "name": "diannao",
        "memories": {
            **_memory("sum", "O", 2 / 1024, WORD_BITS, ["D2"]),
            **_memory("nbin", "I1", 2, 2 * SIDES * WORD_BITS, both),
            **_memory("sb", "I2", 32, 2 * SIDES * SIDES * WORD_BITS, both),
            **_memory("nbout", "O", 2, 2 * SIDES * WORD_BITS, both),
            "dram": dram,
        },
        "operational_array": {
            "unit_energy": 1.0, "unit_area": 1.0, "dimensions": both, "sizes": [SIDES, SIDES],
        },
    }  # fmt: skip


def _mapping(layer: dict[str, Any]) -> list[dict[str, Any]]:
    """Sums stay until they are done, then the next position, then the next 16 neurons."""
    sizes = layer["sizes"]
    lanes = {dim: min(sizes[dim], SIDES) for dim in "KC"}
    left = {
        "FX": sizes["FX"], "FY": sizes["FY"], "C": -(-sizes["C"] // SIDES),
        "OX": sizes["OX"], "OY": sizes["OY"], "K": -(-sizes["K"] // SIDES), "G": sizes["G"],
    }  # fmt: skip
    return [
        {
            "name": "default",
            "spatial_mapping": {"D1": [f"K, {lanes['K']}"], "D2": [f"C, {lanes['C']}"]},
            "temporal_ordering": [[dim, size] for dim, size in left.items() if size > 1],
            "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"},
        }
    ]


def _workload(layer: dict[str, Any]) -> dict[str, Any]:
    dims = ["G", "K", "C", "OY", "OX", "FY", "FX"]
    sizes, (sy, sx), (py, px) = layer["sizes"], layer["strides"], layer["pads"]
    inputs = {
        "IY": (sizes["OY"] - 1) * sy + sizes["FY"] - 2 * py,
        "IX": (sizes["OX"] - 1) * sx + sizes["FX"] - 2 * px,
    }
    return {
        "id": 0,
        "name": layer["name"],
        "operator_type": "Conv",
        "equation": "O[g][k][oy][ox]+=W[g][k][c][fy][fx]*I[g][c][iy][ix]",
        "dimension_relations": [f"ix={sx}*ox+1*fx", f"iy={sy}*oy+1*fy"],
        "loop_dims": dims,
        "loop_sizes": [sizes[dim] for dim in dims],
        "operand_precision": {"W": WORD_BITS, "I": WORD_BITS, "O": WORD_BITS, "O_final": WORD_BITS},
        "operand_source": {"W": 0, "I": 0},
        "pr_loop_dims": ["IX", "IY"],
        "pr_loop_sizes": [inputs["IX"], inputs["IY"]],
        "padding": [[px, px], [py, py]],
    }


def _result(cost: Any) -> dict[str, Any]:
    """Cycles, and bytes by memory, of a layer."""
    moved: dict[str, dict[str, float]] = {}
    for operand, levels in cost.mapping.unit_mem_data_movement.items():
        names = [level.memory_instance.name for level in _levels(cost, operand)]
        for name, movement in zip(names, levels, strict=False):
            entry = moved.setdefault(name, {"read": 0.0, "written": 0.0})
            for way, bits in _bits(movement).items():
                entry[way] += bits / 8
    return {
        "cycles": cost.ideal_temporal_cycle,
        "traffic_bytes": moved,
    }


def _levels(cost: Any, operand: Any) -> list[Any]:
    memory = cost.memory_operand_links.layer_to_mem_op(operand)
    count = cost.mapping.mem_level[operand]
    return [cost.accelerator.get_memory_level(memory, level) for level in range(count)]


def _bits(movement: Any) -> dict[str, float]:
    from zigzag.mapping.data_movement import DataDirection, DataMoveAttr

    amount = movement.get_attribute(DataMoveAttr.DATA_TRANS_AMOUNT_PER_PERIOD)
    times = movement.get_attribute(DataMoveAttr.DATA_TRANS_PERIOD_COUNT)
    bits = movement.get_attribute(DataMoveAttr.DATA_PRECISION)
    sides = {
        "read": (DataDirection.RD_OUT_TO_LOW, DataDirection.RD_OUT_TO_HIGH),
        "written": (DataDirection.WR_IN_BY_LOW, DataDirection.WR_IN_BY_HIGH),
    }
    return {
        side: float(sum(amount.get(way) * times.get(way) * bits.get(way) for way in ways))
        for side, ways in sides.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("step", choices=("layers", "zigzag"))
    parser.add_argument("inputs", nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    if asked.step == "layers":
        pairs = (entry.split("=", 1) for entry in asked.inputs)
        result: Any = {name: layers_of(path) for name, path in pairs}
    else:
        layers = json.loads(Path(asked.inputs[0]).read_text())
        result = {name: zigzag(entries) for name, entries in layers.items()}
    asked.output.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

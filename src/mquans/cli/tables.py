"""What commands show when they are not asked for JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from mquans.cli.terminal import show, write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from mquans.calibration import CalibrationResult, Inspection, Measured
    from mquans.demo import DemoResult
    from mquans.evaluate import Comparison, FrameReport, LayerTable, RunSummary, Verification
    from mquans.metrics.agreement import Agreement
    from mquans.plan import Plan
    from mquans.runtime.guard import GuardCheck, GuardReport
    from mquans.serve.capacity import Capacity


def table(*columns: str, title: str | None = None) -> Table:
    """A plain table; all columns but the first are right-aligned."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        made.add_column(
            column,
            justify="right" if index else "left",
            overflow="fold" if not index else "ellipsis",
        )
    return made


def facts(rows: dict[str, str]) -> Table:
    """Names and values."""
    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in rows.items():
        made.add_row(name, Text(value))
    return made


def percent(fraction: float) -> str:
    """`12.3 %`."""
    return f"{100 * fraction:.1f} %"


def macs(number: float) -> str:
    """MACs in millions."""
    return f"{number / 1e6:.1f} M"


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"


def show_machine(report: dict[str, Any]) -> None:
    """`mquans doctor`."""
    extras = [
        f"{name}: " + ("yes" if there else f'no, pip install "mquans[{name}]"')
        for name, there in report["extras"].items()
    ]
    counters = ", ".join(report["energy_counters"]) or "none that this user may read"
    show(
        facts(
            {
                "CPU": report["cpu"],
                "instruction set": f"{report['isa']} (of {', '.join(report['isas'])})",
                "threads": str(report["threads"]),
                "Python": report["python"],
                "packages": ", ".join(
                    f"{name} {number or 'missing'}" for name, number in report["versions"].items()
                ),
                "extras": "\n".join(extras),
                "energy counters": counters,
            }
        )
    )


def show_inspection(inspection: Inspection) -> None:
    """`mquans inspect`."""
    covered = inspection.coverage
    if covered.obstacle is not None:
        show(Text(covered.obstacle), "")
    nodes = table("node", "operator", "mode", "MACs", "share")
    for node in covered.nodes:
        share = percent(node.macs / covered.macs) if node.macs else ""
        style = {"reuse": "", "native": "dim", "fallback": "yellow"}[node.mode]
        count = macs(node.macs) if node.macs else ""
        nodes.add_row(Text(node.name), node.op, node.mode, count, share, style=style)
    show(nodes, "")
    for one in covered.fallbacks:
        show(Text(f"{one.name} ({', '.join(one.ops)}) runs on onnxruntime: {one.reason}"))
    show(*measured_at(covered.inner_values))
    share = percent(covered.reuse_macs_fraction)
    show(f"{share} of {macs(covered.macs)} MACs lie in layers with reuse.")
    if inspection.sweep is None:
        return
    measured = inspection.sweep.measured
    similarity = table("similarity", *(f"{bits} bits" for bits in measured))
    for name in next(iter(measured.values())).work.layers:
        shares = (percent(m.work.layers[name].similarity) for m in measured.values())
        similarity.add_row(Text(name), *shares)
    totals = table("whole network", *(f"{bits} bits" for bits in measured))
    totals.add_row("similarity", *(percent(m.work.similarity) for m in measured.values()))
    totals.add_row(
        "computation reuse", *(percent(m.work.computation_reuse) for m in measured.values())
    )
    totals.add_row("loss (p95)", *(f"{m.loss:.4f}" for m in measured.values()))
    show("", similarity, "", totals)
    if inspection.layers is not None:
        show("", layer_times(inspection.layers), "", Text(inspection.layers.verdict))


def layer_times(found: LayerTable) -> Table:
    """Reuse layers with what is left of their work, and the time of a frame."""
    made = table("layer", "MACs", "MACs left", "runs", "time", "share")
    for row in found.rows:
        made.add_row(
            Text(row.name),
            macs(row.macs),
            percent(row.macs_fraction),
            row.mode,
            f"{row.time_ms:.3f} ms",
            percent(row.time_share),
        )
    rest = 1 - sum(row.time_share for row in found.rows)
    made.add_row("all else", "", "", "", f"{found.other_ms:.3f} ms", percent(max(rest, 0.0)))
    return made


def show_calibration(result: CalibrationResult, written: Path | None, *, layers: bool) -> None:
    """`mquans calibrate`."""
    task = () if result.measured.task is None else ("metric",)
    candidates = table("plan", "MACs done", *task, "loss (p95)", "loss (mean)", "rel_sq")
    if result.bits is None:
        candidates.add_row(result.method, *_calibration_cells(result.measured), style="bold")
    for bits, measured in result.uniform.items():
        chosen = bits == result.bits and written is not None
        candidates.add_row(f"{bits} bits{' *' if chosen else ''}", *_calibration_cells(measured))
    show(candidates, "", result.verdict)
    show(*measured_at(result.measured.inner_values))
    if result.plan.floats:
        show(
            f"Layers in floats, without reuse: {len(result.plan.floats)}. What they"
            " read or make is too quiet at times for codes of 16 bits."
        )
    if share := result.plan.motion_gate:
        level = result.plan.motion_tolerance / result.plan.tolerance
        show(
            "Motion gate: frames are left out in which no block of 32 by 32 pixels has "
            f"{100 * share:.0f} % of them changed by {level:.2g} times what its gate takes."
        )
    if result.stress is not None:
        show(f"On stress segments made from the clips, the loss is {result.stress.loss:.4f}.")
    if layers:
        rows = table("layer", "bits", "MACs", "MACs done", "similarity")
        for name, work in result.measured.work.layers.items():
            count = macs(work.macs / result.measured.work.frames)
            width = _bits(result.bits_of(name))
            shares = (percent(work.macs_fraction), percent(work.similarity))
            rows.add_row(Text(name), width, count, *shares)
        show("", rows)
    if not result.tells_frozen:
        show(
            f"These clips are too quiet to trust the loss: outputs frozen at the first frame would "
            f"lose only {result.frozen_loss:.4f}. Add a livelier one."
        )
    if fed := _fed(result.plan):
        show(facts(fed))
    if written is not None:
        how = f"method {result.method}" if result.bits is None else f"{result.bits} bits"
        show(Text(f"Wrote {written}: {how}, rule {result.plan.rule}."))


def measured_at(inner_values: Sequence[str]) -> list[Text]:
    """Where losses are measured, if not at the outputs."""
    if not inner_values:
        return []
    return [
        Text(
            "The sizes of all outputs depend on the data. Losses are measured at the last values "
            f"of a known size in front of them: {', '.join(inner_values)}."
        )
    ]


def _fed(plan: Plan) -> dict[str, str]:
    """What was guessed, or asked for, about inputs that are no ready frames."""
    rows = {}
    if (pictures := plan.input) is not None and pictures.window > 1:
        rows["pictures"] = (
            f"windows of {pictures.window}, {pictures.hop} from one to the next, as "
            f"{pictures.name!r} {list(pictures.shape)}"
        )
    if (audio := plan.audio) is not None:
        rows["sound"] = (
            f"{audio.features}, windows of {audio.window} samples every {audio.hop} at "
            f"{audio.rate} Hz, as {audio.name!r} {list(audio.shape)}"
        )
    if plan.constants:
        rows["constants"] = ", ".join(f"{name} = {x:g}" for name, x in plan.constants.items())
    if plan.feedback:
        rows["states"] = ", ".join(f"{name} from {out}" for name, out in plan.feedback.items())
    return rows


def _calibration_cells(measured: Measured) -> tuple[str, ...]:
    agreement = measured.agreement
    return (
        percent(measured.work.macs_fraction),
        *(() if measured.task is None else (f"{measured.task:.4f}",)),
        f"{agreement.loss_p95:.4f}",
        f"{agreement.loss_mean:.4f}",
        f"{agreement.rel_sq_mean:.5f}",
    )


def _bits(bits: Sequence[float]) -> str:
    """`7`, or from the fewest to the most and their mean: `3-9 (6.4)`; nothing of none."""
    if not bits:
        return ""
    least, most = round(min(bits)), round(max(bits))
    return str(least) if least == most else f"{least}-{most} ({sum(bits) / len(bits):.1f})"


def show_frame(report: FrameReport) -> None:
    """One line per frame of `mquans run`."""
    if report.stats is None:
        write(f"frame {report.frame}: refused, it holds NaN or infinite values\n")
        return
    write(
        f"frame {report.frame}: {percent(1 - report.stats.computation_reuse)} of MACs, "
        f"similarity {percent(report.stats.similarity)}, {report.time_ms:.2f} ms"
        f"{_checked(report.check)}\n"
    )


def show_run(summary: RunSummary, output: Path | None) -> None:
    """The end of `mquans run`."""
    values = summary.as_dict()
    rows = {
        "frames": str(values["frames"]),
        "computation reuse": percent(summary.work.computation_reuse),
        "similarity": percent(summary.work.similarity),
        "time per frame": f"{values['time_ms']['median']:.2f} ms median, "
        f"{values['time_ms']['p95']:.2f} ms p95",
        "stream state": size(summary.state_bytes),
    }
    if summary.refused:
        rows["refused"] = f"{len(summary.refused)} frames with NaN or infinite values"
    if summary.guard is not None:
        rows["guard"] = _guarded(summary.guard)
    if output is not None:
        rows["outputs"] = str(output)
    show("", facts(rows))


def show_comparison(result: Comparison) -> None:
    """`mquans compare`."""
    show(*comparison_parts(result))


def show_energy(spent: Mapping[str, float] | str) -> None:
    """`mquans compare --energy`."""
    if isinstance(spent, str):
        show("", f"Energy: {spent}.")
        return
    made = table("engine", "energy per frame")
    for name, joules in spent.items():
        made.add_row(name, f"{1e3 * joules:.3f} mJ")
    show("", made)


def comparison_parts(result: Comparison) -> list[RenderableType]:
    """Tables on speed, work and agreement."""
    speed = table("engine", "median", "mean", "p95", "mquans is", "loss (p95)", "rel_sq", "argmax")
    for name, times in result.time_ms.items():
        ratio = result.speedup.get(name)
        agreement = result.agreement.get(name)
        reference = "reference" if name == "ort-fp32" else ""
        speed.add_row(
            name,
            f"{times['median']:.2f} ms",
            f"{times['mean']:.2f} ms",
            f"{times['p95']:.2f} ms",
            "" if ratio is None else f"{ratio:.2f}x as fast",
            *(_agreement_cells(agreement) if agreement else (reference, "", "")),
        )
    rows = {
        "frames": str(result.work.frames),
        "computation reuse": f"{percent(result.work.computation_reuse)} "
        f"({macs(result.work.macs_done / result.work.frames)} of "
        f"{macs(result.work.macs_total / result.work.frames)} MACs per frame)",
        "similarity": percent(result.work.similarity),
        "memory": f"{size(result.weights_bytes)} weights, {size(result.state_bytes)} per stream "
        f"({result.state_ratio:.1f}x the dense network's activations)",
        "run on": f"{result.threads} thread{'s' if result.threads > 1 else ''}, {result.isa}",
    }
    if result.refused:
        rows["refused"] = f"{result.refused} frames with NaN or infinite values"
    return [facts(rows), "", speed, *measured_at(result.inner_values)]


def show_verification(result: Verification) -> None:
    """`mquans verify`."""
    if result.exact:
        show(
            f"[green]Exact[/]: over {result.frames} frames of {result.layers} layers, every "
            "accumulator equals the product of weights and held values, and recomputing changed no "
            "code and no output bit."
        )
    else:
        show(Text(f"Not exact: {result.first_violation}.", style="red"))
    if result.refused:
        show(f"{result.refused} frames with NaN or infinite values were refused.")


def show_capacity(found: Capacity) -> None:
    """Costs of cameras, and how many of them fit."""
    costs = table("camera", "fps", "reading", "step", "dense step", "of a core", "dense")
    for name, cost in found.costs.items():
        times = (f"{ms:.2f} ms" for ms in (cost.read_ms, cost.step_ms, cost.dense_ms))
        shares = percent(cost.share), percent(cost.dense_share)
        costs.add_row(name, f"{cost.fps:g}", *times, *shares)
    for name, why in found.failed.items():
        costs.add_row(f"{name}: {why}")
    needs = table("", "mquans", "onnxruntime")
    needs.add_row(
        f"cores for these {found.cameras} cameras", str(found.needed_cores), str(found.dense_cores)
    )
    needs.add_row(
        f"cameras like these on {found.cores} cores", str(found.fit), str(found.dense_fit)
    )
    show(costs, "", needs, "", f"Memory of these cameras: {size(found.memory_bytes)}.")


def show_demo(result: DemoResult) -> None:
    """`mquans demo`."""
    show(
        Text(f"{result.model}, {result.size[0]}x{result.size[1]}, on {result.clip}"),
        "",
        *comparison_parts(result.comparison),
        "",
        f"Detection F1 at IoU 0.5 against onnxruntime fp32: {result.f1:.3f} "
        f"({result.faces} faces in {result.comparison.work.frames} frames)",
        Text(f"Wrote {result.picture}"),
    )


def _checked(check: GuardCheck | None) -> str:
    if check is None:
        return ""
    done = {"none": "", "keyframe": ", keyframe", "tighten": ", keyframe and tightened"}
    return f", loss {check.loss:.4f}{done[check.action]}"


def _guarded(report: GuardReport) -> str:
    found = (
        f"{report.violations} of {report.checks} checks above {report.budget:g}, worst loss "
        f"{report.worst:.4f}; {report.keyframes} keyframes, {report.tightenings} times "
        "tightened"
    )
    if report.out_of_reach:
        found += (
            f". {report.out_of_reach} of them neither can cure: calibrate again, on a clip like "
            "this one"
        )
    return found


def _agreement_cells(agreement: Agreement) -> tuple[str, str, str]:
    return (
        f"{agreement.loss_p95:.4f}",
        f"{agreement.rel_sq_mean:.5f}",
        f"{agreement.argmax:.4f}",
    )

"""From data to the contest's record, tables and chart: trains what is missing, runs what is not in
the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mquans.errors import MquansError
from mquans.files import atomic_write, require_writable
from mquans.plan import write_plan
from mquans_studies.contest.cases import load_case
from mquans_studies.contest.judging import BEFORE, EXTRA, judge
from mquans_studies.contest.rules import Rules, load_rules
from mquans_studies.contest.tables import CHOICES, as_markdown
from mquans_studies.contest.trying import Said
from mquans_studies.traces.trace_file import save_trace


def evaluate(
    data: Path,
    zoo: Path,
    output: Path,
    *,
    rules_file: Path | None = None,
    networks: Sequence[str] = (),
    threads: int = 1,
    say: Said = print,
) -> dict[str, Any]:
    """The whole evaluation. It goes on where it was ended: what was trained stays in `zoo`, and
    what was judged in the record.

    Args:
        data: folder that the rules' data folders lie in.
        output: path without ending, of the record .json, the tables .md, a chart .svg,
            `-NETWORK.SCHEME.plan.json`, and `-NETWORK.trace.npz` of the best plan of Mquans.
        rules_file: by default the rules of this package.
        networks: by default all of the rules.
        threads: for training.

    Returns:
        The record.

    Raises:
        MquansError: unknown networks, or data that are not there.
        DependencyError: something is to be trained and torch is not installed.
    """
    rules, digest = load_rules(rules_file)
    names = list(networks) or list(rules.networks)
    for name in names:
        if name not in rules.networks:
            raise MquansError(
                f"there is no network {name!r} in the contest.",
                hint=f"Choose from {', '.join(rules.networks)}.",
            )
    require_writable(output.with_suffix(".json"))
    missing = [name for name in names if not (zoo / name / "card.json").exists()]
    if missing:
        minutes = sum(rules.networks[name].minutes for name in missing)
        say(f"to train: {', '.join(missing)}; about {minutes} minutes of a free core")
    for name in missing:
        _train(name, rules, data, zoo, threads, say)
    record = _record(output, rules, digest)
    for name in names:
        if name in record["networks"]:
            say(f"{name}: is in the record")
            continue
        own = rules.networks[name]
        case = load_case(zoo / name, own.frames, _true_width(name, zoo) if own.true_width else None)
        judged = judge(case, rules, say)
        record["networks"][name] = judged.record
        judged.record["card"] = json.loads((zoo / name / "card.json").read_text())
        for scheme, plan in judged.plans.items():
            tidy = scheme.replace(", ", "-").replace(" ", "-")
            write_plan(plan, output.with_name(f"{output.name}-{name}.{tidy}.plan.json"))
        save_trace(judged.trace, output.with_name(f"{output.name}-{name}.trace.npz"))
        _write(record, output)
    _write(record, output)
    return record


def _train(name: str, rules: Rules, data: Path, zoo: Path, threads: int, say: Said) -> None:
    from mquans_studies.zoo import train  # says what to install where torch is missing
    from mquans_studies.zoo.recipes import HELD_OUT, make_task

    own, seed = rules.networks[name], rules.training_seed
    say(f"{name}: training, about {own.minutes} minutes of a free core")
    import torch

    torch.set_num_threads(threads)
    task = make_task(name, data / own.data, seed=seed, held_out=own.held_out or HELD_OUT)
    card = train(name, task, zoo / name, steps=own.steps or None, seed=seed)
    say(f"{name}: trained in {card.seconds:.0f} s, {card.accuracy}")


def _true_width(name: str, zoo: Path) -> Path:
    path = zoo / f"{name}-true" / "untrained.onnx"
    if not path.exists():
        from mquans_studies.zoo.recipes import untrained

        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, untrained(name))
    return path


def _record(output: Path, rules: Rules, digest: str) -> dict[str, Any]:
    path = output.with_suffix(".json")
    if path.exists():
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise MquansError(
                f"the record is not JSON: {error}.", where=str(path), hint="Name another: -o."
            ) from error
        if found.get("rules_sha256") != digest:
            raise MquansError(
                "the record was made under other rules.", where=str(path), hint="Name another: -o."
            )
        return found
    return {
        "rules_sha256": digest,
        "seed": rules.seed,
        "draws": rules.draws,
        "level": rules.level,
        "chosen_on": rules.chosen_on,
        "designs": rules.designs,
        "networks": {},
    }


def _write(record: dict[str, Any], output: Path) -> None:
    atomic_write(output.with_suffix(".json"), (json.dumps(record, indent=1) + "\n").encode())
    atomic_write(output.with_suffix(".md"), as_markdown(record).encode())
    from mquans_studies.accelerators.plot import plot_simulation

    design = record["chosen_on"]
    bars = [
        (name, row["scheme"], row["speed"]["value"], row["energy_saved"]["value"])
        for name, found in record["networks"].items()
        for row in found["rows"]
        if (row["design"], row["choice"], row["fallback"]) == (design, BEFORE, False)
        and row["scheme"] not in EXTRA
    ]
    title = f"{design}, {CHOICES[BEFORE]}"
    plot_simulation(bars, output.with_suffix(".svg"), title=title)

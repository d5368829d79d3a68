"""What a plan value by value saves: multiplications, time, or what an installed package counts."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from mquans.errors import DependencyError
from mquans.graph import Graph
from mquans.plan import Rule

OBJECTIVES = ("macs", "time", "energy")

PerChange = Callable[[Graph, Rule, str], dict[str, float]]
"""(graph, rule, accelerator) to pJ per changed value, by layer."""


def cost_per_change(
    objective: str, graph: Graph, rule: Rule, accelerator: str
) -> dict[str, float] | None:
    """What a changed value costs by layer, under objectives of other packages; None under our own.

    Raises:
        DependencyError: no installed package knows the objective (entry points of the group
            `mquans.objectives`).
    """
    if objective in ("macs", "time"):
        return None
    for entry in entry_points(group="mquans.objectives", name=objective):
        found: PerChange = entry.load()
        return found(graph, rule, accelerator)
    raise DependencyError(
        f"the objective {objective!r} needs a package that is not installed.",
        hint="Accelerators are part of mquans_studies.",
    )

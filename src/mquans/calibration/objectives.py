"""What a plan value by value saves: multiplications, time, or what an installed package counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points

from mquans.errors import DependencyError
from mquans.graph import Graph
from mquans.plan import Rule

OBJECTIVES = ("macs", "time", "energy")


@dataclass(frozen=True, slots=True)
class LayerEnergy:
    """What a layer takes for one of its inputs, pJ.

    Attributes:
        change: if the value changed.
        compare: to look whether it did.
        dense: if the layer is computed without looking.
    """

    change: float
    compare: float
    dense: float

    def spent(self, changed: int, inputs: int) -> float:
        """pJ, in the cheaper of both ways."""
        return min(inputs * self.dense, inputs * self.compare + changed * self.change)


Energies = Callable[[Graph, Rule, str], dict[str, LayerEnergy]]
"""(graph, rule, accelerator) to what every layer takes."""


def layer_energies(
    objective: str, graph: Graph, rule: Rule, accelerator: str
) -> dict[str, LayerEnergy] | None:
    """What every layer takes, under objectives of other packages; None under our own.

    Raises:
        DependencyError: no installed package knows the objective (entry points of the group
            `mquans.objectives`).
    """
    if objective in ("macs", "time"):
        return None
    for entry in entry_points(group="mquans.objectives", name=objective):
        found: Energies = entry.load()
        return found(graph, rule, accelerator)
    raise DependencyError(
        f"the objective {objective!r} needs a package that is not installed.",
        hint="Accelerators are part of mquans_studies.",
    )

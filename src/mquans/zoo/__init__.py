"""The networks of the computation reuse literature: definitions, data and training (extra `torch`).

Weights are never shipped: `python -m mquans.zoo train NAME --data FOLDER -o DIR` makes them.
"""

from __future__ import annotations

from mquans.errors import DependencyError

try:
    from mquans.zoo.export import export
    from mquans.zoo.networks import AcousticMlp, AutoPilot, C3d, Eesen, StreamingGru
    from mquans.zoo.recipes import RECIPES, Recipe, untrained
    from mquans.zoo.training import Card, train
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise DependencyError(
        "the zoo needs the package 'torch'.",
        hint='Install it with: pip install "mquans[torch]"',
    ) from None

__all__ = [
    "RECIPES",
    "AcousticMlp",
    "AutoPilot",
    "C3d",
    "Card",
    "Eesen",
    "Recipe",
    "StreamingGru",
    "export",
    "train",
    "untrained",
]

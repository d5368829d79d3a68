"""The networks of the computation reuse literature: definitions, data and training (extra `torch`).

Weights are never shipped; `python -m mquans_studies.zoo train NAME --data FOLDER -o DIR` makes
them.
"""

from __future__ import annotations

from mquans.errors import DependencyError

try:
    from mquans_studies.zoo.export import export
    from mquans_studies.zoo.networks import AcousticMlp, AutoPilot, C3d, Eesen, StreamingGru
    from mquans_studies.zoo.recipes import RECIPES, Recipe, untrained
    from mquans_studies.zoo.training import Card, train
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

"""What can be trained, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mquans.errors import MquansError
from mquans_studies.zoo.driving import Driving
from mquans_studies.zoo.export import export
from mquans_studies.zoo.gestures import Gestures
from mquans_studies.zoo.networks import AcousticMlp, AutoPilot, C3d, Eesen, StreamingGru
from mquans_studies.zoo.phones import Phones
from mquans_studies.zoo.strings import TEST_STEPS, StreamedStrings, WholeStrings
from mquans_studies.zoo.training import Task

HELD_OUT = ("jackson",)
"""Speakers that are tested on."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A network that can be trained.

    Attributes:
        summary: one sentence.
        folder: what the data folder must hold.
        task: (data folder, seed, held-out speakers) -> what to train.
    """

    summary: str
    folder: str
    task: Callable[[Path, int, Sequence[str]], Task]


RECIPES: Mapping[str, Recipe] = {
    "autopilot": Recipe(
        "steering from pictures of a drive",
        "labels.csv (frame, steering) and IMG/",
        lambda data, seed, _: Driving(data, seed=seed),
    ),
    "acoustic": Recipe(
        "phone states of spoken digits, an MLP",
        "fsdd/recordings/*.wav and noise/*.wav",
        lambda data, seed, held_out: Phones(data, seed=seed, held_out=held_out),
    ),
    "gru": Recipe(
        "strings of spoken digits step by step, 2 GRU layers with CTC",
        "fsdd/recordings/*.wav and noise/*.wav",
        lambda data, seed, held_out: StreamedStrings(data, seed=seed, held_out=held_out),
    ),
    "eesen": Recipe(
        "strings of spoken digits, 5 bidirectional LSTM layers with CTC",
        "fsdd/recordings/*.wav and noise/*.wav",
        lambda data, seed, held_out: WholeStrings(data, seed=seed, held_out=held_out),
    ),
    "c3d": Recipe(
        "gestures in windows of 16 pictures, C3D with an eighth of its channels",
        "one video per class",
        lambda data, seed, _: Gestures(data, seed=seed),
    ),
}


def make_task(name: str, data: Path, *, seed: int = 0, held_out: Sequence[str] = HELD_OUT) -> Task:
    """A network in its first state, with its data.

    Raises:
        MquansError: there is no such network, or the folder does not hold its data.
    """
    torch.manual_seed(seed)
    return _named(name).task(data, seed, held_out)


def untrained(name: str, *, seed: int = 0) -> bytes:
    """The ONNX file of a network with random weights, at the published dimensions (for C3D those
    are not what is trained): for counting, cycles and energy, which need no accuracy.

    Raises:
        MquansError: there is no such network.
    """
    _named(name)
    torch.manual_seed(seed)
    zeros = torch.zeros
    match name:
        case "autopilot":
            return export(AutoPilot(), {"picture": zeros(1, 3, 66, 200)}, Driving.outputs)
        case "acoustic":
            return export(AcousticMlp(60), {"window": zeros(1, 440)}, Phones.outputs)
        case "gru":
            gru = StreamingGru()
            inputs = {"features": zeros(1, 1, 120), "h": gru.start()}
            return export(gru, inputs, StreamedStrings.outputs)
        case "eesen":
            return export(Eesen(), {"features": zeros(TEST_STEPS, 1, 120)}, WholeStrings.outputs)
        case _:
            return export(C3d(101), {"clip": zeros(1, 3, 16, 112, 112)}, Gestures.outputs)


def _named(name: str) -> Recipe:
    if name not in RECIPES:
        raise MquansError(
            f"there is no network {name!r} in the zoo.", hint=f"Choose from {', '.join(RECIPES)}."
        )
    return RECIPES[name]

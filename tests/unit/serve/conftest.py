"""A detector of bright squares, its plan, and clips of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mquans.serve.config import ModelOptions
from mquans.serve.measuring import Measured, measure

from ...spots import pictures, write_model, write_plan


@pytest.fixture(scope="session")
def spots(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    folder = tmp_path_factory.mktemp("spots")
    model = write_model(folder / "spots.onnx")
    plan = write_plan(model, folder / "spots.plan.json")
    return ModelOptions(onnx=str(model), plan=str(plan), decode="centerface", labels=("spot",))


@pytest.fixture(scope="session")
def measured(spots: ModelOptions) -> Measured:
    return measure(spots, "mquans")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 pictures."""
    folder = tmp_path_factory.mktemp("clip")
    for number, picture in enumerate(pictures(40)):
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


def until(what: Callable[[], object], within_s: float = 30.0) -> None:
    """Waits for something; a test that waits in vain fails."""
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)

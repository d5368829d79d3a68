"""A trace counts what the engine does change by change, whatever the recurrent layer."""

from __future__ import annotations

from hypothesis import given, settings

from mquans_studies.traces.trace import TraceRecorder

from .recurrent_networks import Recurrent, recurrent_layers


@settings(max_examples=40, deadline=None, derandomize=True)
@given(recurrent_layers())
def test_changes_of_sequences_are_those_of_the_engine(layer: Recurrent) -> None:
    """Step by step within a frame, from frame to frame, backwards in time, both layers of a gru."""
    session = layer.session()
    recorder = TraceRecorder(session)
    with session.stream() as stream:
        for frame in layer.frames(3):
            stream.step({"x": frame})
            recorder.add(stream)
            stats = {entry.name: entry for entry in stream.stats.layers}
            if stream.frames == 1:
                continue  # counted as changed everywhere by the engine, from step to step by us
            for found in recorder.result().layers:
                name = found.shape.name
                own = [stats[name], *([stats[f"{name}/reset"]] if f"{name}/reset" in stats else [])]
                changed = found.activity.changed[-1]
                assert changed.sum() == sum(entry.changed for entry in own)
                assert found.shape.inputs == sum(entry.inputs for entry in own)
                assert found.shape.macs == sum(entry.macs for entry in own)
                assert found.macs[-1].sum() == sum(entry.macs_done for entry in own)

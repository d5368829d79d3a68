"""If these break, --frames, --skip or --stride choose other frames than they say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.errors import SourceError
from mquans.sources.selection import Selection


@given(
    total=st.integers(0, 30),
    frames=st.none() | st.integers(1, 12),
    skip=st.integers(0, 35),
    stride=st.integers(1, 9),
)
def test_selects_the_same_from_iterators_and_by_index(
    total: int, frames: int | None, skip: int, stride: int
) -> None:
    selection = Selection(frames=frames, skip=skip, stride=stride)
    expected = list(range(total))[skip::stride][:frames]
    assert list(selection.apply(iter(range(total)))) == expected
    assert list(selection.indices(total)) == expected


def test_nothing_behind_the_last_frame_is_read() -> None:
    """A camera would make the user wait for a frame that is thrown away."""
    items = iter(range(100))
    assert list(Selection(frames=3, skip=1, stride=4).apply(items)) == [1, 5, 9]
    assert next(items) == 10


@pytest.mark.parametrize("bad", [{"frames": 0}, {"frames": -1}, {"skip": -1}, {"stride": 0}])
def test_numbers_out_of_range_are_named(bad: dict[str, int]) -> None:
    with pytest.raises(SourceError, match=f"--{next(iter(bad))} must be at least"):
        Selection(**bad)

"""Which outputs of a network a loss is taken of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def counted(outputs: Iterable[str], feedback: Mapping[str, str]) -> tuple[str, ...]:
    """Outputs that a loss is taken of: not those that only carry a state to the next frame, unless
    there are no others. What a wrong state does to the others is counted there.

    Args:
        feedback: state input by the output that feeds it (`Plan.feedback`).
    """
    names, states = tuple(outputs), set(feedback.values())
    return tuple(name for name in names if name not in states) or names

"""Every error a user can meet: what went wrong, where, and a way out."""

from __future__ import annotations


class MquansError(Exception):
    """Base of all errors raised on purpose.

    Args:
        what: one sentence on what went wrong.
        where: the node, file, shape or frame it happened at.
        hint: what the user can do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} {self.hint}" if self.hint else text


class ModelError(MquansError):
    """The model cannot be read, or is malformed."""


class UnsupportedOperatorError(ModelError):
    """The model needs an operator that neither the engine nor a fallback subgraph can run."""


class NothingToVerifyError(ModelError):
    """No layer of the network runs with reuse."""


class PlanError(MquansError):
    """The plan is malformed, from a newer version, or made for another model."""


class SourceError(MquansError):
    """A source of frames cannot be opened or breaks off."""


class FrameError(MquansError, ValueError):
    """A frame was refused (shape, dtype, NaN); the stream it was meant for is unchanged."""


class RefusedFrameError(FrameError):
    """A frame of the right shape that cannot be run: it, or a state of the network, holds NaN or
    infinite values."""


class MetricError(MquansError):
    """A metric cannot be loaded, fails, or gives something that is no loss."""


class StateError(MquansError):
    """A saved stream state is damaged or belongs to another model or plan."""


class DependencyError(MquansError):
    """An optional package is needed for what was asked."""

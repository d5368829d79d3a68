"""Ways to save work that can be put on an accelerator."""

from __future__ import annotations

from dataclasses import dataclass

from mquans.errors import MquansError
from mquans_studies.traces.weight_repetition import REPEATED_BITS


@dataclass(frozen=True, slots=True)
class Scheme:
    """What is left out.

    Attributes:
        reuse: inputs that did not change, with the widths and the rule of the trace's plan.
        sites: output positions that read no site whose gate opened, with the gates of the trace's
            plan; layers that the plan has value by value are reused value by value.
        repetition: multiplications by weights that come again.
        memory: output positions whose whole input was seen before.
        weight_bits: of stored weights; 0 for the design's words.
    """

    name: str
    reuse: bool = False
    sites: bool = False
    repetition: bool = False
    memory: bool = False
    weight_bits: int = 0

    @property
    def compares(self) -> bool:
        """Whether inputs are compared with what is held from frame to frame."""
        return self.reuse or self.sites

    @property
    def baseline(self) -> str:
        """The dense design that it is compared with: at the precision of its own weights."""
        return "dense-int8" if self.weight_bits else "dense"


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("dense"),
        Scheme("dense-int8", weight_bits=REPEATED_BITS),
        Scheme("reuse", reuse=True),
        Scheme("sites", sites=True),
        Scheme("repetition", repetition=True, weight_bits=REPEATED_BITS),
        Scheme("memory", memory=True),
        Scheme("reuse+repetition", reuse=True, repetition=True, weight_bits=REPEATED_BITS),
    )
}


def scheme(name: str) -> Scheme:
    """A scheme by its name.

    Raises:
        MquansError: there is none.
    """
    try:
        return SCHEMES[name]
    except KeyError:
        raise MquansError(
            f"there is no scheme {name!r}.", hint=f"Choose one of {', '.join(SCHEMES)}."
        ) from None

"""Ways to save work that can be put on an accelerator."""

from __future__ import annotations

from dataclasses import dataclass

from mquans.errors import MquansError


@dataclass(frozen=True, slots=True)
class Scheme:
    """What is left out.

    Attributes:
        reuse: inputs that did not change, with the widths and the rule of the trace's plan.
        repetition: multiplications by weights that come again.
        memory: output positions whose whole input was seen before.
    """

    name: str
    reuse: bool = False
    repetition: bool = False
    memory: bool = False


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("dense"),
        Scheme("reuse", reuse=True),
        Scheme("repetition", repetition=True),
        Scheme("memory", memory=True),
        Scheme("reuse+repetition", reuse=True, repetition=True),
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

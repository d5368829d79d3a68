"""The rules of a contest, from a file that is fixed before a run."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mquans.errors import MquansError
from mquans.files import reason
from mquans.plan import Rule

Kind = Literal["width", "budget", "tolerance", "every"]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scheme that takes part.

    Attributes:
        kind: what its values are: `width` bits of the whole network; `budget` losses that plans are
            made for; `tolerance` factors on a plan of gates; `every` so-many-th frame computed.
        values: one candidate each.
        rule: of `width` and `budget`.
        budget: that the plan of gates is made for.
    """

    kind: Kind
    values: Annotated[list[float], Meta(min_length=1)]
    rule: Rule = "hold"
    budget: Annotated[float, Meta(gt=0)] = 0.1


class NetworkRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network that takes part.

    Attributes:
        data: folder below the data folder; frames: that make plans, that choose, that judge.
        published: bits of Riera et al.
        minutes: that training takes.
        held_out: speakers, see `mquans_studies.zoo`; steps: of training, 0 for the recipe's.
        without: schemes that mean nothing for it.
        true_width: cycles and energy are for the published width, which is not what is trained.
    """

    data: str
    frames: tuple[int, int, int]
    published: int
    minutes: int
    held_out: list[str] = []
    steps: int = 0
    without: list[str] = []
    true_width: bool = False


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole contest; `docs/evaluation.md` says what the fields mean.

    Attributes:
        seed: of the draws; training_seed: of networks that are trained, and of the noise and the
            splices of their data.
    """

    seed: int
    draws: Annotated[int, Meta(ge=100)]
    level: Annotated[float, Meta(gt=0, lt=1)]
    chosen_on: str
    designs: list[str]
    schemes: dict[str, Entry]
    pairs: dict[str, tuple[list[str], list[str]]]
    networks: dict[str, NetworkRules]
    training_seed: int = 0


def load_rules(path: Path | None = None) -> tuple[Rules, str]:
    """(the rules, the file's SHA-256); by default those of this package.

    Raises:
        MquansError: the file cannot be read, or is not even-handed.
    """
    where = str(path or "contest.yaml")
    try:
        data = (path or files(__package__).joinpath("contest.yaml")).read_bytes()
        rules = msgspec.yaml.decode(data, type=Rules)
    except OSError as error:
        raise MquansError(f"cannot be read: {reason(error)}.", where=where) from error
    except msgspec.MsgspecError as error:
        raise MquansError(f"is no contest: {error}.", where=where) from error
    counts = {name: len(entry.values) for name, entry in rules.schemes.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise MquansError(
            f"schemes have unequal numbers of candidates: {told}.",
            where=where,
            hint="Give each as many values: who tries more finds more.",
        )
    named = [name for sides in rules.pairs.values() for side in sides for name in side]
    named += [name for network in rules.networks.values() for name in network.without]
    for name in named:
        if name not in rules.schemes:
            raise MquansError(
                f"there is no scheme {name!r}.",
                where=where,
                hint=f"Schemes are {', '.join(rules.schemes)}.",
            )
    if rules.chosen_on not in rules.designs:
        raise MquansError(f"{rules.chosen_on!r} is not among the designs.", where=where)
    return rules, hashlib.sha256(data).hexdigest()

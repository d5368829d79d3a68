"""Rules are read before a run, and are even-handed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mquans.errors import MquansError
from mquans_studies.accelerators import accelerator_names
from mquans_studies.contest import rules

OWN = Path(rules.__file__).with_name("contest.yaml")


def test_the_packages_own_rules_give_every_scheme_as_many_candidates() -> None:
    found, digest = rules.load_rules()
    assert {len(entry.values) for entry in found.schemes.values()} == {5}
    assert set(found.designs) == set(accelerator_names())
    assert digest == hashlib.sha256(OWN.read_bytes()).hexdigest()


def test_careful_rules_differ_in_budgets_and_seed_alone() -> None:
    """A third run is to say what smaller budgets do, and nothing else."""
    first, third = rules.load_rules()[0], rules.load_rules(OWN.with_name("careful.yaml"))[0]
    assert third.training_seed != first.training_seed
    for name, entry in third.schemes.items():
        values = first.schemes[name].values
        if name.startswith("mquans"):
            assert entry.values == pytest.approx([value / 10 for value in values])
        else:
            assert entry == first.schemes[name]
    assert third.networks == first.networks
    assert third.pairs == first.pairs


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[3, 4, 5, 6, 7]", "[3, 4, 5]", "unequal numbers of candidates"),
        ("chosen_on: reuse", "chosen_on: tpu", "'tpu' is not among the designs"),
        ("kind: tolerance", "kind: luck", "no contest.*luck"),
        ("without: [sites]", "without: [magic]", "no scheme 'magic'"),
        ("draws: 2000", "draws: 2", "no contest.*draws"),
    ],
)
def test_uneven_or_unknown_rules_are_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN.read_text().replace(old, new))
    with pytest.raises(MquansError, match=said):
        rules.load_rules(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MquansError, match="cannot be read"):
        rules.load_rules(tmp_path / "none.yaml")

"""torch is an extra: without it, fine-tuning says what to install."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from mquans.errors import DependencyError


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("mquans_studies.finetune")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyError, match=r"torch.*pip install .*mquans\[torch\]"):
        import_module("mquans_studies.finetune")

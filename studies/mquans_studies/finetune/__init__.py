"""Fine-tuning of a network at the widths of a plan (extra `torch`): fewer bits, hence less work, at
the same quality."""

from __future__ import annotations

from mquans.errors import DependencyError

try:
    from mquans_studies.finetune.data import Loss
    from mquans_studies.finetune.training import FineTuned, finetune
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise DependencyError(
        "fine-tuning needs the package 'torch'.",
        hint='Install it with: pip install "mquans[torch]"',
    ) from None

__all__ = ["FineTuned", "Loss", "finetune"]

"""Fine-tuning is tested where torch is installed."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

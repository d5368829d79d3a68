"""A real network on a real clip, both from packages (extra `demo`), in one call."""

from __future__ import annotations

from mquans.demo.faces import DemoResult, run_demo

__all__ = ["DemoResult", "run_demo"]

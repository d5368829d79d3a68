"""Gradients of a network without a training framework: a graph that computes them.

`gradient_graph` extends a network by the nodes of its vector-Jacobian product. The closed operator
set is closed under it (Conv becomes ConvTranspose, Concat becomes Slice, ...), so the result is an
ordinary `Graph` that onnxruntime, or the float64 reference, runs like any other.
"""

from __future__ import annotations

from mquans.calibration.gradients.reverse import GradientGraph, gradient_graph
from mquans.calibration.gradients.tape import Tape

__all__ = ["GradientGraph", "Tape", "gradient_graph"]

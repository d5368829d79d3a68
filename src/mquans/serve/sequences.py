"""Streams that clients of the Open Inference Protocol step, in a worker."""

from __future__ import annotations

import numpy as np

from mquans.errors import FrameError, MquansError
from mquans.serve.engines import Network, Stepper
from mquans.serve.wire import Infer, Inferred, Tensor
from mquans.sources import FirstFrame

Key = tuple[str, str, str]

BAD_REQUEST, NOT_FOUND, FAILED = 400, 404, 500


class Sequences:
    """Streams by the name of their sequence; who asks keeps count of them."""

    def __init__(self) -> None:
        self._streams: dict[str, tuple[Key, Stepper]] = {}

    @property
    def keys(self) -> set[Key]:
        """Of the networks in use."""
        return {key for key, _ in self._streams.values()}

    def infer(self, order: Infer, network: Network) -> Inferred:
        """Steps a sequence, or computes a frame on its own."""
        try:
            inputs = {name: tensor.array() for name, tensor in order.inputs.items()}
            if not order.sequence:
                return self._alone(order, network, inputs)
            if order.start:
                self.forget(order.sequence)
                self._streams[order.sequence] = network.key, network.stepper()
            elif order.sequence not in self._streams:
                return self.failure(order, NOT_FOUND, "there is no such sequence.")
            _, stepper = self._streams[order.sequence]
            outputs = stepper.step(FirstFrame(inputs) if order.start else inputs)
        except (FrameError, ValueError) as error:
            return self.failure(order, BAD_REQUEST, str(error))
        except MquansError as error:
            return self.failure(order, FAILED, str(error))
        finally:
            if order.end:
                self.forget(order.sequence)
        return _answer(order, outputs)

    def forget(self, sequence: str) -> None:
        """Frees its stream."""
        if found := self._streams.pop(sequence, None):
            found[1].close()

    def failure(self, order: Infer, status: int, problem: str) -> Inferred:
        """An answer that there is none; a sequence that was to begin has not."""
        if order.start:
            self.forget(order.sequence)
        return Inferred(order.request, status, problem)

    def _alone(self, order: Infer, network: Network, inputs: dict[str, np.ndarray]) -> Inferred:
        stepper = network.stepper()
        try:
            return _answer(order, stepper.step(FirstFrame(inputs)))
        finally:
            stepper.close()


def _answer(order: Infer, outputs: dict[str, np.ndarray]) -> Inferred:
    tensors = {name: Tensor.of(np.asarray(value)) for name, value in outputs.items()}
    return Inferred(order.request, 200, outputs=tensors)

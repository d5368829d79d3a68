"""Programs of one native float step, run frame by frame next to a full recomputation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest

try:
    from mquans import _native as native
except ImportError:  # not built: the tests of this folder skip themselves
    native = None

Floats = npt.NDArray[np.float32]
Dims = tuple[int, ...]
AddStep = Callable[..., None]
"""Called as add(program, "step", *input tensors, output tensor)."""
Oracle = Callable[..., npt.NDArray[np.floating]]


def extent(dims: Dims) -> tuple[int, int, int]:
    """(rows, width, channels) of physical dims."""
    wide = (1, 1, *dims)[-max(3, len(dims)) :]
    return int(np.prod(wide[:-2])), wide[-2], wide[-1]


class OneStep:
    """inputs -> step -> y -> copy -> z. The copy reads y's marks: a pixel that the step changed
    without marking it stays stale in z."""

    def __init__(
        self, inputs: Sequence[Dims], output: Dims, add: AddStep, *, isa: str, threads: int,
        strided: bool, constants: dict[int, Floats],
    ) -> None:  # fmt: skip
        self.program = native.Program(isa, threads)
        self.output = output
        self.constants = constants
        self.inputs = [
            self._constant(constants[i]) if i in constants else self._tensor(dims, strided)
            for i, dims in enumerate(inputs)
        ]
        self.y = self._tensor(output, strided)
        self.z = self._tensor(output, False)
        add(self.program, "step", *self.inputs, self.y)
        native.add_copy(self.program, "copy", self.y, self.z)
        self.program.finish()
        self.stream = native.Stream(self.program)
        self.first = True

    def _constant(self, values: Floats) -> int:
        return self.program.add_constant(*extent(values.shape), np.ravel(values).astype(np.float32))

    def _tensor(self, dims: Dims, strided: bool) -> int:
        rows, width, channels = extent(dims)
        if not strided:
            return self.program.add_tensor(rows, width, channels)
        return self.program.add_view(
            self.program.add_tensor(rows, width, channels + 5), 3, channels
        )

    def step(self, values: Sequence[Floats]) -> Floats:
        """One frame: brings the inputs in, returns y as the step's readers see it."""
        for i, (tensor, value) in enumerate(zip(self.inputs, values, strict=True)):
            if i not in self.constants:
                self.stream.write(tensor, np.ascontiguousarray(value, np.float32))
        self.stream.run(0, 2, self.first, False)
        self.first = False
        return self.stream.read(self.z).reshape(self.output)

    @property
    def moved(self) -> bool:
        """Whether the last frame marked any pixel of y."""
        return self.stream.mask_any(self.y)


def drift(rng: np.random.Generator, values: list[Floats], count: int) -> Iterator[list[Floats]]:
    """Frames from `values` on: a few elements of one input move, a third of all, nothing."""
    yield values
    for kind in range(count):
        values = [value.copy() for value in values]
        if kind % 3 == 0:
            moving = values[int(rng.integers(len(values)))].reshape(-1)
            picks = rng.integers(0, moving.size, size=max(1, moving.size // 50))
            moving[picks] = rng.normal(size=picks.size).astype(np.float32)
        elif kind % 3 == 1:
            for value in values:
                value += rng.normal(size=value.shape).astype(np.float32) * (
                    rng.random(value.shape) < 0.3
                )
        yield values


@pytest.fixture(scope="session")
def follow() -> Callable[..., None]:
    """The check of every step: over a drifting sequence of frames, for every instruction set, one
    and two threads, compact and strided tensors: the incremental result equals a fresh stream's bit
    for bit, is the oracle's within `tolerance`, and a frame that did not move marks nothing."""

    def check(
        inputs: Sequence[Dims], output: Dims, add: AddStep, oracle: Oracle, *, seed: int = 0,
        constants: dict[int, Floats] | None = None, values: Sequence[Floats] | None = None,
        tolerance: float = 0.0, strided: Sequence[bool] = (False, True),
    ) -> None:  # fmt: skip
        rng = np.random.default_rng(seed)
        start = [rng.normal(size=dims).astype(np.float32) for dims in inputs]
        start = [value.astype(np.float32) for value in values] if values is not None else start
        fixed = constants or {}
        start = [fixed.get(i, value) for i, value in enumerate(start)]
        frames = [
            [fixed.get(i, value) for i, value in enumerate(frame)] for frame in drift(rng, start, 4)
        ]
        variants = [
            OneStep(inputs, output, add, isa=isa, threads=threads, strided=wide, constants=fixed)
            for isa in native.available_isas()
            for threads in (1, 2)
            for wide in strided
        ]
        for index, frame in enumerate(frames):
            fresh = OneStep(
                inputs, output, add, isa="scalar", threads=1, strided=strided[0], constants=fixed
            ).step(frame)
            expected = np.asarray(oracle(*[v.astype(np.float64) for v in frame])).reshape(output)
            if tolerance:
                np.testing.assert_allclose(fresh, expected, rtol=tolerance, atol=tolerance)
            else:
                np.testing.assert_array_equal(fresh, expected.astype(np.float32))
            still = index > 0 and all(
                np.array_equal(a, b) for a, b in zip(frame, frames[index - 1], strict=True)
            )
            for variant in variants:
                found = variant.step(frame)
                assert found.tobytes() == fresh.tobytes(), f"frame {index} differs"
                assert not (still and variant.moved), f"frame {index} is still but marks pixels"

    return check

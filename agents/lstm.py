"""An LSTM cell in NumPy: one tick of a network with a memory (Hochreiter and Schmidhuber, 1997, with forget gates)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bidpilot.ctr.errors import InputError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Lstm:
    """A cell of `size` units.

    weight (4 size, inputs), recurrent (4 size, size), bias (4 size,), float32: the gates in torch's order, input,
    forget, candidate, output. Raises InputError when the shapes do not fit.
    """

    weight: Floats
    recurrent: Floats
    bias: Floats

    def __post_init__(self) -> None:
        """Check the shapes."""
        rows = 4 * self.size
        if self.recurrent.shape != (rows, self.size) or self.weight.shape[:1] != (rows,) or self.bias.shape != (rows,):
            shapes = [part.shape for part in (self.weight, self.recurrent, self.bias)]
            raise InputError(f"an LSTM needs four gates of equal size; got arrays of shape {shapes}")

    @property
    def size(self) -> int:
        """Number of units."""
        return int(self.recurrent.shape[-1])

    def start(self, rows: tuple[int, ...]) -> Floats:
        """Return the memory (2, *rows, size) with which an episode begins: nothing."""
        return np.zeros((2, *rows, self.size), dtype=np.float32)

    def step(self, x: Floats, memory: Floats) -> Floats:
        """Return the memory (2, ..., size) after an input (..., inputs): hidden state, the output, and cell."""
        hidden, cell = memory
        gates = x @ self.weight.T + hidden @ self.recurrent.T + self.bias
        enter, keep, candidate, leave = np.split(gates, 4, axis=-1)
        cell = _sigmoid(keep) * cell + _sigmoid(enter) * np.tanh(candidate)
        return np.stack((_sigmoid(leave) * np.tanh(cell), cell))


def _sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), by way of tanh, which never overflows."""
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5, dtype=np.float32)

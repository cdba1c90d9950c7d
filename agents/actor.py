"""A trained network in NumPy: every learner's deterministic policy, without torch and Stable-Baselines3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bidpilot.ctr.errors import InputError, unknown

if TYPE_CHECKING:
    from bidpilot.agents.lstm import Floats, Lstm
    from bidpilot.ctr.types import FloatArray

ACTIVATIONS = ("tanh", "relu")
HEADS = ("clip", "tanh", "level")
TINY = 1e-30


@dataclass(frozen=True)
class Actor:
    """A deterministic policy network, observation normalisation and action bounds included.

    mean, scale: (d,) float64; the input is clip((obs - mean) * scale, -clip, clip). lstm: a memory that the input
    passes first, or None. weights, biases: layers (out, in) and (out,) float32. activation: of the hidden layers.
    head: how the last layer becomes an action in -1..1: "clip" (a Gaussian's mean), "tanh" (a squashed one), or
    "level": the best of `levels` evenly spaced actions per group, by their scores, which lie side by side.
    Raises InputError when shapes do not chain.
    """

    mean: FloatArray
    scale: FloatArray
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    activation: Literal["tanh", "relu"] = "tanh"
    head: Literal["clip", "tanh", "level"] = "clip"
    clip: float = 10.0
    levels: int = 1
    lstm: Lstm | None = None

    def __post_init__(self) -> None:
        """Check that the layers chain."""
        width = len(self.mean)
        if self.scale.shape != (width,) or not self.weights or len(self.weights) != len(self.biases):
            raise InputError("a network needs as many scales as means, a layer at least, and a bias for each")
        if self.lstm is not None:
            if self.lstm.weight.shape[1] != width:
                raise InputError(f"an LSTM of shape {self.lstm.weight.shape} does not follow {width} inputs")
            width = self.lstm.size
        for weight, bias in zip(self.weights, self.biases, strict=True):
            if weight.shape != (len(bias), width):
                raise InputError(f"a layer of shape {weight.shape} does not follow {width} inputs")
            width = len(bias)
        if not 1 <= self.levels <= width or width % self.levels or (self.levels > 1) != (self.head == "level"):
            raise InputError(f"{width} outputs and the head {self.head!r} make no actions of {self.levels} levels")
        for name, known in (("activation", ACTIVATIONS), ("head", HEADS)):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)

    @property
    def groups(self) -> int:
        """Number of actions."""
        return len(self.biases[-1]) // self.levels

    @property
    def rungs(self) -> FloatArray:
        """The actions (levels,) that levels stand for, as in bidpilot.envs.actions.Ladder."""
        return np.linspace(-1.0, 1.0, self.levels)

    def normalised(self, observation: Floats) -> Floats:
        """Return observations (..., d) as the network takes them."""
        return np.clip((observation - self.mean) * self.scale, -self.clip, self.clip).astype(np.float32)

    def __call__(self, observation: Floats) -> FloatArray:
        """Return actions (..., groups) in -1..1 for observations (..., d).

        With a memory, (ticks, episodes, d) are whole episodes in order; (d,) and (n, d) are first ticks.
        """
        return self._actions(self._outputs(observation))

    def act(self, observation: Floats, memory: Floats | None = None) -> tuple[FloatArray, Floats | None]:
        """Return actions as above for one tick of an episode, and the memory for its next. None: the first tick."""
        output, memory = self._step(observation, memory)
        return self._actions(output), memory

    def gap(self, observations: Floats, actions: Floats) -> float:
        """Return how far the network is from giving the actions (..., groups) for observations, as in a call.

        The largest difference; for levels, how much lower than the best one's the score of a given level is, as a
        share of the largest score: two that are as good as equal may change places with the order of a sum.
        Infinite for no actions, and for any that is no level.
        """
        if not len(actions) or not np.isfinite(actions).all():
            return np.inf
        outputs = self._outputs(observations)
        if self.levels == 1:
            return float(np.abs(self._actions(outputs) - actions).max())
        given = np.rint((actions + 1.0) / 2.0 * (self.levels - 1)).astype(int).clip(0, self.levels - 1)
        if np.abs(self.rungs[given] - actions).max() > np.finfo(np.float32).eps:
            return np.inf
        short = outputs.max(-1) - np.take_along_axis(outputs, given[..., None], -1)[..., 0]
        return float((short / np.maximum(np.abs(outputs).max(-1), TINY)).max())

    def _outputs(self, observations: Floats) -> Floats:
        """Return the last layer's outputs, of whole episodes in order where a memory wants that."""
        whole = self.lstm is not None and observations.ndim == 3  # noqa: PLR2004 - (ticks, episodes, d)
        if not whole:
            return self._step(observations, None)[0]
        outputs, memory = [], None
        for tick in observations:
            output, memory = self._step(tick, memory)
            outputs.append(output)
        return np.stack(outputs)

    def _step(self, observation: Floats, memory: Floats | None) -> tuple[Floats, Floats | None]:
        """Return the last layer's outputs, (..., groups) or (..., groups, levels), and the next memory."""
        x = self.normalised(observation)
        if self.lstm is not None:
            memory = self.lstm.step(x, self.lstm.start(x.shape[:-1]) if memory is None else memory)
            x = memory[0]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = x @ weight.T + bias
            x = np.tanh(x) if self.activation == "tanh" else np.maximum(x, 0)
        x = x @ self.weights[-1].T + self.biases[-1]
        return (x if self.levels == 1 else x.reshape(*x.shape[:-1], self.groups, self.levels)), memory

    def _actions(self, outputs: Floats) -> FloatArray:
        """Return the actions (..., groups) of outputs."""
        if self.head == "level":
            return np.asarray(self.rungs[outputs.argmax(-1)])
        action = np.tanh(outputs) if self.head == "tanh" else np.clip(outputs, -1.0, 1.0)
        return np.asarray(action, dtype=np.float64)

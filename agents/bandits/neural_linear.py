"""Neural-linear Thompson sampling (Riquelme, Tucker, Snoek 2018): Bayesian regression on a network's last layer.

The network learns on the days of the warm-up; after each refit the regression is computed anew, for its features have
changed. Within an episode, far shorter than the thousand observations after which a refit pays, only the regression
learns. Noise and weights have a Normal-Inverse-Gamma posterior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.bandits.arms import Sampled
from bidpilot.agents.bandits.contextual import ACTIONS, CONTEXT, ContextualBandit
from bidpilot.agents.bandits.network import Network
from bidpilot.agents.bandits.regression import Regression
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray

INPUTS = CONTEXT + 1
HIDDEN = (32, 12)
RATE = 0.005
NETWORK = np.random.SeedSequence(0, spawn_key=(104,))
"""The stream of the network's first weights."""


@dataclass(frozen=True, slots=True)
class Config:
    """steps: of training after each day of the warm-up. decay: of the weights. noise: prior sd of a tick's reward."""

    steps: int = 200
    decay: float = 0.01
    noise: float = 0.02
    ridge: float = 1.0

    def build(self, past: Past) -> NeuralLinear:
        """Build the policy."""
        return NeuralLinear(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"decay": Span(0.001, 0.1), "noise": Span(0.01, 0.3), "ridge": Span(0.1, 10.0)}


class Memory:
    """A network, the regression on its last layer, and all that was seen so far, for the next refit."""

    def __init__(self, config: Config) -> None:
        """Start with the network's first weights."""
        self.config = config
        self.network = Network(INPUTS, HIDDEN, np.random.default_rng(NETWORK))
        self.regression = Regression(HIDDEN[1] + 1, config.ridge)
        self._inputs: list[FloatArray] = []
        self._rewards: list[float] = []

    def add(self, x: FloatArray, reward: float) -> None:
        """Take in a reward at inputs x (INPUTS,)."""
        self._inputs.append(x)
        self._rewards.append(reward)
        self.regression.add(self.network.features(x[None])[0], reward)

    def refit(self) -> None:
        """Train the network on all that was seen, and compute the regression anew."""
        if not self._rewards:
            return
        inputs, rewards = np.array(self._inputs), np.array(self._rewards)
        self.network.fit(inputs, rewards, self.config.steps, RATE, self.config.decay)
        self.regression.rebuild(self.network.features(inputs), rewards)


class NeuralLinear(ContextualBandit[Memory], Sampled[Memory]):
    """Pulls the arm that is best by a draw of the last layer's weights."""

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the settings."""
        super().__init__(past, Memory(config))
        self.config = config

    def features(self, context: FloatArray) -> FloatArray:
        """Return the network's inputs (arms, INPUTS) in a context (CONTEXT,)."""
        return np.column_stack([np.tile(context, (len(ACTIONS), 1)), ACTIONS])

    def draws(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Return draws (count, arms) of what the arms bring in the state at hand."""
        model, noise = self.statistics.regression, self.config.noise
        spread = np.sqrt(model.variances(count, 1.0, noise * noise, rng))
        return np.asarray(model.draws(count, spread, rng) @ self.statistics.network.features(self.design).T)

    def day_over(self, rng: np.random.Generator) -> None:  # noqa: ARG002 - the training draws nothing
        """Refit after each day of the warm-up."""
        self.statistics.refit()

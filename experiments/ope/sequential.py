"""Estimators of a target policy's return from whole episodes of another policy.

Weights multiply along an episode: with T steps and policies d standard deviations apart per step, ESS / n is about
exp(-T d^2). These are for short episodes (some seven steps) or small changes; fitted Q evaluation (fqe) is for others.
target: (m,) the target's probability of each logged action. An episode that ends early goes on with no reward and
ratio 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.ope.contributions import Contributions
from bidpilot.experiments.ope.diagnostics import Diagnostics, of_weights

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.experiments.ope.logged import LoggedEpisodes


def tis(log: LoggedEpisodes, target: FloatArray, discount: float = 1.0) -> Contributions:
    """Return the mean of whole returns by whole weights: trajectory importance sampling, the yardstick of tests."""
    rewards = _discounted(log, log.rewards, discount)
    return _episodes(log).corrected(cumulative(log, target)[:, -1] * rewards.sum(axis=1))


def pdis(log: LoggedEpisodes, target: FloatArray, discount: float = 1.0) -> Contributions:
    """Return per-decision importance sampling (Precup, Sutton, Singh 2000): a reward is weighted by what led to it."""
    return _episodes(log).corrected(cumulative(log, target) * _discounted(log, log.rewards, discount))


def wpdis(log: LoggedEpisodes, target: FloatArray, discount: float = 1.0) -> Contributions:
    """Return PDIS with the weights of each time divided by their sum: consistent, a little biased, far steadier."""
    weight = cumulative(log, target)
    return _episodes(log).corrected(weight * _discounted(log, log.rewards, discount), weight)


def sequential_dr(
    log: LoggedEpisodes, target: FloatArray, fitted: FloatArray, value: FloatArray, discount: float = 1.0
) -> Contributions:
    """Return doubly robust off-policy evaluation (Jiang & Li 2016, section 4), without bias if the ratios are right.

    fitted: (m,) a model's Q at the logged state and action. value: (m,) its mean over the target's actions there. The
    model must come from other episodes.
    """
    weight = cumulative(log, target)
    before = np.concatenate([np.ones((log.count, 1)), weight[:, :-1]], axis=1)
    surprise = weight * _discounted(log, log.rewards - fitted, discount)
    return _episodes(log).corrected(surprise + before * _discounted(log, value, discount))


def cumulative(log: LoggedEpisodes, target: FloatArray) -> FloatArray:
    """Return the product of target over logged probabilities up to each time (episodes, longest).

    Raises InputError unless target is one probability, 0 to 1, per step.
    """
    if target.shape != log.propensity.shape or not ((target >= 0) & (target <= 1)).all():
        raise InputError(f"target: expected {len(log.propensity):,} probabilities of the logged actions, 0 to 1")
    return np.asarray(np.cumprod(_table(log, target / log.propensity, 1.0), axis=1))


def diagnose_episodes(log: LoggedEpisodes, target: FloatArray) -> Diagnostics:
    """Return the diagnostics of the weights of whole episodes, as of a bandit's rows."""
    return of_weights(cumulative(log, target)[:, -1])


def _episodes(log: LoggedEpisodes) -> Contributions:
    return Contributions.mean(np.zeros(log.count))


def _discounted(log: LoggedEpisodes, amounts: FloatArray, discount: float) -> FloatArray:
    """Return amounts (m,) by episode and time (episodes, longest), discounted to the episode's start."""
    table = _table(log, amounts, 0.0)
    return np.asarray(table * discount ** np.arange(table.shape[1]))


def _table(log: LoggedEpisodes, amounts: FloatArray, after: float) -> FloatArray:
    """Return amounts (m,) by episode and time, `after` behind an episode's end."""
    row, time = log.places()
    table = np.full((log.count, int(time.max()) + 1), after)
    table[row, time] = amounts
    return table

"""Estimators of what a target policy would have earned, from decisions of another policy.

weight: (n,) target over logged probability of the logged action. reward: (n,). base: (n,) the reward model's mean under
the target, sum over a of target(a) q(a). fitted: (n,) the model at the logged action. The model must not have seen the
row that it is asked about (reward_model). Every function returns Contributions; `.estimate` is the number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.experiments.ope.contributions import Contributions

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray


def ips(weight: FloatArray, reward: FloatArray) -> Contributions:
    """Return the mean of w r (Horvitz & Thompson 1952): no bias, and all the variance of the weights."""
    return _nothing(weight).corrected(weight * reward)


def snips(weight: FloatArray, reward: FloatArray) -> Contributions:
    """Return sum w r / sum w (Swaminathan & Joachims 2015): never outside the rewards seen."""
    return _nothing(weight).corrected(weight * reward, weight)


def dm(base: FloatArray) -> Contributions:
    """Return the mean of the model under the target: no variance of weights, and all the bias of the model."""
    return Contributions.mean(base)


def dr(weight: FloatArray, reward: FloatArray, base: FloatArray, fitted: FloatArray) -> Contributions:
    """Return the model, corrected by the weighted residuals (Dudik, Langford, Li 2011): no bias if they are right."""
    return Contributions.mean(base).corrected(weight * (reward - fitted))


def sndr(weight: FloatArray, reward: FloatArray, base: FloatArray, fitted: FloatArray) -> Contributions:
    """Return DR with the residuals' weights divided by their sum."""
    return Contributions.mean(base).corrected(weight * (reward - fitted), weight)


def switch_dr(
    weight: FloatArray, reward: FloatArray, base: FloatArray, fitted: FloatArray, tau: float
) -> Contributions:
    """Return DR that trusts the model alone where w > tau (Wang, Agarwal, Dudik 2017); tau = inf is DR, 0 is DM."""
    return dr(switched(weight, tau), reward, base, fitted)


def dros(weight: FloatArray, reward: FloatArray, base: FloatArray, fitted: FloatArray, lam: float) -> Contributions:
    """Return DR with optimistically shrunk weights (Su et al. 2020, section 4); lam = inf is DR, 0 is DM."""
    return dr(shrunk(weight, lam), reward, base, fitted)


def switched(weight: FloatArray, tau: float) -> FloatArray:
    """Return w where w <= tau, else 0."""
    return np.where(weight <= tau, weight, 0.0)


def shrunk(weight: FloatArray, lam: float) -> FloatArray:
    """Return lam w / (w^2 + lam), at most sqrt(lam) / 2."""
    if np.isinf(lam):
        return weight
    square = weight**2 + lam
    return np.where(square > 0, lam * weight / np.where(square > 0, square, 1.0), 0.0)


def _nothing(weight: FloatArray) -> Contributions:
    return Contributions.mean(np.zeros(len(weight)))

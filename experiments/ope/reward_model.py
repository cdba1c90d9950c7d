"""What each action would have earned on each row: a ridge regression, fitted by folds, careful where data are few.

Level 1 is a linear mean over all actions; level 2 lets each action (at each position) differ from it, by a number and
by its own slopes, as far as its rows can carry: the ridge pulls what is different towards what is common. How hard it
pulls is chosen on rows held out of the training rows. A linear model of the mean is calibrated by construction: its
residuals sum to 0 on what it was fitted to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray
    from bidpilot.experiments.ope.logged import LoggedBandit

FOLDS = 5
PULLS = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
"""Strengths of the ridge to choose from, in rows: an action with so many rows is believed half."""
COMMON_PULL = 1.0
HELD_OUT = 3
"""One in so many training rows judges the strengths."""


def cross_fitted(log: LoggedBandit, rng: np.random.Generator, folds: int = FOLDS) -> FloatArray:
    """Return q (n, arms): the expected reward of every action, from a model that has not seen the row's fold.

    Groups stay together where there are at least as many as folds.
    """
    x, fold = design(log), _folds(log, folds, rng)
    q = np.empty((len(log), log.arms))
    for each in range(folds):
        seen = fold != each
        model = fit(x[seen], log.actions[seen], log.rewards[seen], log.arms, rng)
        q[~seen] = model.predict(x[~seen])
    return q


def design(log: LoggedBandit) -> FloatArray:
    """Return what the model sees (n, d): a column for each position after the first, then standardised features."""
    parts = [np.empty((len(log), 0))]
    if log.position is not None:
        parts.append((log.position[:, None] == np.unique(log.position)[None, 1:]).astype(np.float64))
    if log.features is not None:
        spread = log.features.std(axis=0)
        parts.append((log.features - log.features.mean(axis=0)) / np.where(spread > 0, spread, 1.0))
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class RewardModel:
    """common: (1 + d,) intercept and slopes of all actions. own: (arms, 1 + d) what is added. low, high: of rewards."""

    common: FloatArray
    own: FloatArray
    low: float
    high: float

    def predict(self, x: FloatArray) -> FloatArray:
        """Return the expected reward (n, arms) for x (n, d), kept in the range of the rewards seen."""
        return np.asarray(np.clip(_with_one(x) @ (self.common + self.own).T, self.low, self.high))


def fit(x: FloatArray, action: IntArray, reward: FloatArray, arms: int, rng: np.random.Generator) -> RewardModel:
    """Fit the model to rows x (n, d), action (n,), reward (n,); the strength is chosen on a third of them."""
    judge = rng.permutation(len(x)) % HELD_OUT == 0
    errors = [_held_out_error(x, action, reward, arms, pull, judge) for pull in PULLS]
    return _fit(x, action, reward, arms, PULLS[int(np.argmin(errors))])


def _held_out_error(
    x: FloatArray, action: IntArray, reward: FloatArray, arms: int, pull: float, judge: BoolArray
) -> float:
    if judge.all() or not judge.any():
        return 0.0
    model = _fit(x[~judge], action[~judge], reward[~judge], arms, pull)
    guess = model.predict(x[judge])[np.arange(int(judge.sum())), action[judge]]
    return float(((reward[judge] - guess) ** 2).mean())


def _fit(x: FloatArray, action: IntArray, reward: FloatArray, arms: int, pull: float) -> RewardModel:
    """Fit the common part, then each action's own to the residuals: ridge regressions, solved exactly."""
    one = _with_one(x)
    free = np.diag(np.append(0.0, np.full(x.shape[1], COMMON_PULL)))  # the common intercept is not pulled
    common = np.linalg.lstsq(one.T @ one + free, one.T @ reward, rcond=None)[0]
    residual, width = reward - one @ common, one.shape[1]
    square, cross = np.zeros((arms, width, width)), np.zeros((arms, width))
    order = np.argsort(action, kind="stable")
    for arm, rows in enumerate(np.split(order, np.searchsorted(action[order], np.arange(1, arms)))):
        square[arm], cross[arm] = one[rows].T @ one[rows], one[rows].T @ residual[rows]
    own = np.linalg.solve(square + pull * np.eye(width), cross[..., None])[..., 0]
    return RewardModel(common.astype(np.float64), own.astype(np.float64), float(reward.min()), float(reward.max()))


def _with_one(x: FloatArray) -> FloatArray:
    return np.concatenate([np.ones((len(x), 1)), x], axis=1)


def _folds(log: LoggedBandit, folds: int, rng: np.random.Generator) -> IntArray:
    """Return the fold (n,) of each row; what is smaller than the number of folds is split by rows."""
    group = np.arange(len(log)) if log.group is None else np.unique(log.group, return_inverse=True)[1]
    group = group if group.max() + 1 >= folds else np.arange(len(log))
    return np.asarray((rng.permutation(int(group.max()) + 1) % folds)[group], dtype=np.int64)

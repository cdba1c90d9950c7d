"""All estimators on one log, each with an interval, and the diagnostics beside them; or a refusal for a number."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.experiments.ope import bandit, sequential
from bidpilot.experiments.ope.contributions import interval_of, units
from bidpilot.experiments.ope.diagnostics import Diagnostics, Refusal, diagnose
from bidpilot.experiments.ope.fqe import start_value
from bidpilot.experiments.ope.logged import check_distribution
from bidpilot.experiments.ope.reward_model import cross_fitted
from bidpilot.experiments.ope.tuning import choose_lambda, choose_tau

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.experiments.ope.contributions import Contributions
    from bidpilot.experiments.ope.logged import LoggedBandit, LoggedEpisodes

REPLICATES = 2_000
FEW_UNITS = 20
"""A bootstrap over fewer groups falls short of its 95 %."""
ESTIMATORS = ("IPS", "SNIPS", "DM", "DR", "SNDR", "Switch-DR", "DRos")


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate with its 95 % interval; setting: the tau or lambda that was chosen, NaN where there is none.

    DM has no interval (NaN): its error is mostly the model's, which no resampling of rows shows.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")
    setting: float = float("nan")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What each estimator says, by its name: a figure, or why there is none."""

    results: dict[str, Figure | Refusal]
    diagnostics: Diagnostics
    logged: Figure
    """What the logging policy itself earned."""
    drawn: int
    """How many independent units (rows, days, episodes, or lots of them) the intervals draw."""

    def table(self) -> pd.DataFrame:
        """Return a row per estimator: estimator, value, low, high, setting, refused ("" where there is a figure)."""
        nothing = asdict(Figure(float("nan")))
        rows = [
            {"estimator": name, **nothing, "refused": found.sentence}
            if isinstance(found, Refusal)
            else {"estimator": name, **asdict(found), "refused": ""}
            for name, found in {"logged mean": self.logged, **self.results}.items()
        ]
        return pd.DataFrame(rows)

    def notes(self) -> list[str]:
        """Return in words why there are no numbers, if so, and what the weights are worth."""
        refused = [found.sentence for found in self.results.values() if isinstance(found, Refusal)]
        lines = [f"Refused: {sentence}." for sentence in dict.fromkeys(refused)]
        if refused and len(refused) < len(self.results):
            lines.append("What is left is the model's word alone: nothing in this log can check it.")
        elif not refused:
            lines.append("A figure without an interval is a model's: how wrong the model is, resampling does not show.")
        if self.drawn < FEW_UNITS:
            lines.append(f"The intervals draw {self.drawn} groups of rows; with so few they are too narrow.")
        return [*lines, *self.diagnostics.sentences()]


def evaluate(
    log: LoggedBandit, target: FloatArray, rng: np.random.Generator, replicates: int = REPLICATES
) -> Evaluation:
    """Estimate what a target (n, arms) would have earned per row, where the log can say it.

    The interval draws groups, or rows where there are none; the reward model is fitted once and held. Without enough
    weight only the model (DM) is left, unchecked; without support not even that. Raises InputError where the target is
    no distribution.
    """
    found, unit = diagnose(log, target), units(len(log), log.group, rng)
    seed = int(rng.integers(2**63))

    def figure(each: Contributions) -> Figure:
        return Figure(each.estimate, *interval_of(each, unit, replicates, seed))

    weightless, refusal = found.support_refusal(), found.refusal()
    results: dict[str, Figure | Refusal] = {}
    if refusal is not None:
        results = dict.fromkeys(ESTIMATORS, refusal)
    if weightless is None:
        q = cross_fitted(log, rng)
        weight, base, fitted = log.weights(target), (target * q).sum(axis=1), log.at_action(q)
        results["DM"] = Figure(bandit.dm(base).estimate)
        if refusal is None:
            rows = weight, log.rewards, base, fitted
            plain = {name: figure(part) for name, part in unshrunk(*rows).items()}
            results = {**results, **plain, **_shrunk(*rows, plain["DR"])}
            results = {name: results[name] for name in ESTIMATORS}
            gap = weight * (fitted - log.rewards)
            found = replace(found, gap=float(gap.mean()), gap_error=float(gap.std()) / len(log) ** 0.5)
    return Evaluation(results, found, figure(bandit.dm(log.rewards)), int(unit.max()) + 1)


def unshrunk(weight: FloatArray, reward: FloatArray, base: FloatArray, fitted: FloatArray) -> dict[str, Contributions]:
    """Return the estimators by full weights, by name; arguments (n,) as in bandit."""
    return {
        "IPS": bandit.ips(weight, reward),
        "SNIPS": bandit.snips(weight, reward),
        "DR": bandit.dr(weight, reward, base, fitted),
        "SNDR": bandit.sndr(weight, reward, base, fitted),
    }


def _shrunk(
    weight: FloatArray, reward: FloatArray, base: FloatArray, fitted: FloatArray, full: Figure
) -> dict[str, Figure]:
    """Return the estimators by shrunk weights, with the interval of DR (full), drawn out to hold their own value.

    Their own spread would hide what was cut from the weights: at tau 0 it is that of the model, next to nothing.
    """
    rows = weight, reward, base, fitted
    tau, lam = choose_tau(*rows), choose_lambda(*rows)
    values = {"Switch-DR": (bandit.switch_dr(*rows, tau), tau), "DRos": (bandit.dros(*rows, lam), lam)}
    return {
        name: Figure(part.estimate, min(full.low, part.estimate), max(full.high, part.estimate), setting)
        for name, (part, setting) in values.items()
    }


def evaluate_episodes(
    log: LoggedEpisodes,
    target: FloatArray,
    q: FloatArray,
    rng: np.random.Generator,
    discount: float = 1.0,
    replicates: int = REPLICATES,
) -> Evaluation:
    """Estimate a target's return per episode; target: (m, arms) its probabilities at every step.

    q: (m, arms) what fitted Q evaluation says at every step, best fitted to other episodes. FQE needs no weights: it
    is left where the others are refused. Intervals draw episodes. InputError where target is no distribution.
    """
    check_distribution("target", target, (len(log.actions), log.arms))
    rows = np.arange(len(log.actions))
    likely, value = target[rows, log.actions], (target * q).sum(axis=1)
    unit, seed = units(log.count, None, rng), int(rng.integers(2**63))

    def figure(each: Contributions) -> Figure:
        return Figure(each.estimate, *interval_of(each, unit, replicates, seed))

    found = sequential.diagnose_episodes(log, likely)
    refusal = found.refusal()
    parts = {
        "PDIS": sequential.pdis(log, likely, discount),
        "WPDIS": sequential.wpdis(log, likely, discount),
        "DR": sequential.sequential_dr(log, likely, q[rows, log.actions], value, discount),
    }
    results: dict[str, Figure | Refusal] = {name: refusal or figure(part) for name, part in parts.items()}
    results["FQE"] = Figure(float(start_value(log, value).mean()))
    return Evaluation(results, found, figure(sequential.pdis(log, log.propensity, discount)), int(unit.max()) + 1)

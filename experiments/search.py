"""The search for a policy's best settings: a few points spread over its space, then Optuna's TPE.

Bergstra et al., Algorithms for hyper-parameter optimization, NeurIPS 2011.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bidpilot.agents.space import TRIALS, Choice, Span, spread
from bidpilot.ctr.errors import InputError
from bidpilot.experiments.sealed import sealing

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.distributions import BaseDistribution

    from bidpilot.agents.base import PolicyConfig
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray


@dataclass(frozen=True)
class Trial:
    """Settings that were tried and their score on each day (days,)."""

    config: PolicyConfig
    scores: FloatArray

    @property
    def score(self) -> float:
        """The mean over the days."""
        return float(self.scores.mean())


def need_optuna() -> Any:  # noqa: ANN401 - a module
    """Return Optuna. Raises InputError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise InputError("tuning needs Optuna; pip install 'bidpilot[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every trial
    return optuna


@sealing("tuning")
def search(
    config: type[PolicyConfig], judge: Callable[[PolicyConfig], FloatArray], count: int, seed: int
) -> list[Trial]:
    """Return `count` trials in order, the default settings first, then the spread ones; one where nothing is tunable.

    judge: settings -> score on each day; called once for equal settings. The same seed gives the same trials.
    Raises InputError without Optuna.
    """
    space = config.space()
    judged: dict[PolicyConfig, Trial] = {}

    def trial(candidate: PolicyConfig) -> Trial:
        if candidate not in judged:
            judged[candidate] = Trial(candidate, judge(candidate))
        return judged[candidate]

    trials = [trial(candidate) for candidate in spread(config, min(count, TRIALS))]
    return trials + _tpe(trials, space, count - len(trials), seed, trial) if space else trials


def best_of_trials(trials: list[Trial]) -> Trial:
    """Return the trial with the highest score, the first of equals."""
    return max(trials, key=lambda trial: trial.score)


def _tpe(
    known: list[Trial], space: Space, count: int, seed: int, trial: Callable[[PolicyConfig], Trial]
) -> list[Trial]:
    """Return so many more trials, where the ones known lead to."""
    optuna = need_optuna()
    sampler = optuna.samplers.TPESampler(n_startup_trials=len(known), seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    where = {name: _distribution(field) for name, field in space.items()}
    for past in known:
        values = {name: getattr(past.config, name) for name in space}
        if all(inside(space[name], value) for name, value in values.items()):  # a default need not lie in the space
            params = {name: _param(space[name], value) for name, value in values.items()}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=where, value=past.score))
    found = []
    for _ in range(count):
        asked = study.ask(where)
        values = {name: _value(field, asked.params[name]) for name, field in space.items()}
        found.append(trial(replace(known[0].config, **values)))  # type: ignore[type-var]
        study.tell(asked, found[-1].score)
    return found


def inside(field: Span | Choice, value: Any) -> bool:  # noqa: ANN401 - whatever came
    """Tell whether a value is one that the field allows."""
    if isinstance(field, Choice):
        return value in field.options
    number = isinstance(value, int if field.whole else (int, float)) and not isinstance(value, bool)
    return number and field.low <= value <= field.high


def _distribution(field: Span | Choice) -> BaseDistribution:
    distributions = need_optuna().distributions
    if isinstance(field, Choice):
        return distributions.CategoricalDistribution(tuple(range(len(field.options))))  # type: ignore[no-any-return]
    if field.whole:
        return distributions.IntDistribution(round(field.low), round(field.high), log=field.log)  # type: ignore[no-any-return]
    return distributions.FloatDistribution(field.low, field.high, log=field.log)  # type: ignore[no-any-return]


def _param(field: Span | Choice, value: Any) -> Any:  # noqa: ANN401 - whatever the field holds
    """Return a field's value as Optuna knows it: a choice by its place."""
    return field.options.index(value) if isinstance(field, Choice) else value


def _value(field: Span | Choice, param: Any) -> Any:  # noqa: ANN401 - whatever the field holds
    return field.options[param] if isinstance(field, Choice) else param

"""The settings of a run: one frozen model that the command line, YAML files and saved runs share."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from bidpilot.agents.names import FROM_LOGS, LEARNERS
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.ctr.names import JOINT_MODELS, MODELS, PRICE_MODELS, find_model
from bidpilot.ctr.yamlfile import read_value, read_yaml
from bidpilot.envs.scenarios import SCENARIOS, find_scenario
from bidpilot.envs.types import Rules

if TYPE_CHECKING:
    from bidpilot.envs.scenario import Scenario

SYNTHETIC = "synthetic"
DATABRICKS = "databricks"
"""The one tracking server of MLflow's that is no URI."""
AUTO, ALL = "auto", "all"
"""Kinds of response model that stand for several."""


def _fraction(value: object) -> object:
    """Read 1/8 as a number."""
    try:
        return float(Fraction(value)) if isinstance(value, str) else value
    except (ValueError, ZeroDivisionError):
        return value


Share = Annotated[float, BeforeValidator(_fraction), Field(gt=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSettings(_Frozen):
    """The response model; epochs at most so many.

    kind: a name (dotted: a module of your own), several with commas between, of which the best is kept; all: every
    model there is; auto: the log's own predictions if it has any and no features, else the better of logistic and
    deepfm. members: fits from different
    seeds, whose mean predicts; more than one give simulated days a market each. selection: weight rows by 1 / P(win at
    the logged bid), at most this many times the mean; None: rows weigh alike. joint: a model of clicks and conversions
    together, in place of kind. worth: of a conversion, the same for all or log-normal given the features. calibration:
    how predictions are made to agree with what happened on the last training rows. segments: each segment's odds are
    made to agree, too, as far as its clicks tell. delay: what is done about conversions that may still come; weights:
    clicks so far are weighted to stand for final ones; dfm: a network of conversions and their delay; auto: weights
    where the log has the column conversion_time; none: labels are taken as they are. prices: the law of prices to beat,
    by name: table, the prices seen themselves; auto: the likeliest of several on the last training rows.
    """

    kind: str = "auto"
    epochs: int | None = Field(default=None, gt=0)
    members: int = Field(default=1, gt=0)
    selection: float | None = Field(default=None, gt=1)
    joint: str | None = None
    worth: Literal["mean", "lognormal"] = "mean"
    calibration: Literal["isotonic", "odds", "platt", "temperature", "none"] = "isotonic"
    segments: bool = False
    delay: Literal["auto", "weights", "dfm", "none"] = "auto"
    prices: str = "table"

    @property
    def names(self) -> tuple[str, ...]:
        """The models by name."""
        return tuple(name.strip() for name in self.kind.split(","))

    @field_validator("joint")
    @classmethod
    def _together(cls, joint: str | None) -> str | None:
        if joint is not None and joint not in JOINT_MODELS:
            raise ValueError(f"{joint!r} is no joint model; name one of {', '.join(JOINT_MODELS)}")
        return joint

    @field_validator("prices")
    @classmethod
    def _law(cls, prices: str) -> str:
        if prices != AUTO and prices not in PRICE_MODELS:
            raise ValueError(f"{prices!r} is no price model; name {AUTO} or one of {', '.join(PRICE_MODELS)}")
        return prices

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        names = [name.strip() for name in kind.split(",")]
        strange = [name for name in names if name not in MODELS and "." not in name]
        if kind not in {AUTO, ALL} and (strange or len(set(names)) < len(names)):
            what = f"{strange[0]!r} is no model" if strange else "a name comes twice"
            raise ValueError(f"{what}; name {AUTO}, {ALL}, or some of {', '.join(MODELS)}, or a module of your own")
        for name in names:
            if "." in name:
                find_model(name)
        return kind


class LearnerSettings(_Frozen):
    """The learner: algorithm, environment steps, copies played at once, validations during training.

    steps, envs, learning_rate, patience and minutes are for those that try things out; imitation, bc, td3bc and iql
    learn from logs, by settings of their own. patience: stop after so many validations in a row without a better one;
    None: never. minutes: stop training after so many; None: never.
    """

    algorithm: str = "ppo"
    steps: int = Field(default=200_000, gt=0)
    envs: int = Field(default=16, gt=0)
    learning_rate: float = Field(default=3e-4, gt=0)
    evaluations: int = Field(default=10, gt=0)
    patience: int | None = Field(default=None, gt=0)
    minutes: float | None = Field(default=None, gt=0)

    @field_validator("algorithm")
    @classmethod
    def _known(cls, algorithm: str) -> str:
        known = (*LEARNERS, *FROM_LOGS)
        if algorithm not in known:
            raise ValueError(f"{algorithm!r} is no learner; name one of {', '.join(known)}")
        return algorithm


class DaySettings(_Frozen):
    """How many simulated days: to train on, to validate on, to tune baselines on.

    opportunities: on a simulated day; None: as many as the log has in an episode, at most 20,000.
    evaluate: fresh days of the synthetic exchange. replicates: of the bootstrap. resampled: the fewest held-out
    episodes that are resampled as they are; with fewer, the impressions within them are.
    """

    train: int = Field(default=40, gt=1)
    validate_: int = Field(default=16, gt=1, alias="validate")
    tune: int = Field(default=12, gt=0)
    evaluate: int = Field(default=30, gt=1)
    opportunities: float | None = Field(default=None, ge=100)
    replicates: int = Field(default=200, ge=20)
    resampled: int = Field(default=10, gt=1)
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


class StreamSettings(_Frozen):
    """Logs larger than memory.

    above: a Parquet log of more rows than this is read in pieces; the response is learned from all its rows to learn
    from. sample: evenly spaced rows, at most, that all else is made of: the price law, the simulated market, the
    held-out rows of a comparison.
    """

    above: int = Field(default=5_000_000, ge=0)
    sample: int = Field(default=1_000_000, ge=1_000)


class Settings(_Frozen):
    """Everything that decides a run's numbers.

    log: path, or "synthetic". worth: of a click or conversion in currency (None: what one cost in the training
    days). tensorboard: write curves of fits and trainings there (needs bidpilot[tb]). mlflow: a folder, or the URI of a
    tracking server, that settings, curve and results are written to as well (needs bidpilot[mlflow]). budgets: shares
    of the held-out cost of winning everything. scenario: environment of the learner, package.module:NAME for one of
    your own. baselines: names; none: the usual ones; [all]: every policy there is.
    """

    log: str = SYNTHETIC
    format: str | None = None
    mapping: Path | None = None
    max_bad: float = Field(default=0.01, ge=0, le=1)
    strict: bool = False
    seed: int = Field(default=0, ge=0)
    threads: int = Field(default=1, gt=0)
    tensorboard: bool = False
    mlflow: str | None = None
    train_share: Share = 0.7
    ticks_per_day: int = Field(default=96, gt=0)
    goal: Literal["auto", "clicks", "conversions", "value"] = "auto"
    worth: float | None = Field(default=None, gt=0)
    auction: Literal["second_price", "first_price"] = "second_price"
    budgets: tuple[Share, ...] = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)
    scenario: str = "bidpilot/Pacing-v0"
    baselines: tuple[str, ...] = ()
    tuned: bool = True
    model: ModelSettings = ModelSettings()
    learner: LearnerSettings = LearnerSettings()
    days: DaySettings = DaySettings()
    stream: StreamSettings = StreamSettings()

    def located(self) -> Settings:
        """Return the settings with whole paths, which mean the same from every folder."""
        found: dict[str, Any] = {} if self.log == SYNTHETIC else {"log": str(Path(self.log).absolute())}
        if self.mapping is not None:
            found["mapping"] = self.mapping.absolute()
        if self.mlflow is not None and "://" not in self.mlflow and self.mlflow != DATABRICKS:
            found["mlflow"] = str(Path(self.mlflow).absolute())
        return self.model_copy(update=found)

    @field_validator("budgets")
    @classmethod
    def _some(cls, budgets: tuple[float, ...]) -> tuple[float, ...]:
        if not budgets or len(set(budgets)) < len(budgets):
            raise ValueError("name at least one share, and none twice")
        return budgets

    @field_validator("baselines")
    @classmethod
    def _once(cls, baselines: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(baselines)) < len(baselines):
            raise ValueError("name no policy twice")
        return baselines

    @field_validator("scenario")
    @classmethod
    def _known(cls, scenario: str) -> str:
        comparable = sorted(name for name, settings in SCENARIOS.items() if _comparable(settings))
        if not _comparable(find_scenario(scenario)):
            raise ValueError(
                f"{scenario} is for scripts of one's own (gym.make); a run compares policies of one campaign on plain "
                f"auctions, so it takes {', '.join(comparable)}"
            )
        return scenario


def _comparable(scenario: Scenario) -> bool:
    """Tell whether a run can train in a scenario and compare what comes of it with every other policy."""
    plain = scenario.rules == Rules()  # the auction is the setting of that name
    alone = scenario.environment in {"pacing", "targeting"} and scenario.limit is None
    varied = (scenario.price_scale, scenario.volume) != ((1.0, 1.0), (1.0, 1.0))
    return plain and alone and scenario.action == "continuous" and not varied


def load_settings(path: Path | None, overrides: dict[str, Any], sets: tuple[str, ...] = ()) -> Settings:
    """Resolve settings: defaults, then a YAML file, then flags (None = not given), then key=value pairs.

    Dotted keys reach nested settings (learner.steps=50000). Raises InputError naming each wrong setting and the
    known ones.
    """
    given: dict[str, Any] = dict(read_yaml(path)) if path else {}
    for name, value in overrides.items():
        if value is not None:
            _put(given, name, value)
    for pair in sets:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"--set expects key=value, got {pair!r}")
        _put(given, name.strip(), read_value(text))
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise InputError(_explain(error, f"{path}: " if path else "")) from error


def save_settings(settings: Settings, path: Path) -> None:
    """Write the resolved settings as YAML, atomically; load_settings reads them back."""
    write_atomically(path, yaml.safe_dump(settings.model_dump(mode="json", by_alias=True), sort_keys=False))


def budget_label(share: float) -> str:
    """Write a budget share as people do: 1/8, or 30 % where it is no unit fraction."""
    inverse = 1.0 / share
    return f"1/{round(inverse)}" if math.isclose(inverse, round(inverse)) else f"{100 * share:.3g} %"


def _put(given: dict[str, Any], name: str, value: object) -> None:
    *groups, last = name.split(".")
    for group in groups:
        given = given.setdefault(group, {})
        if not isinstance(given, dict):
            raise InputError(f"setting {group!r} is not a group; {name!r} cannot be set")
    given[last] = value


def _explain(error: ValidationError, where: str) -> str:
    """Say in one line what is wrong with which setting."""
    problems = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            group = _group(item["loc"][:-1])
            problems.append(f"unknown setting {name!r}; known: {', '.join(group.model_fields)}")
        else:
            problems.append(f"setting {name!r}: {item['msg'].removeprefix('Value error, ')}, got {item['input']!r}")
    return where + "; ".join(problems)


def _group(location: tuple[int | str, ...]) -> type[BaseModel]:
    group: type[BaseModel] = Settings
    for part in location:
        inner = group.model_fields[str(part)].annotation
        group = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else group
    return group

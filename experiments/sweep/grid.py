"""What a sweep plays: policies x scenarios x budgets x seeds, from a YAML file and the command line."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from bidpilot.agents.bundle import load_bundle
from bidpilot.agents.registry import find_policy, named
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.yamlfile import read_yaml
from bidpilot.envs.scenarios import SCENARIOS, find_scenario
from bidpilot.experiments.config import Share
from bidpilot.experiments.sweep.cell import Bundled, Cell, Plain, made_with

if TYPE_CHECKING:
    from bidpilot.envs.scenario import Scenario

ALL = "all"
BUNDLE = ".zip"
PLAYABLE = tuple(name for name, scenario in SCENARIOS.items() if scenario.environment != "ad_selection")
"""Scenarios of one campaign whose bids are all that a policy decides."""


def _counted(value: object) -> object:
    """Read a number n of seeds as the seeds 0..n-1."""
    return tuple(range(int(value))) if isinstance(value, str | int) and str(value).isdecimal() else value


Seed = Annotated[int, Field(ge=0)]


class SweepConfig(BaseModel):
    """Everything that decides a sweep's numbers.

    policies: names, dotted modules, or policy bundles (paths that end in .zip); none: the usual baselines; [all]: every
    policy there is. scenarios: registered names, or [all]. budgets: shares of what winning everything is expected to
    cost. seeds: a list, or how many; each has past days and days of its own. days: in each cell. opportunities: on a
    mean day; None: as the scenario has it. settings: of policies, by name and field; what is not given is default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    policies: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ("bidpilot/Pacing-v0",)
    budgets: tuple[Share, ...] = (1 / 2, 1 / 8, 1 / 32)
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_counted)] = (0, 1, 2)
    days: int = Field(default=20, gt=0)
    opportunities: float | None = Field(default=None, gt=0)
    settings: dict[str, dict[str, Any]] = {}

    @field_validator("policies", "scenarios", "budgets", "seeds")
    @classmethod
    def _once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError("name nothing twice")
        return values

    @field_validator("scenarios", "budgets", "seeds")
    @classmethod
    def _some(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values:
            raise ValueError("name at least one")
        return values


def load_sweep(path: Path | None, given: dict[str, Any]) -> SweepConfig:
    """Resolve a sweep: defaults, then a YAML file, then options (None = not given). Raises InputError."""
    told: dict[str, Any] = dict(read_yaml(path)) if path else {}
    try:
        return SweepConfig.model_validate(told | {name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        known = f"; known settings: {', '.join(SweepConfig.model_fields)}"
        raise InputError((f"{path}: " if path else "") + explain(error, known)) from error


def cells_of(config: SweepConfig, folder: Path) -> list[Cell]:
    """Return the cells in order, policies innermost: neighbours share their days. folder: where results go.

    Raises InputError for unknown names, scenarios that cannot be played, and settings that a policy does not have.
    """
    scenarios = {name: _scenario(name, config.opportunities) for name in _scenarios(config)}
    entries = _entries(config)
    made = {name: made_with(entry) for name, entry in entries.items()}
    return [
        Cell(policy, entry, name, scenario, budget, seed, config.days, made[policy], folder)
        for name, scenario in scenarios.items()
        for seed in config.seeds
        for budget in config.budgets
        for policy, entry in entries.items()
    ]


def _scenarios(config: SweepConfig) -> tuple[str, ...]:
    return PLAYABLE if config.scenarios == (ALL,) else config.scenarios


def _scenario(name: str, opportunities: float | None) -> Scenario:
    scenario = find_scenario(name)
    if name not in PLAYABLE:
        raise InputError(f"{name} is none that every policy can play; a sweep takes {', '.join(PLAYABLE)}")
    if opportunities is None:
        return scenario
    return replace(scenario, traffic=replace(scenario.traffic, opportunities=opportunities))


def _entries(config: SweepConfig) -> dict[str, Plain | Bundled]:
    """Return what plays, by name."""
    names = named(config.policies, "second_price")
    for name in config.settings:
        if name not in names or name.endswith(BUNDLE):
            raise InputError(f"settings are given for {name!r}, which is none of the policies: {', '.join(names)}")
    return {
        name: _bundled(Path(name)) if name.endswith(BUNDLE) else _plain(name, config.settings.get(name, {}))
        for name in names
    }


def _bundled(path: Path) -> Bundled:
    policy = load_bundle(path).policy
    return Bundled(hashlib.sha256(path.read_bytes()).hexdigest(), policy)


def _plain(name: str, settings: dict[str, Any]) -> Plain:
    """Return a policy with these settings instead of its defaults."""
    kind: Any = find_policy(name)
    known = [field.name for field in fields(kind)]
    strange = [field for field in settings if field not in known]
    if strange:
        raise InputError(f"{name} has no setting {strange[0]!r}; it has {', '.join(known) or 'none'}")
    try:
        return Plain(TypeAdapter(kind).validate_python(settings))
    except ValidationError as error:
        raise InputError(f"settings of {name}: {explain(error)}") from error


def explain(error: ValidationError, known: str = "") -> str:
    """Say in one line what is wrong with which setting."""
    problems = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            problems.append(f"unknown setting {name!r}{known}")
        else:
            problems.append(f"setting {name!r}: {item['msg'].removeprefix('Value error, ')}, got {item['input']!r}")
    return "; ".join(problems)

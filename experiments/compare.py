"""Stage 4: every baseline, tuned on training days, against the learner and the best that was possible."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.agents.oracle import Oracle
from bidpilot.agents.registry import find_policy, named
from bidpilot.agents.space import spread
from bidpilot.envs.timeline import Timeline
from bidpilot.experiments.claims import comparison_table, outcome, profile_table
from bidpilot.experiments.config import budget_label
from bidpilot.experiments.evaluate import Contender, Field, Played, play_all
from bidpilot.experiments.metrics import METRICS
from bidpilot.experiments.prepare import Arena, describe_days, evaluation_days
from bidpilot.experiments.run import provenance
from bidpilot.experiments.statistics import interval
from bidpilot.experiments.streams import stream
from bidpilot.experiments.train import load_trained
from bidpilot.experiments.tuned import Chosen, days_hash, read_tuned
from bidpilot.experiments.tuning import campaign_for, tune

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bidpilot.agents.base import PolicyConfig
    from bidpilot.ctr.types import FloatArray
    from bidpilot.experiments.run import Run
    from bidpilot.experiments.source import Source
    from bidpilot.experiments.tuned import Found

ORACLE = "oracle"


def compare(run: Run, source: Source, arena: Arena, say: Callable[[str], None] = print) -> pd.DataFrame:
    """Compare the run's baselines, its trained policy if there is one, and the oracle; return results.csv."""
    contenders = [*baselines(run, arena, say=say), *learners(run), oracle()]
    return judge(run, source, contenders, arena)


def judge(
    run: Run, source: Source, contenders: Sequence[Contender], arena: Arena, to: Run | None = None
) -> pd.DataFrame:
    """Play contenders on the evaluation days; write what came out and what they were played on.

    Writes results.csv, comparison.csv and profile.csv (see claims), and ticks.csv. arena: what may have been learnt
    from; its forecast is what policies are told. to: where to write, if not into the run itself.
    """
    settings, target = run.settings, to or run
    days = evaluation_days(run, source, arena.seen)
    rng = stream(settings.seed, "bootstrap")
    field = Field.of(days, settings.days.replicates, settings.days.resampled, rng)
    campaigns = {share: campaign_for(days, share, settings.auction, arena.full_cost) for share in settings.budgets}
    played = play_all(contenders, field, campaigns, stream(settings.seed, "policies"))
    traffic = days_hash(days)
    table = results_table(played, field, contenders, settings.budgets).assign(traffic_hash=traffic, **_made_by(run))
    target.write_table("results.csv", table)
    claims = comparison_table(played, field, contenders, settings.budgets)
    target.write_table("comparison.csv", claims)
    target.write_table("profile.csv", profile_table(played, field, contenders, settings.budgets))
    ticks = days[0].ticks
    target.write_table("ticks.csv", _ticks_table(played, ticks, Timeline(0.0, 86_400 / settings.ticks_per_day, ticks)))
    within = "impressions within each episode" if field.resampled_within else "whole days"
    how = f"95 % bootstrap, {len(field.draws)} replicates, resampling {within}, paired across policies"
    known = source.exchange is not None
    target.note(trials=_trials(contenders, settings.budgets), claims=outcome(claims))
    target.note(traffic_hash=traffic, evaluated_on=describe_days(source, days), intervals=how, truth_known=known)
    return table


def baselines(run: Run, arena: Arena, names: Sequence[str] = (), say: Callable[[str], None] = print) -> list[Contender]:
    """Return the named baselines, else the settings', else the usual ones (registry.named).

    They have the settings that bidpilot tune found; where it found none, the best of a few; untuned, their defaults.
    """
    configs = {name: find_policy(name) for name in named(names or run.settings.baselines, run.settings.auction)}
    chosen = _tuned(run, arena, configs, say) if run.settings.tuned else _defaults(configs, run.settings.budgets)
    built = {key: found.config.build(arena.past) for key, found in chosen.items()}
    return [
        Contender(
            name,
            "baseline",
            lambda _day, share, name=name: built[name, share],  # type: ignore[misc]
            lambda share, name=name: chosen[name, share].record,  # type: ignore[misc]
        )
        for name in configs
    ]


def _defaults(configs: Mapping[str, type[PolicyConfig]], shares: Sequence[float]) -> Found:
    return {(name, share): Chosen(config(), 1) for name, config in configs.items() for share in shares}


def _tuned(run: Run, arena: Arena, configs: Mapping[str, type[PolicyConfig]], say: Callable[[str], None]) -> Found:
    """Return what the run's tuned.json holds; what it lacks is the best of the spread settings."""
    settings = run.settings
    found, notes = read_tuned(run, arena, configs)
    for note in notes:
        say(note)
    for share in settings.budgets:
        missing = {name: config for name, config in configs.items() if (name, share) not in found}
        campaigns = {share: campaign_for(arena.tune, share, settings.auction, arena.past.forecast.full_cost)}
        quick = tune(missing, arena.past, arena.tune, campaigns) if missing else {}
        found |= {(name, at): Chosen(config, len(spread(type(config)))) for (name, at), config in quick.items()}
    return found


def learners(run: Run) -> list[Contender]:
    """Return the run's trained policy, or nothing where none was trained."""
    if not run.done("train"):
        return []
    policy, _, _ = load_trained(run)
    settings = run.settings.learner.model_dump_json()
    return [Contender(run.settings.learner.algorithm, "learner", lambda _day, _share: policy, lambda _share: settings)]


def oracle() -> Contender:
    """Return the best uniform multiplier in hindsight."""
    return Contender(ORACLE, "oracle", lambda day, _share: Oracle(day), lambda _share: "{}")


def _trials(contenders: Sequence[Contender], shares: Sequence[float]) -> dict[str, str]:
    """Say, for each baseline, after how many trials its settings at each budget were chosen (1: the default)."""
    tried = {
        c.name: [json.loads(c.settings(share))["trials"] for share in shares]
        for c in contenders
        if c.role == "baseline"
    }
    return {
        name: ", ".join(f"{count} at budget {budget_label(share)}" for count, share in zip(counts, shares, strict=True))
        for name, counts in tried.items()
    }


def _made_by(run: Run) -> dict[str, str | int]:
    """Return what every row of the results says of its making: the seed, the code and the versions."""
    told = provenance(run.settings)
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    return {"seed": told["seed"], "git_commit": told["git_commit"], "versions": versions}


def results_table(
    played: Played, field: Field, contenders: Sequence[Contender], shares: Sequence[float]
) -> pd.DataFrame:
    """Return one row per policy and budget: every metric with its interval, and the difference to the best baseline."""
    return pd.DataFrame([row for share in shares for row in _rows(played, field, contenders, share)])


def _rows(played: Played, field: Field, contenders: Sequence[Contender], share: float) -> list[dict[str, float | str]]:
    ratio = {c.name: field.draws_of(played.records[c.name, share], "r_over_rstar") for c in contenders}
    rivals = [c.name for c in contenders if c.role == "baseline"]
    best = max(rivals, key=lambda name: ratio[name][0], default="")
    rows = []
    for contender in contenders:
        row: dict[str, float | str] = {
            "policy": contender.name,
            "role": contender.role,
            "budget": share,
            "budget_label": budget_label(share),
            "budget_currency": played.campaigns[share].budget,
        }
        for entry in METRICS:
            row |= _with_interval(entry.name, field.draws_of(played.records[contender.name, share], entry.name))
        row |= _with_interval("difference", ratio[contender.name] - ratio.get(best, np.nan))
        rows.append(row | {"best_baseline": best, "config": contender.settings(share)})
    return rows


def _with_interval(name: str, draws: FloatArray) -> dict[str, float]:
    low, high = interval(float(draws[0]), draws[1:])
    return {name: float(draws[0]), f"{name}_low": low, f"{name}_high": high}


def _ticks_table(played: Played, ticks: int, timeline: Timeline) -> pd.DataFrame:
    """Return spend and ideal plan after every tick, as cumulative shares of the budget."""
    hour = (np.arange(ticks) + 1) * timeline.tick_seconds / 3600.0
    parts = [
        pd.DataFrame(
            {
                "policy": name,
                "budget": share,
                "budget_label": budget_label(share),
                "tick": np.arange(ticks),
                "hour": hour,
                "spent": spent,
                "planned": played.plans[share],
            }
        )
        for (name, share), spent in played.spent.items()
    ]
    return pd.concat(parts, ignore_index=True)


if __name__ == "__main__":
    from bidpilot.experiments.cli import main

    main("compare")

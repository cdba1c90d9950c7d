"""Stage 1: read the log, fit who clicks and converts and what impressions cost, and say how well."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.evaluation import evaluate_response
from bidpilot.ctr.files import write_atomically
from bidpilot.ctr.lateness import ripe
from bidpilot.ctr.log import SECONDS_PER_DAY
from bidpilot.ctr.metrics import reliability
from bidpilot.ctr.outlook import Level, Outlook, carried, volume_levels
from bidpilot.ctr.price_choice import CONTENDERS, ChosenPrices, choose_prices
from bidpilot.ctr.price_models.base import load_prices, save_prices, with_worth
from bidpilot.ctr.prices import HourlyPrices
from bidpilot.ctr.quarantine import write_quarantine
from bidpilot.ctr.response import FittedResponse
from bidpilot.ctr.selection import selection_weights
from bidpilot.ctr.types import MICROS
from bidpilot.envs.beliefs import Beliefs, Segments
from bidpilot.envs.goal import Goal
from bidpilot.envs.timeline import Timeline, timeline_of
from bidpilot.experiments.candidates import advice, candidate_table, fit_candidates
from bidpilot.experiments.config import AUTO
from bidpilot.experiments.source import Source, load_source
from bidpilot.experiments.stream_candidates import stream_candidates
from bidpilot.experiments.streams import stream

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import BoolArray, FloatArray
    from bidpilot.experiments.config import Settings
    from bidpilot.experiments.run import Run


def fit(run: Run, source: Source | None = None, *, resume: bool = False) -> pd.DataFrame:
    """Fit the models of a run, save them under its folder, and return the quality table (also fit.csv).

    models.csv compares the candidates. resume: go on from the checkpoints of a fit that was killed. Apart from those,
    everything is computed before the first file is written.
    """
    settings = run.settings
    source = source or load_source(settings)
    weight, weighed = won_weights(settings, source.train)
    journal = run.journal(resume=resume)
    of_fit = stream(settings.seed, "fit")
    if source.streamed is not None:
        candidates = stream_candidates(settings, source.train, source.streamed, of_fit)
    else:
        candidates = fit_candidates(settings, source.train, of_fit, weight, journal)
    response, report = candidates[0].response, candidates[0].report
    goal, note = goal_of(settings, source.train)
    of_prices = stream(settings.seed, "prices")
    known = source.train.frame["price_known"].any()
    market = fit_market(settings, source, response, goal, of_prices) if known else None
    final = ripe(source.log)[-len(source.held_out) :]
    quality, calibration = _quality(source, response, final, stream(settings.seed, "metrics"))
    compared = candidate_table(candidates, source.held_out, stream(settings.seed, "candidates"))
    run.begin()
    if len(source.quarantine):
        write_quarantine(source.quarantine, run.folder / "quarantine.csv")
    response.save(run.model / "response")
    if market is not None:
        _save_market(market.beliefs, market.prices, run.model)
        run.write_table("prices.csv", market.prices.table)
    for name, table in (("fit.csv", quality), ("calibration.csv", calibration), ("models.csv", compared)):
        if len(table):
            run.write_table(name, table)
    facts = source.facts | {"train_rows": len(source.train), "held_out_rows": len(source.held_out)}
    notes = [part for part in (*report.notes, told_young(source.held_out, final), note, weighed) if part]
    notes += market.notes if market else []
    run.note(log=facts, model=report.events[0].model, model_notes=notes, model_advice=advice(compared))
    run.finish("fit")
    run.journal(resume=False)
    return quality


def won_weights(settings: Settings, train: AuctionLog) -> tuple[FloatArray | None, str]:
    """Return weights (n,) by which won rows stand for all, and a sentence on them; None where rows weigh alike.

    By 1 / P(win at the row's own bid), from a law of prices by hour. Raises InputError where the log has no bids.
    """
    cap = settings.model.selection
    if cap is None:
        return None, ""
    frame = train.frame
    price, known, bid, won = (frame[name].to_numpy() for name in ("price", "price_known", "bid", "won"))
    if "bid" not in train or not known.any():
        raise InputError(f"{train.source}: model.selection needs the bids and the prices of the log; map both")
    nothing = np.zeros(len(train), dtype=np.int64)
    law = HourlyPrices.fit(np.where(known, price, bid), known, train.hour, nothing)
    chance = law.win_probability(bid, train.hour, nothing)[won]
    found = selection_weights(chance, cap)
    weight = np.ones(len(train))
    weight[won] = found.weight
    return weight, (
        f"won rows weigh 1 / P(win): {won.sum():,} of them say as much as {found.effective:,.0f} of equal weight; "
        f"{found.clipped:.1%} are at the cap"
    )


def load_beliefs(run: Run) -> Beliefs:
    """Load what fit saved. Raises InputError when the log had no prices, or nothing was fitted."""
    path = run.model / "beliefs.json"
    if not path.is_file():
        nothing = "its log knows no price to beat, so there is no market to simulate"
        reason = nothing if run.done("fit") else "run bidpilot fit first"
        raise InputError(f"{run.folder}: {reason}")
    known = json.loads(path.read_text())
    return Beliefs(
        FittedResponse.load(run.model / "response"),
        load_prices(run.model / "prices"),
        Segments(tuple(known["segments"])),
        Goal(**known["goal"]),
        Timeline(**known["timeline"]),
        Outlook(**known["outlook"]),
    )


@dataclass(frozen=True)
class FittedMarket:
    """What a market needs: beliefs, the price law as it was chosen, and sentences about both."""

    beliefs: Beliefs
    prices: ChosenPrices
    notes: list[str]


def fit_market(
    settings: Settings, source: Source, response: FittedResponse, goal: Goal, rng: np.random.Generator
) -> FittedMarket:
    """Fit the price laws on the training rows, carry levels to the held-out days, and put together what a market needs.

    Of the held-out rows nothing is used but between which times they lie.
    """
    train, timeline = source.train, timeline_of(source.log, source.held_out, settings.ticks_per_day)
    ends = source.held_out.frame["time"].to_numpy()[[0, -1]] / SECONDS_PER_DAY
    ahead = float(ends.mean())
    names = CONTENDERS if settings.model.prices == AUTO else (settings.model.prices,)
    valued = with_worth(train, goal.expected(response.predict(train)))
    prices = choose_prices(valued, names, ahead, rng)
    volume = carried(*volume_levels(train.frame["time"].to_numpy()), ahead)
    outlook = Outlook(prices.level.shift, volume.shift)
    beliefs = Beliefs(response, prices.model, Segments.of(train), goal, timeline, outlook)
    told = [told_level(name, level) for name, level in (("prices", prices.level), ("traffic", volume))]
    return FittedMarket(beliefs, prices, [prices.advice, *filter(None, told)])


def told_level(what: str, level: Level) -> str:
    """Say at what level the days ahead are simulated, and how much of a trend was believed; empty for no change."""
    if level == Level():
        return ""
    text = f"{what} of the days ahead are simulated {np.expm1(level.shift):+.1%} beside those learned from"
    if not np.isfinite(level.error):
        return f"{text} (last days weigh most; too few for a trend)"
    seen = f"{level.fitted:+.1%} +- {1.96 * level.error:.1%} a day seen"
    return f"{text} (last days weigh most; trend {seen}, {level.slope:+.1%} carried on)"


def goal_of(settings: Settings, train: AuctionLog) -> tuple[Goal, str]:
    """Return the goal and a note on its worth: by default what the log records, worth what it cost in training.

    Raises InputError for a worth where every conversion brings its own, and where a worth must be given because
    nothing was clicked or converted.
    """
    kind = settings.goal if settings.goal != "auto" else _recorded_goal(settings, train)
    if kind == "value":
        if settings.worth is not None:
            raise InputError("--worth is for clicks and conversions; here each conversion brings its own (--set goal=)")
        return Goal(kind), ""
    if settings.worth is not None:
        return Goal(kind, settings.worth), ""
    event, frame = kind[:-1], train.frame
    spent, events = float(frame["price"][frame["won"] & frame["price_known"]].sum()) / MICROS, int(frame[event].sum())
    if events and spent:
        return Goal(kind, spent / events), f"a {event} counts {spent / events:.4g}, what one cost in training (--worth)"
    if settings.goal != "auto":
        raise InputError(f"{train.source}: the training rows have {events} {event}s that cost {spent:g}; give --worth")
    return Goal(kind), f"a {event} counts 1: the training rows have {events} that cost {spent:g} (--worth)"


def _recorded_goal(settings: Settings, train: AuctionLog) -> Literal["clicks", "conversions", "value"]:
    """Return the goal that the training rows can be judged by; a worth given means that conversions count alike."""
    if "conversion" not in train or not train.frame["conversion"].any():
        return "clicks"
    return "value" if "value" in train and settings.worth is None else "conversions"


def _save_market(beliefs: Beliefs, prices: ChosenPrices, folder: Path) -> None:
    save_prices(folder / "prices", prices.name, prices.model)
    known = {
        "segments": list(beliefs.segments.names),
        "goal": asdict(beliefs.goal),
        "timeline": asdict(beliefs.timeline),
        "outlook": asdict(beliefs.outlook),
    }
    write_atomically(folder / "beliefs.json", json.dumps(known, indent=1))


def told_young(held_out: AuctionLog, final: BoolArray) -> str:
    """Say how many clicks are too young to judge conversions by; final: (n,) rows that are not. Empty for none."""
    clicked = held_out.frame["click"].to_numpy() == 1
    young, every = int((clicked & ~final).sum()), int(clicked.sum())
    judged = "conversions are judged on the others" if young < every else "no conversion can be judged"
    return f"{young:,} of {every:,} held-out clicks may still convert: {judged}" if young else ""


def _quality(
    source: Source, response: FittedResponse, final: BoolArray, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure the models on the held-out rows that were shown: the quality table and the calibration curves.

    final: (n,) rows whose conversion is no longer open.
    """
    held_out = source.held_out
    truth = source.truth.rows(slice(-len(held_out), None)) if source.truth else None
    quality = evaluate_response(response, held_out, rng, truth, final)
    predicted = response.predict(held_out)
    frame, curves = held_out.frame, []
    shown = frame["won"].to_numpy()
    clicked = shown & final & (frame["click"] == 1).to_numpy()
    for event, rate, rows in (("click", predicted.pctr, shown), ("conversion", predicted.pcvr, clicked)):
        if event in held_out and rows.sum() > 1:
            curve = reliability(frame[event].to_numpy()[rows] == 1, rate[rows])
            curves.append(curve.assign(event=event))
    return quality, pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()


if __name__ == "__main__":
    from bidpilot.experiments.cli import main

    main("fit")

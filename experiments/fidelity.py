"""Is the simulated market true to the held-out days? Traffic, wins, spend, clicks, prices and probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fidelity import (
    PRICES,
    QUANTITIES,
    DayNoise,
    HeldOutRows,
    arrivals,
    fidelity_table,
    periods,
)
from bidpilot.ctr.files import write_atomically
from bidpilot.ctr.log import SECONDS_PER_DAY, SECONDS_PER_HOUR
from bidpilot.ctr.prices import HOURS
from bidpilot.ctr.selection import excess_loss, selection_weights
from bidpilot.ctr.slices import by_decile, by_label, by_winning, calibration_table
from bidpilot.envs.market import SimulatedMarket, day_size, draw_days, members_of
from bidpilot.experiments.fidelity_policies import study_policies
from bidpilot.experiments.fidelity_policy_words import losses_table, policy_words, ranks_tables
from bidpilot.experiments.fidelity_words import terminal_table, words
from bidpilot.experiments.fit import load_beliefs
from bidpilot.experiments.plots_fidelity import fidelity_figure
from bidpilot.experiments.plots_ranks import ranks_figure
from bidpilot.experiments.plots_style import save
from bidpilot.experiments.prepare import LARGEST
from bidpilot.experiments.source import Source, load_source
from bidpilot.experiments.streams import stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.table import Table

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.beliefs import Beliefs
    from bidpilot.experiments.run import Run

TABLES = ("fidelity.csv", "fidelity_slices.csv", "fidelity_prices.csv")
"""What fidelity writes: totals and quantiles of won prices by hour, calibration by slice, quantiles of all prices."""

POLICY_TABLES = ("fidelity_ranks.csv", "fidelity_agreement.csv", "exploitation.csv")
"""And of policies: their values, how far their orders agree, and what is lost outside their simulator."""

FIGURES = ("fidelity.png", "fidelity_ranks.png")

COPIES = 200
"""Simulated copies of the held-out period; their 95 % range is what chance explains."""

DAYS = 100
"""Simulated days that the traffic of a period is put together from."""


def fidelity(run: Run, source: Source | None = None, say: Callable[[str], None] = print) -> pd.DataFrame:
    """Check a fitted run's market against its held-out days: write TABLES, POLICY_TABLES, FIGURES and fidelity.txt.

    Returns fidelity.csv (ctr/fidelity.fidelity_table). Raises InputError where nothing was fitted, the log knows no
    prices, or rows were lost and no bids are recorded. Everything is computed before the first file is written.
    """
    beliefs = load_beliefs(run)
    source = source or load_source(run.settings)
    of_bids, of_traffic, of_slices, of_policies = stream(run.settings.seed, "fidelity").spawn(4)
    market = SimulatedMarket.of(source.train, beliefs)
    rows = held_out_rows(source, beliefs, first_price=run.settings.auction == "first_price")
    arriving, arrived = traffic(source, market, of_traffic)
    simulated, logged, prices = at_logged_bids(rows, market, of_bids)
    table = fidelity_table(arriving | simulated, arrived | logged)
    slices = calibration(source, beliefs, of_slices)
    study = study_policies(run, source, beliefs, of_policies, say)
    finding, *details = words(table, slices, prices, facts_of(source, beliefs, rows))
    lines = [finding, *policy_words(study), *details]
    note = f"{len(source.held_out):,} held-out rows, {COPIES} simulated copies"
    figures = (
        fidelity_figure(table, slices[slices["event"] == "click"], prices, note),
        ranks_figure(study.ranks, study.agreement, study.reality),
    )
    pictures = [save(figure, "png") for figure in figures]
    for name, part in zip(TABLES + POLICY_TABLES, (table, slices, prices, *study.tables), strict=True):
        run.write_table(name, part)
    for name, picture in zip(FIGURES, pictures, strict=True):
        write_atomically(run.folder / name, picture)
    write_atomically(run.folder / "fidelity.txt", "\n".join(lines) + "\n")
    return table


def printed(folder: Path) -> list[Table]:
    """Return what fidelity left in a run's folder as tables for the terminal."""
    totals, ranks, losses = (pd.read_csv(folder / name) for name in (TABLES[0], POLICY_TABLES[0], POLICY_TABLES[2]))
    return [terminal_table(totals), *ranks_tables(ranks), losses_table(losses)]


def held_out_rows(source: Source, beliefs: Beliefs, *, first_price: bool = False) -> HeldOutRows:
    """Return the held-out rows with what the models say of them. Raises InputError where no bids are recorded."""
    log, response = source.held_out, beliefs.response.predict(source.held_out)
    pctr = np.array([member.predict(log).pctr for member in members_of(beliefs.response)] or [response.pctr])
    laws = beliefs.laws(log, beliefs.goal.expected(response)).swift()
    return HeldOutRows.of(log, pctr, laws, first_price=first_price)


def at_logged_bids(
    rows: HeldOutRows, market: SimulatedMarket, rng: np.random.Generator
) -> tuple[dict[str, FloatArray], dict[str, FloatArray], pd.DataFrame]:
    """Return wins, spend, clicks, PRICES by name, simulated (COPIES, 25) and logged (25,), and HeldOutRows.prices."""
    noise = DayNoise(market.level, market.drift)
    every = [rows.simulate(noise, each) for each in rng.spawn(COPIES)]
    copies, drawn = (np.array([part[place] for part in every]) for place in (0, 1))
    names = (*QUANTITIES[1:], *PRICES)
    simulated = dict(zip(names, copies.swapaxes(0, 1), strict=True))
    return simulated, dict(zip(names, rows.logged, strict=True)), rows.prices(drawn)


def traffic(
    source: Source, market: SimulatedMarket, rng: np.random.Generator
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Return opportunities by name: simulated (COPIES, 25), and logged (25,)."""
    logged, covered = arrivals(source.held_out)
    line = market.beliefs.timeline
    length = line.ticks * line.tick_seconds
    size = day_size(source.train, market.beliefs)
    drawn = replace(market, size=min(size, LARGEST))  # more make days slower, not different
    hour = ((line.start + np.arange(line.ticks) * line.tick_seconds) // SECONDS_PER_HOUR).astype(np.int64) % HOURS
    days = np.array([np.bincount(hour[day.seen.tick], minlength=HOURS) for day in draw_days(drawn, DAYS, rng)])
    if length != SECONDS_PER_DAY:  # one episode is the whole period
        covered = np.ones(HOURS, dtype=np.int64)
    name = QUANTITIES[0]
    return {name: periods(days * (size / drawn.size), covered, COPIES, rng)}, {name: logged}


def calibration(source: Source, beliefs: Beliefs, rng: np.random.Generator) -> pd.DataFrame:
    """Return ctr/slices.calibration_table of clicks on what was shown, and of conversions on what was clicked.

    More columns: event, and covers_one (the ratio's interval holds 1). Raises InputError where nothing was shown.
    """
    log, response = source.held_out, beliefs.response.predict(source.held_out)
    frame, parts = log.frame, []
    worth = np.where(frame["price_known"], beliefs.goal.expected(response), 0.0)  # no price: nobody knows who would win
    shown = frame["won"].to_numpy()
    clicked = shown & (frame["click"] == 1).to_numpy()
    for event, p, rows in (("click", response.pctr, shown), ("conversion", response.pcvr, clicked)):
        if event not in log or not rows.any():
            continue
        slices = [*by_decile(p[rows]), *by_label("segment", frame["segment"][rows]), *by_label("hour", log.hour[rows])]
        slices += by_winning(frame["price"].to_numpy()[rows], worth[rows])
        table = calibration_table(frame[event].to_numpy()[rows] == 1, p[rows], slices, rng)
        covers = (table["ratio_low"] <= 1.0) & (table["ratio_high"] >= 1.0)
        parts.append(table.assign(event=event, covers_one=covers))
    if not parts:
        raise InputError(f"{log.source}: none of the held-out rows was shown; there are no clicks to compare with")
    return pd.concat(parts, ignore_index=True)


def facts_of(source: Source, beliefs: Beliefs, rows: HeldOutRows) -> dict[str, float]:
    """Return what else the words tell: rows, shown, weighted_ratio and effective_rows, excess where truth is known.

    weighted_ratio: predicted over actual clicks on rows shown that weigh 1 / P(win) (ctr/selection). excess: per cent
    of expected log loss above the truth's, over all held-out opportunities.
    """
    response, shown = beliefs.response.predict(source.held_out), rows.won
    found = {"rows": float(len(shown)), "shown": float(shown.sum())}
    priced = shown & (rows.bid > 0)  # else P(win) is not that of a bid
    if rows.click[priced].any():
        weights = selection_weights(rows.laws.cdf(rows.bid)[priced])
        found["weighted_ratio"] = float(weights.weight @ response.pctr[priced] / (weights.weight @ rows.click[priced]))
        found["effective_rows"] = weights.effective
    if source.truth is not None:
        found["excess"] = excess_loss(source.truth.pctr[-len(shown) :], response.pctr)
    return found


if __name__ == "__main__":
    from bidpilot.experiments.cli import main

    main("fidelity")

"""Is the simulated market true to the held-out days? Traffic, wins, spend, clicks, prices and probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fidelity import (
    PRICES,
    QUANTITIES,
    WHOLE,
    DayNoise,
    HeldOutRows,
    arrivals,
    failures,
    fidelity_table,
    periods,
)
from bidpilot.ctr.files import write_atomically
from bidpilot.ctr.log import SECONDS_PER_DAY, SECONDS_PER_HOUR
from bidpilot.ctr.prices import HOURS
from bidpilot.ctr.selection import excess_loss, selection_weights
from bidpilot.ctr.slices import by_decile, by_label, by_winning, calibration_table
from bidpilot.envs.market import SimulatedMarket, day_size, draw_days, members_of
from bidpilot.experiments.fit import load_beliefs
from bidpilot.experiments.plots_fidelity import fidelity_figure
from bidpilot.experiments.plots_style import save
from bidpilot.experiments.prepare import LARGEST
from bidpilot.experiments.source import Source, load_source
from bidpilot.experiments.streams import stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.beliefs import Beliefs
    from bidpilot.experiments.run import Run

TABLES = ("fidelity.csv", "fidelity_slices.csv", "fidelity_prices.csv")
"""What fidelity writes: totals and quantiles of won prices by hour, calibration by slice, quantiles of all prices."""

COPIES = 200
"""Simulated copies of the held-out period; their 95 % range is what chance explains."""

MEDIAN = 0.5

DAYS = 100
"""Simulated days that the traffic of a period is put together from."""


def fidelity(run: Run, source: Source | None = None) -> pd.DataFrame:
    """Check a fitted run's market against its held-out days: write TABLES, fidelity.png and fidelity.txt.

    Returns fidelity.csv (ctr/fidelity.fidelity_table). Raises InputError where nothing was fitted, the log knows no
    prices, or rows were lost and no bids are recorded. Everything is computed before the first file is written.
    """
    beliefs = load_beliefs(run)
    source = source or load_source(run.settings)
    of_bids, of_traffic, of_slices = stream(run.settings.seed, "fidelity").spawn(3)
    market = SimulatedMarket.of(source.train, beliefs)
    rows = held_out_rows(source, beliefs, first_price=run.settings.auction == "first_price")
    arriving, arrived = traffic(source, market, of_traffic)
    simulated, logged, prices = at_logged_bids(rows, market, of_bids)
    table = fidelity_table(arriving | simulated, arrived | logged)
    slices = calibration(source, beliefs, of_slices)
    lines = words(table, slices, prices, facts_of(source, beliefs, rows))
    note = f"{len(source.held_out):,} held-out rows, {COPIES} simulated copies"
    picture = save(fidelity_figure(table, slices[slices["event"] == "click"], prices, note), "png")
    for name, part in zip(TABLES, (table, slices, prices), strict=True):
        run.write_table(name, part)
    write_atomically(run.folder / "fidelity.png", picture)
    write_atomically(run.folder / "fidelity.txt", "\n".join(lines) + "\n")
    return table


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


def words(table: pd.DataFrame, slices: pd.DataFrame, prices: pd.DataFrame, facts: dict[str, float]) -> list[str]:
    """Return sentences about the tables of fidelity and facts_of, the finding first."""
    clicks = _clicks(slices[slices["event"] == "click"], facts)
    return [_finding(table, facts), *_by_hour(table), *_all_prices(prices), *clicks]


def _all_prices(prices: pd.DataFrame) -> list[str]:
    """Say how right the law of all prices is, won and lost, and up to where the log tells."""
    total = prices[prices["hour"] == WHOLE]
    if total.empty:
        return []
    top, middle = total.iloc[0], total[total["level"] == MEDIAN]
    known = f"identified up to {top['identified']:.4g}, {top['identified_share']:.0%} of them"
    text = f"Prices, lost auctions included (Kaplan-Meier, {known})"
    if len(middle):
        row = middle.iloc[0]
        span = f"[{row['low']:.4g}, {row['high']:.4g}]"
        text += f": the median is simulated at {row['simulated']:.4g}, logged at {row['logged']:.4g} {span}"
    hours = prices[prices["hour"] != WHOLE]
    close, noise = hours["within_5_percent"], hours["explained_by_noise"]
    chance, off = int((~close & noise).sum()), int((~close & ~noise).sum())
    held = (
        f"by hour {int(close.sum())} of {len(hours)} quantiles are within 5 %, {chance} more within chance, {off} off"
    )
    return [f"{text}; {held}."]


def _finding(table: pd.DataFrame, facts: dict[str, float]) -> str:
    off, rows = failures(table), f"{facts['rows']:,.0f} held-out opportunities"
    if off:
        what = "off by more than 5 % and by more than simulated days differ among themselves"
        return f"The simulated market is not true to the {rows} in {', '.join(off)}: {what}."
    whole = table[table["hour"] == WHOLE].set_index("quantity").loc[list(QUANTITIES)]
    close = [str(name) for name in whole.index[whole["within_5_percent"]]]
    far = [f"{name} {row['ratio'] - 1.0:+.1%}" for name, row in whole[~whole["within_5_percent"]].iterrows()]
    lines = [f"On the {rows} the simulated market is within 5 % of the log in {', '.join(close) or 'nothing'}"]
    if far:
        lines.append(f"further off, but by no more than simulated days differ among themselves, in {', '.join(far)}")
    return f"{'; '.join(lines)}."


def _by_hour(table: pd.DataFrame) -> list[str]:
    """Say how many hourly figures are off, against how many chance would put there."""
    hours = table[table["hour"] != WHOLE]
    lines = []
    for what, names in (("figures", QUANTITIES), ("quantiles of the price of what was won", PRICES)):
        rows = hours[hours["quantity"].isin(names)]
        close, noise = rows["within_5_percent"], rows["explained_by_noise"]
        chance, off = int((~close & noise).sum()), int((~close & ~noise).sum())
        text = f"By hour {int(close.sum())} of {len(rows)} {what} are within 5 %"
        lines.append(f"{text}, {chance} more within chance, {off} off.")
    return lines


def _clicks(slices: pd.DataFrame, facts: dict[str, float]) -> list[str]:
    """Say how right the click rates are: overall, by slice, where bids by worth win, and against the truth."""
    if slices.empty:
        return []
    overall, won = slices.iloc[0].to_dict(), slices[slices["slice"] == "won"].to_dict("records")
    rest = slices[slices["slice"].isin(("decile", "segment", "hour"))]
    held = f"{int(rest['covers_one'].sum())} of {len(rest)} intervals by decile, segment and hour hold 1"
    lines = [f"Predicted clicks are {_interval(overall)} of the actual on what was shown; {held}."]
    won = [row for row in won if np.isfinite(row["ratio"])]  # else nobody clicked there
    if won:
        shares = ", ".join(f"{_interval(row)} on the first {row['name']}" for row in won)
        lines.append(f"Where bids in proportion to worth win (above 1 is the winner's curse): {shares}.")
    if "weighted_ratio" in facts:
        lines.append(f"With rows weighted to stand for the lost ones too: {facts['weighted_ratio']:.3f}.")
    if "excess" in facts:
        text = f"The expected log loss of clicks is {facts['excess']:.2f} % above that of the true probabilities"
        lines.append(f"{text}, over all held-out opportunities.")
    return lines


def _interval(row: Mapping[Any, Any]) -> str:
    return f"{row['ratio']:.3f} [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]"


def terminal_table(table: pd.DataFrame) -> Table:
    """Return the totals over all hours of the table of fidelity as a table for the terminal."""
    shown = Table(title="held-out days, simulated at the logged bids", box=SIMPLE_HEAD, title_justify="left")
    shown.add_column("quantity", no_wrap=True)
    for label in ("logged", "simulated", "simulated/logged", "95 % of periods", "verdict"):
        shown.add_column(label, justify="right", no_wrap=True)
    for row in table[table["hour"] == WHOLE].to_dict("records"):
        verdict = "within 5 %" if row["within_5_percent"] else "chance" if row["explained_by_noise"] else "off"
        span = f"{row['low']:.3f} to {row['high']:.3f}"
        figures = (f"{row['logged']:,.6g}", f"{row['simulated']:,.6g}", f"{row['ratio']:.3f}", span, verdict)
        shown.add_row(row["quantity"], *figures)
    return shown


if __name__ == "__main__":
    from bidpilot.experiments.cli import main

    main("fidelity")

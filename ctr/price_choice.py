"""Which price law drives the market: each fitted to the first training rows, judged on the last, the best on all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.ctr.outlook import Level, carried, price_levels
from bidpilot.ctr.price_models.base import Observed, price_config, telling
from bidpilot.ctr.price_quality import likelihood, pit

if TYPE_CHECKING:
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.price_models.base import FittedPrices

TABLE = "table"
"""The law that others are compared with."""

CONTENDERS = (TABLE, "lognormal", "mixture", "hazard")
"""What auto tries."""

FIRST = 0.85
"""Share of rows to learn from; the others stop a fit early, or judge it."""

DAY_ROWS = 5_000
"""Rows of a day, at most, that tell its level."""


@dataclass(frozen=True)
class ChosenPrices:
    """The law to use. table: prices.csv, see compared. advice: why, in a sentence. level: of the days ahead."""

    name: str
    model: FittedPrices
    table: pd.DataFrame
    advice: str
    level: Level


def choose_prices(log: AuctionLog, names: tuple[str, ...], ahead: float, rng: np.random.Generator) -> ChosenPrices:
    """Fit the laws named, and keep the likeliest on the last training rows. ahead: day number of the days to come.

    Rows that say nothing of their price are left out. Raises InputError where no price is known.
    """
    told = log.rows(telling(log))
    of_fits, of_pit, of_last, of_level = rng.spawn(4)
    table = compared(told, names, of_fits, of_pit)
    best = str(table["model"].iloc[0])
    model = _fitted(best, told, of_last)
    level = _level(model, told, ahead, of_level)
    return ChosenPrices(best, model, table, advice(table), level)


def compared(
    log: AuctionLog, names: tuple[str, ...], of_fits: np.random.Generator, of_pit: np.random.Generator
) -> pd.DataFrame:
    """Judge laws, and the table beside them, on the last rows of a log, which no fit has seen: the likeliest first.

    Columns: model, anlp, anlp_low, anlp_high, gain, gain_low, gain_high (over the table; see price_quality.likelihood),
    pit, pit_bound (see price_quality.pit). Of the names given the best comes first, whatever the table's place.
    """
    cut = _cut(len(log))
    early, late = log.rows(slice(0, cut)), log.rows(slice(cut, len(log)))
    every = tuple(dict.fromkeys((*names, TABLE)))
    laws = {
        name: _fitted(name, early, stream).laws(late).swift()
        for name, stream in zip(every, of_fits.spawn(len(every)), strict=True)
    }
    seen, rows = Observed.of(late), []
    for name, stream in zip(every, of_pit.spawn(len(every)), strict=True):
        found, even = likelihood(laws[name], seen, laws[TABLE]), pit(laws[name], seen, stream)
        rows.append({"model": name, **found, "pit": even.gap, "pit_bound": even.bound, "asked": name in names})
    table = pd.DataFrame(rows).sort_values(["asked", "anlp"], ascending=[False, True], ignore_index=True)
    return table.drop(columns="asked")


def advice(table: pd.DataFrame) -> str:
    """Say which law prices are drawn from, and by how much it is likelier than the table."""
    best, rest = table.iloc[0], table.iloc[1:]
    score = f"{best['anlp']:.3f} nats a row [{best['anlp_low']:.3f}, {best['anlp_high']:.3f}]"
    lines = [f"prices follow {best['model']}: minus the log likelihood of the last training rows is {score}"]
    if best["model"] != TABLE:
        lines.append(f"{best['gain']:.3f} [{best['gain_low']:.3f}, {best['gain_high']:.3f}] below the table's")
    others = ", ".join(f"{name} {score:.3f}" for name, score in zip(rest["model"], rest["anlp"], strict=True))
    return "; ".join([", ".join(lines), *filter(None, [others])])


def _fitted(name: str, log: AuctionLog, rng: np.random.Generator) -> FittedPrices:
    cut = _cut(len(log))
    return price_config(name).fit(log.rows(slice(0, cut)), log.rows(slice(cut, len(log))), rng)


def _cut(count: int) -> int:
    return max(int(FIRST * count), 1)


def _level(model: FittedPrices, log: AuctionLog, ahead: float, rng: np.random.Generator) -> Level:
    """Return the price level of the days ahead, from as many rows of each day as tell it well enough."""
    number, day, count = np.unique(log.day, return_inverse=True, return_counts=True)
    kept = rng.random(len(log)) < np.minimum(DAY_ROWS / count, 1.0)[day]
    whole = 2 * count >= count.max()
    kept &= whole[day]
    part, learned = log.rows(kept), np.arange(len(log))[kept] < (_cut(len(log)) if model.stops else len(log))
    if whole.sum() < 2 or not learned.any():  # noqa: PLR2004 - nothing to compare
        return Level()
    day = np.unique(day[kept], return_inverse=True)[1]
    levels = price_levels(model.laws(part).swift(), Observed.of(part), day, learned)
    return carried(number[whole] + 0.5, levels, ahead)

"""How well price laws find prices that a log hides: iPinYou's, of which we hide those above bids drawn at random.

Run: python -m bidpilot.experiments.benchmarks.price_quality --data DIR (or BIDPILOT_DATA), DIR having ipinyou_hourly
and ipinyou_raw. Every price of these logs is known (up to the buyer's flat bid), so what a law says of the hidden ones
can be checked. Beside each law two more of its kind: fitted to the wins alone, which is what a log shows at first
sight, and to all prices, which shows what hiding costs. --markdown: as in the README.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.names import PRICE_MODELS
from bidpilot.ctr.price_models.base import ABOVE, EXACT, Observed, price_config
from bidpilot.ctr.price_quality import likelihood, pit
from bidpilot.ctr.readers import read_log

if TYPE_CHECKING:
    from bidpilot.ctr.price_models.base import FittedPrices, PriceLaws
    from bidpilot.ctr.types import IntArray

LOGS = ("ipinyou_hourly/1458.csv.gz", "ipinyou_hourly/2259.csv.gz", "ipinyou_raw/2259_train_1pct.csv.gz")
MOST = 60_000
"""Rows of a log that are used, evenly from all of it."""

SHARES = (0.6, 0.15)
"""Of the rows, to fit to and to stop early by; the others are judged on. Drawn at random: what differs is chance."""

SPREAD = 0.4
"""Log-sd of the bids drawn around the median price."""


def main() -> None:
    """Hide, fit, compare, print."""
    given = _arguments()
    try:
        tables = {name: quality_table(given.data, name) for name in LOGS}
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    for name, table in tables.items():
        text = _markdown(table) if given.markdown else table.to_string(index=False)
        sys.stdout.write(f"{name}\n\n{text}\n\n")


def quality_table(data: Path | None, name: str, models: tuple[str, ...] = PRICE_MODELS) -> pd.DataFrame:
    """Fit price models to a log with hidden prices, to its wins, and to all prices; judge them on other rows.

    Columns: model, fitted to (all rows, wins, or all prices), anlp (of the other rows as the log shows them, see
    price_quality.likelihood), gain (over the one law of Kaplan & Meier on all rows) with its interval, hidden (minus
    the mean log density at the prices that the log hides), error (largest distance of the mean law from the true
    distribution of prices), both up to the bid that 5 % exceed; pit and bound (see price_quality.pit).
    """
    log = read_log(_there(data, name)).log
    log = log.rows(np.linspace(0, len(log) - 1, min(MOST, len(log))).astype(np.int64))
    shown, price = hidden(log, np.random.default_rng(0))
    parts = _split(len(log), np.random.default_rng(3))
    test, rows = shown.rows(parts[2]), []
    base = _fitted("kaplan_meier", shown, parts).laws(test)
    for model in tqdm(models, desc=name, unit="model", disable=None):
        fits = {"all rows": (shown, parts), "wins": (shown, _wins(shown, parts)), "all prices": (log, parts)}
        for kind, (source, rows_of) in fits.items():
            laws = _fitted(model, source, rows_of).laws(test)
            rows.append({"model": model, "fitted to": kind, **_judged(laws, Observed.of(test), base, price[parts[2]])})
    return pd.DataFrame(rows)


def hidden(log: AuctionLog, rng: np.random.Generator) -> tuple[AuctionLog, IntArray]:
    """Return a log whose prices above drawn bids are hidden, and all prices (n,).

    Bids are whole multiples of what prices are multiples of, as a buyer's are: ties occur.
    """
    price = log.frame["price"].to_numpy()
    step = np.gcd.reduce(price)
    bid = np.median(price) * np.exp(SPREAD * rng.standard_normal(len(price)))
    bid = step * np.rint(bid / step).astype(np.int64)
    won = bid >= price
    frame = log.frame.assign(bid=bid, won=won, price_known=won, price=np.where(won, price, 0))
    return AuctionLog(frame, log.categorical, log.numeric, log.recorded, log.currency, log.source, log.multi), price


def _split(count: int, rng: np.random.Generator) -> list[IntArray]:
    """Return the rows to fit to, to stop early by and to be judged on, each in order."""
    cuts = np.cumsum(np.rint(np.array(SHARES) * count)).astype(np.int64)
    return [np.sort(part) for part in np.split(rng.permutation(count), cuts)]


def _wins(log: AuctionLog, parts: list[IntArray]) -> list[IntArray]:
    won = log.frame["won"].to_numpy()
    return [part[won[part]] for part in parts]


def _fitted(model: str, log: AuctionLog, parts: list[IntArray]) -> FittedPrices:
    return price_config(model).fit(log.rows(parts[0]), log.rows(parts[1]), np.random.default_rng(1))


def _judged(laws: PriceLaws, seen: Observed, base: PriceLaws, true: IntArray) -> dict[str, float]:
    reach = float(np.quantile(seen.bid, 0.95))
    grid = np.quantile(true[true <= reach], np.linspace(0.05, 1.0, 20))
    gaps = [abs(float(laws.cdf(np.full(len(true), at)).mean()) - float((true <= at).mean())) for at in grid]
    found = likelihood(laws, seen, base)
    uneven = pit(laws, _dithered(seen, true, np.random.default_rng(2)), np.random.default_rng(4))
    kept = {name: found[name] for name in ("anlp", "gain", "gain_low", "gain_high")}
    missed = (seen.kind == ABOVE) & (true <= reach)
    shown = Observed(true, np.full(len(true), EXACT, dtype=np.int8), seen.bid)
    hidden_loss = -float(laws.log_likelihood(shown)[missed].mean())
    return kept | {"hidden": hidden_loss, "error": max(gaps), "pit": uneven.gap, "bound": uneven.bound}


def _dithered(seen: Observed, true: IntArray, rng: np.random.Generator) -> Observed:
    """Return known prices drawn from (price - step, price]: P(price <= observed) of whole steps is not uniform."""
    lower = rng.integers(0, np.gcd.reduce(true), len(true))
    return Observed(np.where(seen.kind == EXACT, np.maximum(seen.amount - lower, 1), seen.amount), seen.kind, seen.bid)


def _there(data: Path | None, name: str) -> Path:
    if data is None or not (data / name).is_file():
        raise InputError(f"{name} is not in {data}; give --data (or BIDPILOT_DATA) the folder that has ipinyou_hourly")
    return data / name


def _markdown(table: pd.DataFrame) -> str:
    lines = [f"| {' | '.join(table.columns)} |", "|---|---|" + "---:|" * (len(table.columns) - 2)]
    rows = ([cell if isinstance(cell, str) else f"{cell:.4f}" for cell in row] for row in table.itertuples(index=False))
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="price_quality", description=__doc__)
    known = os.environ.get("BIDPILOT_DATA")
    parser.add_argument("--data", type=Path, default=Path(known) if known else None, help="folder of the iPinYou logs")
    parser.add_argument("--markdown", action="store_true", help="print as the README has it")
    return parser.parse_args()


if __name__ == "__main__":
    main()

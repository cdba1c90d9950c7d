"""How well price laws find prices that a log hides: iPinYou's, of which we hide those above bids drawn at random.

Run: python -m bidpilot.experiments.benchmarks.price_quality --data DIR (or BIDPILOT_DATA), DIR having ipinyou_hourly
and ipinyou_raw. Every price of these logs is known (up to the buyer's flat bid), so what a law says of the hidden ones
can be checked. Beside each law the fit to the wins alone, which is what a log shows at first sight. --markdown: as in
the README.
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.names import PRICE_MODELS
from bidpilot.ctr.price_models.base import Observed, price_config
from bidpilot.ctr.price_quality import likelihood, pit
from bidpilot.ctr.readers import read_log

if TYPE_CHECKING:
    from bidpilot.ctr.price_models.base import FittedPrices, PriceLaws
    from bidpilot.ctr.types import IntArray

LOGS = ("ipinyou_hourly/1458.csv.gz", "ipinyou_hourly/2259.csv.gz", "ipinyou_raw/2259_train_1pct.csv.gz")
MOST = 60_000
"""Rows of a log that are used, the first ones."""

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


def quality_table(data: Path | None, name: str) -> pd.DataFrame:
    """Fit every price model to a log with hidden prices, and to its wins alone; judge both on later rows.

    Columns: model, fitted to (all rows, or wins), anlp (minus the mean log likelihood of what later rows show), gain
    (over the one law of Kaplan-Meier on all rows) with its interval, error (largest distance of the mean law from the
    distribution of all true prices, hidden ones included), pit and bound (see price_quality.pit).
    """
    log, price = hidden(read_log(_there(data, name)).log, np.random.default_rng(0))
    cuts = [0, round(0.6 * len(log)), round(0.75 * len(log)), len(log)]
    train, valid, test = (log.rows(slice(a, b)) for a, b in pairwise(cuts))
    seen, true, rows = Observed.of(test), price[cuts[2] :], []
    base = price_config("kaplan_meier").fit(train, valid, np.random.default_rng(1)).laws(test)
    for model in tqdm(PRICE_MODELS, desc=name, unit="model", disable=None):
        for kind in ("all rows", "wins"):
            laws = _fitted(model, train, valid, wins=kind == "wins").laws(test)
            rows.append({"model": model, "fitted to": kind, **_judged(laws, seen, base, true)})
    return pd.DataFrame(rows)


def hidden(log: AuctionLog, rng: np.random.Generator) -> tuple[AuctionLog, IntArray]:
    """Return a log whose prices above drawn bids are hidden, and all prices (n,)."""
    log = log.rows(slice(0, MOST))
    price = log.frame["price"].to_numpy()
    bid = np.rint(np.median(price) * np.exp(SPREAD * rng.standard_normal(len(price)))).astype(np.int64)
    won = bid >= price
    frame = log.frame.assign(bid=bid, won=won, price_known=won, price=np.where(won, price, 0))
    return AuctionLog(frame, log.categorical, log.numeric, log.recorded, log.currency, log.source, log.multi), price


def _fitted(model: str, train: AuctionLog, valid: AuctionLog, *, wins: bool) -> FittedPrices:
    parts = [log.rows(log.frame["won"].to_numpy()) if wins else log for log in (train, valid)]
    return price_config(model).fit(parts[0], parts[1], np.random.default_rng(1))


def _judged(laws: PriceLaws, seen: Observed, base: PriceLaws, true: IntArray) -> dict[str, float]:
    reach = float(np.quantile(seen.bid, 0.95))
    grid = np.quantile(true[true <= reach], np.linspace(0.05, 1.0, 20))
    gaps = [abs(float(laws.cdf(np.full(len(true), at)).mean()) - float((true <= at).mean())) for at in grid]
    found = likelihood(laws, seen, base)
    uneven = pit(laws, seen, np.random.default_rng(2))
    kept = {name: found[name] for name in ("anlp", "gain", "gain_low", "gain_high")}
    return kept | {"error": max(gaps), "pit": uneven.gap, "bound": uneven.bound}


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

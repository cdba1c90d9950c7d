"""The tables of fidelity in plain words, the finding first, and for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from bidpilot.ctr.fidelity import PRICES, QUANTITIES, WHOLE, failures

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

MEDIAN = 0.5


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

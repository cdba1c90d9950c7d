"""What each estimator says of Thompson sampling from a uniform log, beside what it truly earned: Open Bandit Dataset.

Run: python -m bidpilot.experiments.benchmarks.open_bandit --data DIR [--campaign men,all] [--seed 0] [--markdown].
DIR holds open_bandit/{random,bts}/<campaign>/<campaign>.csv(.gz), or is that folder itself.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.ope.open_bandit import CAMPAIGNS, open_bandit_table

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("campaign", "estimator", "click rate", "95 % interval", "less BTS's own", "95 % interval", "tau or lambda")


def main() -> None:
    """Print a table for each campaign, and what the weights are worth."""
    given = _arguments()
    folder = given.data / "open_bandit" if (given.data / "open_bandit").is_dir() else given.data
    try:
        for campaign in given.campaign.split(","):
            table, found = open_bandit_table(folder, campaign, np.random.default_rng(given.seed))
            lines = markdown(campaign, table) if given.markdown else [table.to_string(index=False)]
            sys.stdout.write("\n".join([*lines, "", *found.diagnostics.sentences(), "", ""]))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


def markdown(campaign: str, table: pd.DataFrame) -> list[str]:
    """Return the lines of a Markdown table, click rates in percent; the last is what BTS earned itself."""
    lines = ["| " + " | ".join(HEADER) + " |", "|---|---|---:|---:|---:|---:|---:|"]
    lines += ["| " + " | ".join((campaign, *_cells(row))) + " |" for row in table.to_dict("records")]
    own = table.iloc[0]
    truth = f"**{_percent(own['truth'])}** | {_percent(own['truth_low'])} to {_percent(own['truth_high'])}"
    return [*lines, f"| {campaign} | **BTS's own log** | {truth} | | | |"]


def _cells(row: Any) -> tuple[str, ...]:  # noqa: ANN401 - a row of a frame
    if row["refused"]:
        return row["estimator"], "refused", row["refused"], "", "", ""
    value, off = _percent(row["value"]), f"{100 * row['off']:+.2f}"
    setting = "" if np.isnan(row["setting"]) else f"{row['setting']:.3g}"
    if np.isnan(row["low"]):
        return row["estimator"], value, "none", off, "none", setting
    interval = f"{_percent(row['low'])} to {_percent(row['high'])}"
    apart = f"{100 * row['off_low']:+.2f} to {100 * row['off_high']:+.2f}"
    return row["estimator"], value, interval, off, apart, setting


def _percent(rate: float) -> str:
    return f"{100 * rate:.2f} %"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    default = os.environ.get("BIDPILOT_DATA")
    parser.add_argument("--data", type=Path, default=default, required=default is None)
    parser.add_argument("--campaign", default="men,all", help=f"one or more of {', '.join(CAMPAIGNS)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()

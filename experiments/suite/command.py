"""What `bidpilot suite` does: train what is missing, play, and tell a person what came out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from tqdm import tqdm

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.experiments.plots_style import save
from bidpilot.experiments.suite.families import MarketFamily
from bidpilot.experiments.suite.kept import policy_folder, stream_seed, trained_with
from bidpilot.experiments.suite.learners import train_policy
from bidpilot.experiments.suite.marketplace_learner import train_seat
from bidpilot.experiments.suite.picture import said, suite_figure
from bidpilot.experiments.suite.run import run_suite

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from rich.console import Console

    from bidpilot.experiments.suite.families import AnyFamily
    from bidpilot.experiments.suite.run import SuiteConfig

TOLD = 5
"""Policies of a family in the table on the terminal; suite.csv has all."""


def train_missing(root: Path, families: Sequence[AnyFamily], config: SuiteConfig) -> None:
    """Train, seed by seed, every policy that is not there yet; a run that was killed goes on with the next missing."""
    missing = missing_policies(root, families, config)
    for family, seed in tqdm(missing, desc="train", unit="policy", disable=None):
        if isinstance(family, MarketFamily):
            train_seat(policy_folder(root, family, seed), family, stream_seed(seed), config.sizes)
        else:
            train_policy(root, family, seed, config.sizes)


def missing_policies(root: Path, families: Sequence[AnyFamily], config: SuiteConfig) -> list[tuple[AnyFamily, int]]:
    """Return the families and seeds without a trained policy, the first seed of all families first."""
    wanted = [(family, seed) for seed in range(config.seeds) for family in families if not family.of]
    return [pair for pair in wanted if not trained_with(root, *pair, config.sizes)]


def suite(root: Path, families: Sequence[AnyFamily], config: SuiteConfig, console: Console, *, train: bool) -> None:
    """Do all of it; write suite.csv, claims.csv, profile.csv, suite.txt and suite.png under root.

    Raises InputError naming what is not trained, where nothing is to be trained.
    """
    if train:
        train_missing(root, families, config)
    missing = missing_policies(root, families, config)
    if missing:
        names = ", ".join(sorted({family.name for family, _ in missing}))
        raise InputError(f"{root}: {len(missing)} policies are not trained ({names}); add --train, or name --family")
    scores, claims = run_suite(root, families, config)
    titles = {family.name: family.title for family in families}
    lines = said(claims, titles)
    write_atomically(root / "suite.txt", "\n".join(lines) + "\n")
    write_atomically(root / "suite.png", save(suite_figure(scores, titles), "png"))
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(score_lines(scores, titles))
    tables = ", ".join(str(root / name) for name in ("suite.csv", "claims.csv", "profile.csv"))
    console.print(f"tables: {tables}; figure: {root / 'suite.png'}", highlight=False)


def score_lines(scores: pd.DataFrame, titles: dict[str, str]) -> Table:
    """Return each family's best policies, means over the budgets."""
    table = Table(title="R/R*, mean over the budgets; in the marketplace worth against the controller's")
    for head in ("family", "policy", "score", "95 %", "limit broken"):
        table.add_column(head)
    for name, title in titles.items():
        rows = scores[(scores["family"] == name) & (scores["budget"] == 0.0)].sort_values("score", ascending=False)
        for number, row in enumerate(rows.head(TOLD).to_dict("records")):
            broken = f"{100 * row['limit_broken']:.1f} %" if row["limit_broken"] > 0 else ""
            where = f"{row['low']:.4f} .. {row['high']:.4f}"
            table.add_row("" if number else title, row["policy"], f"{row['score']:.4f}", where, broken)
    return table

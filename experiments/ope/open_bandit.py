"""Off-policy estimates checked against the truth of a field test: the Open Bandit Dataset (Saito et al. 2020).

Two policies ran side by side in one shop: `random`, uniform over the items, and `bts`, Bernoulli Thompson sampling.
From the random log each estimator says what BTS earns; the BTS log tells what it did earn.

BTS looks at no user, so what it does is a distribution over items for each position. It is learnt here as the share
of each item among the BTS log's rows at a position. The mean of the logged propensities would not do: they are logged
for the items that were chosen, mostly when their probability was high, and so sum to about twice 1. The limits: BTS
moves from batch to batch, and the shares are its mean over the week, held against clicks of the whole week; and they
are themselves counted from some thousand rows. Both logs' rows are taken as independent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.ope.bandit import dm
from bidpilot.experiments.ope.contributions import interval_of, units
from bidpilot.experiments.ope.evaluation import REPLICATES, Evaluation, evaluate
from bidpilot.experiments.ope.logged import LoggedBandit

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.types import FloatArray

COLUMNS = ("item_id", "position", "click", "propensity_score")
USER = "user_feature_"
CAMPAIGNS = ("men", "women", "all")


def read_open_bandit(folder: Path, policy: str, campaign: str) -> LoggedBandit:
    """Read folder/policy/campaign/campaign.csv (or .csv.gz); user features as one column for each of their values.

    Raises InputError where the file or a column is missing.
    """
    stem = folder / policy / campaign / campaign
    found = [path for path in (stem.with_suffix(".csv"), stem.with_suffix(".csv.gz")) if path.is_file()]
    if not found:
        raise InputError(f"{stem}.csv is not there; give the folder that holds random/ and bts/")
    frame = pd.read_csv(found[0])
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        raise InputError(f"{found[0]}: has no column {missing[0]!r}; expected those of the Open Bandit Dataset")
    users = pd.get_dummies(frame[[name for name in frame if str(name).startswith(USER)]].astype(str), dtype=np.float64)
    item = frame["item_id"].to_numpy(np.int64)
    return LoggedBandit(
        actions=item,
        rewards=frame["click"].to_numpy(np.float64),
        propensity=frame["propensity_score"].to_numpy(np.float64),
        arms=int(item.max()) + 1,
        features=users.to_numpy() if users.shape[1] else None,
        position=frame["position"].to_numpy(np.int64),
    )


def shares_by_position(log: LoggedBandit, arms: int) -> dict[int, FloatArray]:
    """Return the share (arms,) of every action among a log's rows at each position."""
    if log.position is None:
        raise InputError("the log has no positions")
    return {
        int(place): np.bincount(log.actions[log.position == place], minlength=arms) / (log.position == place).sum()
        for place in np.unique(log.position)
    }


def estimate_bts(
    folder: Path, campaign: str, rng: np.random.Generator, replicates: int = REPLICATES
) -> tuple[Evaluation, LoggedBandit]:
    """Return what the random log says of BTS, and the BTS log."""
    random, bts = (read_open_bandit(folder, policy, campaign) for policy in ("random", "bts"))
    shares = shares_by_position(bts, random.arms)
    if random.position is None or not np.isin(random.position, list(shares)).all():
        raise InputError(f"{campaign}: the random log has positions that the BTS log lacks")
    if bts.arms > random.arms:
        raise InputError(f"{campaign}: BTS shows item {bts.arms - 1}; the random log ends at {random.arms - 1}")
    target = np.stack([shares[int(place)] for place in np.unique(random.position)])
    return evaluate(random, target[np.unique(random.position, return_inverse=True)[1]], rng, replicates), bts


def open_bandit_table(
    folder: Path, campaign: str, rng: np.random.Generator, replicates: int = REPLICATES
) -> tuple[pd.DataFrame, Evaluation]:
    """Return a row per estimator beside BTS's own click rate, and the evaluation it comes from.

    Columns: estimator, value, low, high, setting, refused, truth, truth_low, truth_high, off (value less truth) with
    its 95 % interval off_low, off_high: the two logs are independent, so half-widths add as squares.
    """
    found, bts = estimate_bts(folder, campaign, rng, replicates)
    own = _click_rate(bts, rng, replicates)
    table = found.table().assign(truth=own[0], truth_low=own[1], truth_high=own[2])
    off = table["value"] - table["truth"]
    low = ((table["value"] - table["low"]) ** 2 + (own[2] - own[0]) ** 2) ** 0.5
    high = ((table["high"] - table["value"]) ** 2 + (own[0] - own[1]) ** 2) ** 0.5
    return table.assign(off=off, off_low=off - low, off_high=off + high), found


def _click_rate(log: LoggedBandit, rng: np.random.Generator, replicates: int) -> tuple[float, float, float]:
    """Return the mean reward with its 95 % interval: a log evaluated at its own policy."""
    each = dm(log.rewards)
    return each.estimate, *interval_of(each, units(len(log), log.group, rng), replicates, int(rng.integers(2**63)))

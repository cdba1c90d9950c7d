"""`bidpilot fit --set model.selection=...`: weights by 1 / P(win), and what they do to the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import AuctionLog
from bidpilot.experiments.candidates import fit_candidates
from bidpilot.experiments.config import Settings, load_settings
from bidpilot.experiments.fit import won_weights

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

N = 40_000


def settings(**model: object) -> Settings:
    given = {"kind": "logistic", "epochs": 25, **model}
    return load_settings(None, {f"model.{name}": value for name, value in given.items()})


def biased(rng: np.random.Generator) -> tuple[AuctionLog, FloatArray]:
    """Return a log and its true click rates, in which what wins is seen through a feature that models miss.

    Bids follow a hidden trait (high or low) on which clicks depend, too: among the won rows the high trait is far more
    common than among all, so a plain fit is too high for all.
    """
    high = rng.random(N) < 0.5
    price = np.rint(1_000 * np.exp(0.5 * rng.standard_normal(N))).astype(np.int64)
    bid = np.where(high, 1_600, 700) + rng.integers(0, 100, N)
    won = bid >= price
    rate = np.where(high, 0.3, 0.1)
    click = (won & (rng.random(N) < rate)).astype(np.int8)
    columns = {"time": np.arange(N) * 2.0, "price": np.where(won, price, 0), "price_known": won, "bid": bid, "won": won}
    return AuctionLog.from_columns(
        columns | {"click": click, "site": rng.choice(["a", "b"], N)}, categorical=("site",)
    ), rate


def test_weights_make_the_won_rows_stand_for_all() -> None:
    log, rate = biased(np.random.default_rng(0))
    weight, said = won_weights(settings(selection=10.0), log)
    assert weight is not None
    won = log.frame["won"].to_numpy()
    click = log.frame["click"].to_numpy()[won]
    plain, weighed = click.mean(), np.average(click, weights=weight[won])
    assert abs(weighed - rate.mean()) < 0.01
    assert plain - rate.mean() > 0.02
    assert "equal weight" in said
    assert won_weights(settings(), log) == (None, "")


def test_the_fit_follows_the_weights() -> None:
    log, rate = biased(np.random.default_rng(1))
    found = []
    for one in (settings(), settings(selection=10.0)):
        weight, _ = won_weights(one, log)
        response = fit_candidates(one, log, np.random.default_rng(2), weight)[0].response
        found.append(response.click.predict(log).mean())
    assert found[0] - rate.mean() > 0.02
    assert abs(found[1] - rate.mean()) < 0.5 * (found[0] - rate.mean())


def test_a_log_without_bids_is_told() -> None:
    log = AuctionLog.from_columns({"time": np.arange(3.0), "click": np.zeros(3)})
    with pytest.raises(InputError, match=r"model\.selection needs the bids"):
        won_weights(settings(selection=5.0), log)

"""The law is chosen by what it says of later rows."""

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import SECONDS_PER_DAY, AuctionLog
from bidpilot.ctr.price_choice import choose_prices
from bidpilot.ctr.price_models.base import with_worth


def visits(days: int = 4, rows: int = 2_000, rise: float = 0.0) -> AuctionLog:
    """Return a log whose prices follow a feature, and rise by so much a day (log); 40 % are lost, some say nothing."""
    rng = np.random.default_rng(0)
    time = np.sort(rng.uniform(0, days * SECONDS_PER_DAY, rows))
    kind = rng.integers(0, 3, rows)
    level = np.array([-0.6, 0.0, 0.6])[kind] + rise * (time // SECONDS_PER_DAY)
    price = np.rint(2_000 * np.exp(level + 0.3 * rng.standard_normal(rows))).astype(np.int64)
    bid = np.rint(2_300 * np.exp(0.5 * rng.standard_normal(rows))).astype(np.int64)
    won = bid >= price
    bid[::50], won[::50] = 0, False
    columns = {"time": time, "price": np.where(won, price, 0), "price_known": won, "bid": bid, "won": won}
    log = AuctionLog.from_columns(columns | {"kind": kind.astype(str)}, categorical=("kind",))
    return with_worth(log, np.full(rows, 0.1))


def test_a_law_that_follows_the_features_is_chosen_over_one_that_cannot() -> None:
    log = visits()
    once, again = (choose_prices(log, ("table", "lognormal"), 5.0, np.random.default_rng(1)) for _ in range(2))
    best = once.table.iloc[0]
    assert once.name == "lognormal" == best["model"]
    assert best["gain_low"] > 0.2
    assert f"{best['gain']:.3f} [{best['gain_low']:.3f}" in once.advice
    assert "table" in once.advice
    laws = [each.model.laws(log).cdf(np.full(len(log), 1_500)) for each in (once, again)]
    assert laws[0].tobytes() == laws[1].tobytes()


def test_a_law_that_is_named_is_used_though_the_table_is_likelier() -> None:
    found = choose_prices(visits(rows=2_000), ("kaplan_meier",), 5.0, np.random.default_rng(1))
    assert found.name == "kaplan_meier" == found.table["model"].iloc[0]
    assert set(found.table["model"]) == {"kaplan_meier", "table"}


def test_the_level_ahead_follows_prices_that_rise_every_day() -> None:
    """The table is fitted to all six days, so it stands at their middle: day 7.5 is 4.5 days later."""
    found = choose_prices(visits(6, 12_000, 0.08), ("table",), 7.5, np.random.default_rng(1))
    assert found.level.shift == pytest.approx(0.08 * 4.5, abs=0.06)


def test_a_log_without_prices_is_refused() -> None:
    lost = AuctionLog.from_columns({"time": np.arange(20.0), "won": np.zeros(20, bool), "bid": np.full(20, 5)})
    with pytest.raises(InputError, match="no price is known"):
        choose_prices(with_worth(lost, np.ones(20)), ("table",), 1.0, np.random.default_rng(0))

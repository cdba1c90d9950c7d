"""Price laws out of censored logs: they find what was hidden, and a fit to the wins alone does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import torch

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.names import PRICE_MODELS
from bidpilot.ctr.price_models.base import (
    ABOVE,
    AT_MOST,
    EXACT,
    FittedPrices,
    Observed,
    load_prices,
    price_config,
    save_prices,
    with_worth,
)
from bidpilot.ctr.price_quality import likelihood, pit, win_rates
from bidpilot.ctr.types import UNWINNABLE

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.price_models.base import Censoring
    from bidpilot.ctr.types import FloatArray, IntArray

SPREAD, MEDIAN = 0.5, 2_000.0
SHIFTS = np.array([-0.5, 0.0, 0.6])
NETWORKS = ("lognormal", "mixture", "hazard")


def drawn(
    rows: int, seed: int, censoring: Censoring = "right", *, unit: int = 1, bid: float = 1_700.0
) -> tuple[AuctionLog, IntArray, IntArray]:
    """Return a log of three segments with log-normal prices, 60 % censored, all prices and the segments."""
    rng = np.random.default_rng(seed)
    segment = rng.integers(0, 3, rows)
    price = unit * np.rint(MEDIAN * np.exp(SHIFTS[segment] + SPREAD * rng.standard_normal(rows))).astype(np.int64)
    bids = unit * np.rint(bid * np.exp(0.4 * rng.standard_normal(rows))).astype(np.int64)
    won = bids >= price
    told = np.where(won, price if censoring == "right" else bids, 0)
    columns = {"time": np.arange(rows) * 1.0, "price": told, "price_known": won, "bid": bids, "won": won}
    return AuctionLog.from_columns(columns | {"s": segment.astype(str)}, categorical=("s",)), price, segment


def fitted(name: str, censoring: Censoring = "right", *, unit: int = 1, quick: bool = False) -> FittedPrices:
    """Fit a model; quick: for a few epochs only."""
    train, valid = (drawn(rows, seed, censoring, unit=unit)[0] for rows, seed in ((9_000, 1), (3_000, 2)))
    settings = {"epochs": 2} if quick and name in NETWORKS else {}
    return price_config(name, settings).fit(train, valid, np.random.default_rng(3), censoring)


def shown(price: IntArray, bid: IntArray) -> AuctionLog:
    """Return the log of a buyer at second price, who sees the prices that the bids (n,) beat, in one hour."""
    won = bid >= price
    told = {"price": np.where(won, price, 0), "price_known": won, "bid": bid, "won": won}
    return AuctionLog.from_columns({"time": np.linspace(0.0, 3_599.0, len(price)), **told})


def median(name: str, log: AuctionLog) -> int:
    """Return the median price of a law fitted to a log."""
    cut = int(0.8 * len(log))
    parts = log.rows(slice(0, cut)), log.rows(slice(cut, len(log)))
    laws = price_config(name).fit(*parts, np.random.default_rng(1)).laws(log.rows(slice(0, 1)))
    return int(laws.quantile(np.array([0.5]))[0])


def test_swift_laws_are_the_same_laws(models: dict[str, FittedPrices]) -> None:
    """The form that days are drawn from: exact for bins of a hazard, within a few thousandths for a mixture."""
    test, _, _ = drawn(300, 11)
    for name, most in (("hazard", 1e-6), ("mixture", 5e-3), ("lognormal", 0.0), ("table", 0.0)):
        plain = models[name].laws(test)
        quick = plain.swift()
        at = [np.full(300, bid) for bid in (400, 900, 1_500, 2_400)]
        assert max(np.abs(plain.cdf(bid) - quick.cdf(bid)).max() for bid in at) <= most, name
        mine, theirs = (laws.sample(np.random.default_rng(1)) for laws in (plain, quick))
        both = (mine < UNWINNABLE) & (theirs < UNWINNABLE)
        assert both.mean() > 0.6
        np.testing.assert_allclose(mine[both], theirs[both], rtol=0.03, err_msg=name)
        part = np.array([5, 5, 0])
        assert (quick.rows(part).cdf(np.full(3, 1_500)) == quick.cdf(np.full(300, 1_500))[part]).all()


def test_scaled_laws_are_those_of_dearer_prices(models: dict[str, FittedPrices]) -> None:
    laws = models["hazard"].laws(drawn(200, 12)[0])
    dearer = laws.scaled(0.2)
    assert laws.scaled(0.0) is laws
    assert dearer.identified == pytest.approx(laws.identified * np.exp(0.2), abs=1)
    np.testing.assert_allclose(dearer.cdf(np.full(200, 1_200.0 * np.exp(0.2))), laws.cdf(np.full(200, 1_200.0)))
    cheap, dear = (each.sample(np.random.default_rng(3)) for each in (laws, dearer))
    won = cheap < UNWINNABLE
    np.testing.assert_allclose(dear[won], cheap[won] * np.exp(0.2), rtol=2e-3)
    above = dearer.sample(np.random.default_rng(0), np.full(200, 1_500))
    assert (above > 1_500).all()


def test_the_table_follows_predicted_worth_and_the_hour() -> None:
    rng = np.random.default_rng(0)
    worth, time = rng.uniform(1.0, 2.0, 20_000), np.sort(rng.uniform(0, 86_400.0, 20_000))
    price = np.rint(1_000 * worth * np.where(time < 43_200, 1.0, 2.0)).astype(np.int64)
    log = AuctionLog.from_columns({"time": time, "price": price, "price_known": np.ones(20_000, bool)})
    log = with_worth(log, worth)
    model = price_config("table").fit(log, log, rng)
    middle = model.laws(log).quantile(np.full(20_000, 0.5))
    np.testing.assert_allclose(middle, price, rtol=0.14)
    blind = price_config("table", {"groups": 1}).fit(log, log, rng).laws(log).quantile(np.full(20_000, 0.5))
    assert np.abs(np.log(blind / price)).mean() > 2 * np.abs(np.log(middle / price)).mean()


def true_cdf(bid: float, segment: IntArray) -> FloatArray:
    u = (np.log(bid / MEDIAN) - SHIFTS[segment]) / SPREAD
    return np.asarray(torch.special.ndtr(torch.from_numpy(u)).numpy())


@pytest.fixture(scope="module")
def models() -> dict[str, FittedPrices]:
    return {name: fitted(name) for name in PRICE_MODELS}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("censoring", ["right", "left"])
def test_the_law_of_each_segment_is_recovered(
    models: dict[str, FittedPrices], name: str, censoring: Literal["right", "left"]
) -> None:
    model = models[name] if censoring == "right" else fitted(name, "left")
    test, _, segment = drawn(600, 4)
    laws = model.laws(test)
    for bid in (1_000.0, 1_800.0, 2_600.0):
        np.testing.assert_allclose(laws.cdf(np.full(600, bid)), true_cdf(bid, segment), atol=0.06)


@pytest.mark.parametrize("name", PRICE_MODELS)
def test_the_median_under_censoring_and_the_winners_only_fit_that_fails(name: str) -> None:
    """60 % censored: the censored fit is within 2 % of the median, the fit to the known prices is not near it."""
    rng = np.random.default_rng(0)
    price = np.rint(np.exp(np.log(70_000.0) + 0.6 * rng.standard_normal(40_000))).astype(np.int64)
    bid = np.rint(60_000 * np.exp(0.5 * rng.standard_normal(40_000))).astype(np.int64)
    log = shown(price, bid)
    won = log.frame["won"].to_numpy()
    assert 0.55 < 1.0 - won.mean() < 0.65
    all_rows, wins = (median(name, kept) for kept in (log, log.rows(won)))
    assert all_rows == pytest.approx(70_000, rel=0.02)
    assert wins < 0.75 * 70_000


@pytest.mark.parametrize("name", ["hazard", "kaplan_meier"])
def test_a_loss_at_a_price_was_still_at_risk_there(name: str) -> None:
    """Ties win. Coarse prices make ties frequent: P(price <= b) is right, and P(price < b) in its place is far off."""
    rng = np.random.default_rng(0)
    price, bid = (
        10_000 * np.rint(level * np.exp(spread * rng.standard_normal(20_000)) / 10_000).astype(np.int64)
        for level, spread in ((70_000, 0.6), (60_000, 0.5))
    )
    log = shown(price, np.maximum(bid, 10_000))
    law = price_config(name).fit(log.rows(slice(0, 15_000)), log.rows(slice(15_000, 20_000)), rng)
    at = np.arange(10_000, 130_000, 10_000)
    laws = law.laws(log.rows(slice(0, len(at))))
    truth = np.array([(price <= b).mean() for b in at])
    wrong = np.array([(price < b).mean() for b in at])
    off = np.abs(laws.cdf(at) - truth).max()
    assert off < 0.02
    assert np.abs(wrong - truth).max() > 5.0 * off


@pytest.mark.parametrize("name", PRICE_MODELS)
def test_mass_and_tail_are_one_and_the_density_adds_up(models: dict[str, FittedPrices], name: str) -> None:
    test, _, _ = drawn(3, 5)
    laws = models[name].laws(test)
    steps = np.linspace(np.log(200.0), np.log(3_000.0), 4_001)
    terms = np.array([laws.terms(np.full(3, amount)) for amount in np.exp(steps)])
    below, above, density = np.exp(terms).transpose(1, 0, 2)
    np.testing.assert_allclose(below + above, 1.0, atol=1e-6)
    area = np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(steps)[:, None], axis=0)
    steep = 2e-2 if name == "table" else 4e-3  # its law has steps, its density spreads them
    np.testing.assert_allclose(area, below[1:] - below[0], atol=steep)
    seen = Observed(np.array([1_500] * 3), np.array([EXACT, ABOVE, AT_MOST], dtype=np.int8), np.array([1_500] * 3))
    dense, over, under = laws.log_likelihood(seen)
    each = laws.terms(np.full(3, 1_500.0))
    assert (dense, over, under) == (each[2][0], each[1][1], each[0][2])
    assert under == pytest.approx(np.log(laws.cdf(np.full(3, 1_500))[2]))


@pytest.mark.parametrize("name", PRICE_MODELS)
def test_a_law_is_one(models: dict[str, FittedPrices], name: str) -> None:
    """W(0) = 0, it rises, ends at most at 1, and quantile and sample agree with it; beyond the range: UNWINNABLE."""
    test, _, _ = drawn(400, 5)
    laws = models[name].laws(test)
    bids = np.array([0.0, 300.0, 900.0, 1_500.0, 2_500.0, 4_000.0, 1e9])
    values = np.array([laws.cdf(np.full(400, bid)) for bid in bids])
    assert (values[0] == 0.0).all()
    assert (np.diff(values, axis=0) >= 0).all()
    assert values[-1].max() <= 1.0
    assert (laws.cdf(np.full(400, laws.identified)) == values[-1]).all(), "nothing is known beyond"
    for level in (0.02, 0.3, 0.55):
        q = np.full(400, level)
        price = laws.quantile(q)
        assert (laws.cdf(price) >= q - 1e-9).all()
        assert (laws.cdf(price - 1) < q + 1e-9).all(), "the lowest price is meant"
    drawn_prices = np.concatenate([laws.sample(np.random.default_rng(seed)) for seed in range(40)])
    assert (drawn_prices <= 1_500).mean() == pytest.approx(values[3].mean(), abs=0.015)
    assert (drawn_prices == UNWINNABLE).mean() == pytest.approx(1.0 - values[-1].mean(), abs=0.01)
    part = np.array([7, 3, 3])
    assert (laws.rows(part).cdf(np.full(3, 1_500)) == values[3][part]).all()
    above = laws.sample(np.random.default_rng(0), np.full(400, 1_500))
    assert (above > 1_500).all()
    assert (above[above != UNWINNABLE] <= laws.identified).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_features_help_on_held_out_rows(models: dict[str, FittedPrices], name: str) -> None:
    test = drawn(3_000, 6)[0]
    found = likelihood(models[name].laws(test), Observed.of(test), models["kaplan_meier"].laws(test))
    assert found["gain_low"] > 0.1
    assert found["anlp_low"] < found["anlp"] < found["anlp_high"]


def test_the_hidden_prices_are_as_likely_as_the_laws_say(models: dict[str, FittedPrices]) -> None:
    """Quantiles of the true prices, most of which no fit has seen, are uniform where bids reach."""
    test, price, _ = drawn(4_000, 7)
    for name in NETWORKS:
        share = models[name].laws(test).cdf(price)
        inside = share[share < 0.6]
        np.testing.assert_allclose(np.histogram(inside, 4, (0.0, 0.6))[0] / len(share), 0.15, atol=0.025)


@pytest.mark.parametrize("name", PRICE_MODELS)
def test_the_unit_of_money_does_not_matter(name: str) -> None:
    test = drawn(200, 8)[0]
    dear = drawn(200, 8, unit=1_000)[0]
    mine, theirs = fitted(name, quick=True).laws(test), fitted(name, quick=True, unit=1_000).laws(dear)
    np.testing.assert_allclose(mine.cdf(np.full(200, 1_800)), theirs.cdf(np.full(200, 1_800_000)), atol=2e-3)


@pytest.mark.parametrize("name", PRICE_MODELS)
def test_saved_is_loaded_and_the_same_seed_is_the_same_law(
    models: dict[str, FittedPrices], name: str, tmp_path: Path
) -> None:
    test = drawn(200, 9)[0]
    bid = np.full(200, 1_500)
    save_prices(tmp_path, name, models[name])
    assert load_prices(tmp_path).laws(test).cdf(bid).tobytes() == models[name].laws(test).cdf(bid).tobytes()
    twice = [fitted(name, quick=True).laws(test).cdf(bid).tobytes() for _ in range(2)]
    assert twice[0] == twice[1]


def test_first_price_without_a_form_is_the_share_of_wins() -> None:
    """Isotonic regression of wins on bids, on three bids: their shares, pooled where they fall."""
    bid = np.repeat([10, 20, 30], 4)
    won = np.array([1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 0, 0], dtype=bool)
    columns = {"time": np.arange(12.0), "bid": bid, "won": won, "price": bid, "price_known": won}
    log = AuctionLog.from_columns(columns)
    law = price_config("kaplan_meier").fit(log, log, np.random.default_rng(0), "left")
    np.testing.assert_allclose(law.tensors()["cdf"], [0.25, 0.625, 0.625])


def test_shading_with_a_known_law() -> None:
    """Argmax (V - b) W(b) for log-normal prices of median 70 and deviation 0.6."""
    rng = np.random.default_rng(1)
    price = np.rint(1_000 * np.exp(np.log(70.0) + 0.6 * rng.standard_normal(30_000))).astype(np.int64)
    columns = {"time": np.arange(30_000.0), "price": price, "price_known": np.ones(30_000, bool), "bid": price + 1}
    log = AuctionLog.from_columns(columns)
    model = price_config("lognormal").fit(log.rows(slice(0, 24_000)), log.rows(slice(24_000, 30_000)), rng)
    bids = np.arange(1_000, 250_000, 100)
    chances = model.laws(log.rows(slice(0, len(bids)))).cdf(bids)
    best = [float(bids[np.argmax((1_000 * worth - bids) * chances)]) / 1_000 for worth in (50, 100, 200, 400)]
    np.testing.assert_allclose(best, [36.4, 61.2, 93.1, 128.4], rtol=0.03)


def test_a_log_that_says_nothing_is_refused() -> None:
    columns = {"time": np.arange(3.0), "price_known": [True, False, False], "won": [True, False, False], "price": 5}
    silent = AuctionLog.from_columns(columns | {"price": np.array([5, 0, 0])})
    with pytest.raises(InputError, match=r"row 1 has neither a known price nor a bid \(2 such rows\)"):
        Observed.of(silent)
    lost = {"time": np.arange(2.0), "won": [False, False], "bid": [5, 6]}
    with pytest.raises(InputError, match="no price is known"):
        Observed.of(AuctionLog.from_columns(lost))
    with pytest.raises(InputError, match="price model 'spline'"):
        price_config("spline")


def test_a_true_law_passes_and_a_winners_only_law_fails(models: dict[str, FittedPrices]) -> None:
    test = drawn(3_000, 10)[0]
    train, valid = drawn(9_000, 1)[0], drawn(3_000, 2)[0]
    early, late = (log.rows(log.frame["won"].to_numpy()) for log in (train, valid))
    wrong = price_config("lognormal").fit(early, late, np.random.default_rng(3))
    seen, streams = Observed.of(test), np.random.default_rng(4).spawn(2)
    good, bad = pit(models["lognormal"].laws(test), seen, streams[0]), pit(wrong.laws(test), seen, streams[1])
    np.testing.assert_allclose([good.shares.sum(), bad.shares.sum()], 1.0)
    assert good.gap < 1.5 * good.bound
    assert bad.gap > 5.0 * bad.bound
    assert not bad.passes
    rates = win_rates(models["lognormal"].laws(test), Observed.of(test))
    assert ((rates["predicted"] > rates["low"] - 0.03) & (rates["predicted"] < rates["high"] + 0.03)).all()
    assert (win_rates(wrong.laws(test), Observed.of(test))["predicted"] > rates["actual"]).mean() > 0.8

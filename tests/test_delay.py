"""Delayed conversions: the truth is recovered from clicks too young to tell, by the network and by weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch

from bidpilot.ctr.delay import DelayConfig, DelayLaw, Delays, fit_delay, matured_weight, one_law
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldSettings
from bidpilot.ctr.log import AuctionLog

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.types import BoolArray, FloatArray

P, RATE, NOW = 0.08, 0.5, 7.0


def clicks(
    rng: np.random.Generator, p: FloatArray, rate: FloatArray, shop: FloatArray | None = None
) -> tuple[AuctionLog, Delays, BoolArray]:
    """Clicks of a week (days), conversions after exponential delays; return what is known on day 7, and the truth."""
    rows = len(p)
    time = np.sort(rng.random(rows) * NOW)
    ever = rng.random(rows) < p
    conversion = np.where(ever, time + rng.exponential(1.0 / rate), np.inf)
    shop = np.zeros(rows) if shop is None else shop
    log = AuctionLog.from_columns({"time": time, "shop": shop.astype(int).astype(str)}, categorical=("shop",))
    return log, Delays.of(time, conversion, NOW), ever


def same(seed: int, rows: int = 40_000) -> tuple[AuctionLog, Delays, BoolArray]:
    return clicks(np.random.default_rng(seed), np.full(rows, P), np.full(rows, RATE))


def two_shops(rows: int = 30_000) -> tuple[AuctionLog, Delays, FloatArray]:
    """Shop 0 converts more and slowly, shop 1 less and at once."""
    rng = np.random.default_rng(2)
    shop = rng.integers(0, 2, rows).astype(np.float64)
    p, rate = np.where(shop == 0, 0.16, 0.08), np.where(shop == 0, 0.3, 4.0)
    log, delays, _ = clicks(rng, p, rate, shop)
    return log, delays, shop


def test_one_law_recovers_what_the_naive_rate_misses() -> None:
    _, delays, _ = same(0)
    p, rate = one_law(delays)
    assert delays.converted.mean() < 0.062
    assert p == pytest.approx(P, rel=0.05)
    assert rate == pytest.approx(RATE, rel=0.08)


def test_the_network_recovers_the_same_law() -> None:
    log, delays, _ = same(0, 20_000)
    model, _ = fit_delay(log, delays, 0.2, np.random.default_rng(0), DelayConfig(epochs=8))
    p, rate = model.laws(log)
    assert p.mean() == pytest.approx(P, rel=0.08)
    assert rate.mean() == pytest.approx(RATE, rel=0.12)


def test_features_matter() -> None:
    log, delays, shop = two_shops()
    model, _ = fit_delay(log, delays, 0.2, np.random.default_rng(0), DelayConfig(epochs=15))
    p, rate = model.laws(log)
    assert delays.converted[shop == 0].mean() < 0.1, "so far, the slow shop looks little better"
    for k, (truth, speed) in enumerate([(0.16, 0.3), (0.08, 4.0)]):
        assert p[shop == k].mean() == pytest.approx(truth, rel=0.12)
        assert rate[shop == k].mean() == pytest.approx(speed, rel=0.2)


def test_the_loss_is_minus_the_log_likelihood_and_its_slope_is_finite() -> None:
    log, delays, _ = same(1, 2_000)
    network = DelayConfig().untrained(log, delays, np.random.default_rng(0)).network
    output = torch.tensor([[-1.0, 0.4]] * 2, dtype=torch.float64)
    p, rate = 1.0 / (1.0 + np.exp(1.0)), np.exp(0.4)
    loss = network.loss(output, torch.tensor([[1.0, 0.7], [0.0, 1.3]], dtype=torch.float64))
    want = [-np.log(p * rate * np.exp(-rate * 0.7)), -np.log(1 - p + p * np.exp(-rate * 1.3))]
    np.testing.assert_allclose(loss.numpy(), want)
    wide = torch.tensor([[80.0, 7.0], [-80.0, -7.0], [80.0, 7.0]], requires_grad=True)
    network.loss(wide, torch.tensor([[0.0, 50.0], [1.0, 0.0], [0.0, 0.0]])).sum().backward()
    assert wide.grad is not None
    assert torch.isfinite(wide.grad).all()


def test_the_untrained_network_is_the_one_law_and_a_restored_one_has_the_same_bytes() -> None:
    log, delays, _ = same(1, 2_000)
    config = DelayConfig(epochs=2)
    p, rate = config.untrained(log, delays, np.random.default_rng(0)).laws(log)
    np.testing.assert_allclose([p[0], rate[0]], one_law(delays), rtol=1e-5)
    model = config.refit(log, delays, 2, np.random.default_rng(0))
    again = config.restore(model.settings(), model.tensors())
    assert again.predict(log).tobytes() == model.predict(log).tobytes()


def test_the_unit_of_time_does_not_matter() -> None:
    log, days, _ = same(1, 4_000)
    hours = Delays(days.converted, days.wait * 24.0, days.elapsed * 24.0)
    config = DelayConfig(epochs=2)
    (p, rate), (q, slow) = (config.refit(log, d, 2, np.random.default_rng(0)).laws(log) for d in (days, hours))
    np.testing.assert_allclose(q, p, rtol=1e-4)
    np.testing.assert_allclose(slow * 24.0, rate, rtol=1e-4)


def test_the_law_of_delays_by_hand() -> None:
    """Delays 1, 2, 3 seen within 2, 3, 4: two are at risk at 3, two at 2, and one without delay at both."""
    wait, elapsed = np.array([1.0, 2.0, 3.0, 9.0]), np.array([2.0, 3.0, 4.0, 9.0])
    law = DelayLaw.of(Delays(np.array([True, True, True, False]), wait, elapsed))
    np.testing.assert_allclose(law.by(np.array([0.5, 1.0, 2.5, 3.0, 8.0])), [0.0, 4 / 9, 2 / 3, 1.0, 1.0])


def test_the_law_of_delays_is_not_fooled_by_truncation() -> None:
    _, delays, _ = same(0)
    at = np.array([0.5, 1.0, 2.0, 4.0])
    truth = (1.0 - np.exp(-RATE * at)) / (1.0 - np.exp(-RATE * NOW))
    np.testing.assert_allclose(DelayLaw.of(delays).by(at), truth, atol=0.03)
    seen = np.array([(delays.wait[delays.converted] <= t).mean() for t in at])
    assert (seen > truth + 0.04).any(), "the delays seen so far are too short"


def test_a_long_delay_that_nobody_else_had_time_for_is_not_the_whole_law() -> None:
    """Without the one added, every conversion but the longest would get the highest weight."""
    wait, elapsed = np.append(np.linspace(0.1, 1.0, 10), 9.0), np.append(np.full(10, 5.0), 9.5)
    delays = Delays(np.ones(11, bool), wait, elapsed)
    law = DelayLaw.of(delays)
    assert law.by(np.array([5.0]))[0] == 0.5
    assert (matured_weight(delays, law)[:10] == 2.0).all()


def test_weights_make_labels_so_far_stand_for_final_ones() -> None:
    _, delays, ever = same(0)
    weight = matured_weight(delays, DelayLaw.of(delays))
    corrected = (weight * delays.converted).sum() / weight.sum()
    assert weight.mean() == pytest.approx(1.0, rel=0.02)
    assert corrected == pytest.approx(ever.mean(), rel=0.06)
    assert delays.converted.mean() < 0.8 * ever.mean()
    assert matured_weight(delays, DelayLaw.of(delays), P, most=2.0)[delays.converted].max() == 2.0


def installs(data: Path) -> tuple[AuctionLog, FloatArray, FloatArray]:
    """Return TalkingData's clicks, and the hours of click and install (inf: none), from the first click on."""
    frame = pd.read_csv(data / "talkingdata_installs" / "dev_to_2017-11-08.csv.gz")
    start = pd.Timestamp("2017-11-06 16:00")
    click, install = (
        np.asarray((pd.to_datetime(frame[name]) - start).dt.total_seconds(), dtype=np.float64) / 3600.0
        for name in ("click_time", "attributed_time")
    )
    log = AuctionLog.from_columns({"time": click * 3600.0, "app": frame["app"].astype(str)}, categorical=("app",))
    assert (np.diff(click) >= 0).all(), "or from_columns would part rows from their hours"
    return log, click, np.where(np.isnan(install), np.inf, install)


def test_installs_to_come_are_foreseen_on_a_real_log(data: Path) -> None:
    """The newest 6 hours of clicks, seven times: installs foreseen, against those that came in the end.

    Weights learn the delays from all clicks so far. They need more than the first day: the delays seen on it are few.
    """
    _, click, install = installs(data)
    found = []
    for now in range(10, 48, 6):
        so_far, recent = click <= now, (click > now - 6) & (click <= now)
        delays = Delays.of(click[recent], install[recent], now)
        weight = matured_weight(delays, DelayLaw.of(Delays.of(click[so_far], install[so_far], now)))
        weighted = (weight * delays.converted).sum() / weight.sum()
        ended = np.isfinite(install[recent]).sum()
        found.append([ended, delays.converted.sum(), one_law(delays)[0] * len(delays), weighted * len(delays)])
    ended, naive, one, _ = np.sum(found, axis=0)
    assert naive < one < ended
    assert ended - one < 0.6 * (ended - naive)
    ended, naive, _, weighted = np.sum(found[4:], axis=0)
    assert abs(weighted - ended) < 0.5 * (ended - naive)


def test_final_labels_of_a_real_log_are_better_predicted_than_by_a_network_that_reads_them_as_final(data: Path) -> None:
    """The same network and clicks; the naive one is told that all of them have had all the time they need."""
    log, click, install = installs(data)
    config, gains = DelayConfig(learning_rate=0.01, fields=FieldSettings(hour=False)), []
    for now in (16, 34, 40):
        recent = (click > now - 6) & (click <= now)
        part, delays = log.rows(recent), Delays.of(click[recent], install[recent], now)
        naive = replace(delays, wait=np.where(delays.converted, delays.wait, 1e6))
        models = [config.refit(part, known, 8, np.random.default_rng(0)) for known in (naive, delays)]
        p = np.array([model.predict(part) for model in models])
        loss = -np.where(np.isfinite(install[recent]), np.log(p), np.log1p(-p)).sum(axis=1)
        gains.append(loss[0] - loss[1])
    assert min(gains) > 0.15
    assert sum(gains) > 1.0, "nats; by then a network of the naive loss has left its start and gains 0.1"


def test_time_runs_from_the_click_and_not_before_it() -> None:
    delays = Delays.of(np.array([1.0, 2.0, 3.0]), np.array([4.0, 9.0, np.nan]), 5.0)
    assert delays.converted.tolist() == [True, False, False], "what comes after now is not known"
    assert delays.wait.tolist() == [3.0, 3.0, 2.0]
    assert delays.elapsed.tolist() == [4.0, 3.0, 2.0]
    with pytest.raises(InputError, match="row 1 was clicked after now"):
        Delays.of(np.array([1.0, 6.0]), np.array([np.inf, np.inf]), 5.0)
    with pytest.raises(InputError, match="row 0 converted before its click"):
        Delays.of(np.array([1.0]), np.array([0.5]), 5.0)


def test_too_little_to_learn_from_is_refused() -> None:
    log, delays, _ = same(1, 100)
    none = Delays(np.zeros(100, bool), delays.elapsed, delays.elapsed)
    with pytest.raises(InputError, match="0 of 100 clicks"):
        one_law(none)
    with pytest.raises(InputError, match="none of 100 clicks"):
        DelayLaw.of(none)
    with pytest.raises(InputError, match="100 rows, the delays are of 50"):
        DelayConfig().untrained(log, delays.rows(slice(0, 50)), np.random.default_rng(0))
    with pytest.raises(InputError, match="negatives must be 1"):
        DelayConfig(negatives=0.5)

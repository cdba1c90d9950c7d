"""Worth of a conversion: the law is recovered, its mean is what a bid should pay for, and the unit does not matter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from bidpilot.ctr.constant import Constant
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldSettings
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.value import TrainedValue, ValueConfig, fit_value, level_of

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

MU = np.log([2.0, 8.0, 30.0])
SIGMA = np.array([0.5, 1.0, 0.8])
P = np.array([0.3, 0.6, 0.9])
QUICK = ValueConfig(epochs=6, learning_rate=0.01, fields=FieldSettings(hour=False))


def sales(rng: np.random.Generator, rows: int, *, certain: bool, unit: float = 1.0) -> tuple[AuctionLog, FloatArray]:
    """Three shops with their own law of worth, currency; return the log and the true mean of every row."""
    shop = rng.integers(0, 3, rows)
    p = np.ones(3) if certain else P
    worth = np.exp(MU[shop] + SIGMA[shop] * rng.standard_normal(rows)) * (rng.random(rows) < p[shop])
    columns = {"time": np.arange(rows) * 1.0, "value": worth * unit, "shop": shop.astype(str)}
    mean = (p * np.exp(MU + 0.5 * SIGMA**2))[shop]
    return AuctionLog.from_columns(columns, categorical=("shop",)), mean


def fitted(log: AuctionLog, config: ValueConfig = QUICK) -> TrainedValue:
    predictor, note = fit_value(log, 0.2, np.random.default_rng(1), config)
    assert not note
    assert isinstance(predictor, TrainedValue)
    return predictor


@pytest.mark.parametrize("certain", [True, False])
def test_the_law_is_recovered(*, certain: bool) -> None:
    log, mean = sales(np.random.default_rng(0), 5_000, certain=certain)
    model = fitted(log)
    laws, shop = model.laws(log), log.frame["shop"].astype(int).to_numpy()
    np.testing.assert_allclose(laws.p, 1.0 if certain else P[shop], atol=0.03)
    np.testing.assert_allclose(laws.mu, MU[shop], atol=0.08)
    np.testing.assert_allclose(laws.sigma, SIGMA[shop], atol=0.06)
    np.testing.assert_allclose(model.predict(log), mean, rtol=0.1)


def test_without_half_sigma_squared_bids_would_be_too_low() -> None:
    log, mean = sales(np.random.default_rng(0), 5_000, certain=True)
    model = fitted(log)
    worth = log.frame["value"].to_numpy()
    assert model.laws(log).mean.mean() == pytest.approx(worth.mean(), rel=0.05), "the level does not make up for it"
    assert model.level == pytest.approx(1.0, abs=0.05)
    assert np.exp(model.laws(log).mu).mean() < 0.8 * mean.mean()


def test_heavy_tails_are_more_likely_under_the_law_than_under_one_mean() -> None:
    """Held out, against the exponential law of each shop's mean: all that a mean alone says of an amount above 0."""
    rng = np.random.default_rng(7)
    (log, _), (new, _) = (sales(rng, rows, certain=True) for rows in (2_000, 4_000))
    laws = fitted(log).laws(new)
    worth, shop = new.frame["value"].to_numpy(), new.frame["shop"].to_numpy()
    mean = log.frame.groupby("shop")["value"].mean().loc[shop].to_numpy()
    z = (np.log(worth) - laws.mu) / laws.sigma
    learned = -0.5 * z**2 - np.log(laws.sigma * worth * np.sqrt(2.0 * np.pi))
    gain = learned - (-np.log(mean) - worth / mean)
    assert gain.mean() > 3.0 * gain.std() / np.sqrt(len(gain))


def test_the_total_is_right_where_worth_is_not_log_normal() -> None:
    """Amounts of a gamma law are often near 0: sigma is large, and the formula far above the mean."""
    rng, rows = np.random.default_rng(8), 3_000
    shop = rng.integers(0, 2, rows)
    worth = np.array([2.0, 8.0])[shop] * rng.gamma(0.5, 2.0, rows)
    columns = {"time": np.arange(rows) * 1.0, "value": worth, "shop": shop.astype(str)}
    log = AuctionLog.from_columns(columns, categorical=("shop",))
    model = fitted(log)
    assert model.laws(log).mean.sum() > 2.5 * worth.sum()
    assert model.predict(log).sum() == pytest.approx(worth.sum(), rel=0.03)
    again = model.config.restore(model.settings(), model.tensors())
    assert again.predict(log).tobytes() == model.predict(log).tobytes()


def test_the_level_moves_little_where_the_ratio_is_unsure() -> None:
    even = level_of(np.full(1_000, 2.0), np.ones(1_000))
    assert even == pytest.approx(2.0, rel=1e-6)
    assert level_of(np.append(np.full(19, 0.1), 38.1), np.ones(20)) < 1.3
    assert level_of(300.0 * np.ones(50), 100.0 * np.ones(50)) == pytest.approx(3.0)


def test_the_unit_of_money_does_not_matter() -> None:
    logs = [sales(np.random.default_rng(2), 2_000, certain=False, unit=unit)[0] for unit in (1.0, 100.0)]
    euros, cents = (fitted(log, replace(QUICK, epochs=3)).predict(log) for log in logs)
    np.testing.assert_allclose(cents, 100.0 * euros, rtol=1e-4)


def test_the_untrained_network_is_the_one_law_of_all() -> None:
    log, _ = sales(np.random.default_rng(3), 2_000, certain=False)
    worth = log.frame["value"].to_numpy()
    laws = QUICK.untrained(log, np.random.default_rng(0)).laws(log)
    logs = np.log(worth[worth > 0])
    np.testing.assert_allclose(laws.p, (worth > 0).mean(), atol=1e-3)
    np.testing.assert_allclose(laws.mu, logs.mean(), atol=1e-5)
    np.testing.assert_allclose(laws.sigma, logs.std(), rtol=1e-5)


def test_the_loss_is_minus_the_log_likelihood() -> None:
    log, _ = sales(np.random.default_rng(4), 100, certain=False)
    network = QUICK.untrained(log, np.random.default_rng(0)).network
    output = torch.tensor([[0.4, 0.2, -0.3], [0.4, 0.2, -0.3]], dtype=torch.float64)
    loss = network.loss(output, torch.tensor([0.0, 1.7], dtype=torch.float64))
    normal = torch.distributions.Normal(0.2, float(np.exp(-0.3)))
    p = 1.0 / (1.0 + np.exp(-0.4))
    want = [-np.log(1 - p), -np.log(p) - float(normal.log_prob(torch.tensor(np.log(1.7))))]
    np.testing.assert_allclose(loss.numpy(), want, rtol=1e-6)


def test_too_few_values_give_the_mean_and_say_so() -> None:
    log, _ = sales(np.random.default_rng(5), 19, certain=True)
    predictor, note = fit_value(log, 0.2, np.random.default_rng(0))
    assert isinstance(predictor, Constant)
    np.testing.assert_allclose(predictor.predict(log), log.frame["value"].mean())
    assert "19 values are too few" in note
    empty, note = fit_value(log.rows(slice(0, 0)), 0.2, np.random.default_rng(0))
    assert empty.predict(log).tolist() == [0.0] * 19
    assert note


def test_values_that_are_all_the_same_are_predicted() -> None:
    columns = {"time": np.arange(200.0), "value": np.full(200, 5.0), "shop": ["a", "b"] * 100}
    log = AuctionLog.from_columns(columns, categorical=("shop",))
    np.testing.assert_allclose(fitted(log, replace(QUICK, epochs=3)).predict(log), 5.0, rtol=0.02)


def test_a_restored_model_has_the_same_bytes() -> None:
    log, _ = sales(np.random.default_rng(6), 500, certain=True)
    model = fitted(log, replace(QUICK, epochs=2))
    again = model.config.restore(model.settings(), model.tensors())
    assert again.predict(log).tobytes() == model.predict(log).tobytes()
    assert (again.laws(log).p == 1.0).all()


def test_what_worth_cannot_be_is_refused() -> None:
    log = AuctionLog.from_columns({"time": np.arange(40.0), "value": np.r_[np.ones(39), -1.0]})
    with pytest.raises(InputError, match="row 39 has the value -1"):
        fit_value(log, 0.2, np.random.default_rng(0))
    log = AuctionLog.from_columns({"time": np.arange(40.0), "value": np.r_[np.ones(39), 0.0]})
    with pytest.raises(InputError, match="row 39 has the value 0"):
        fit_value(log, 0.2, np.random.default_rng(0), ValueConfig(certain=True))
    with pytest.raises(InputError, match="no row has a value above 0"):
        QUICK.untrained(log.rows(slice(39, 40)), np.random.default_rng(0))
    with pytest.raises(InputError, match="negatives must be 1"):
        ValueConfig(negatives=0.5)

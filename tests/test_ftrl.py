"""FTRL: the published algorithm step by step, known coefficients, and zeros that are exact."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldEncoder, FieldSettings
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.models import ftrl

CLOCKLESS = FieldSettings(hour=False)
WEIGHT = np.array([-1.0, -0.3, 0.3, 1.0])
N = 16_000


def sites(rng: np.random.Generator, rows: int = N) -> AuctionLog:
    """Draw clicks whose log-odds are -2 and a weight of their site; a second field of 500 ids says nothing."""
    site = rng.integers(0, 4, rows)
    click = rng.random(rows) < 1 / (1 + np.exp(2.0 - WEIGHT[site]))
    columns = {"time": np.arange(rows) * 1.0, "click": click.astype(np.int8), "site": site.astype(str)}
    columns |= {"noise": rng.integers(0, 500, rows).astype(str)}
    return AuctionLog.from_columns(columns, categorical=("site", "noise"))


def numbers(rng: np.random.Generator, rows: int) -> AuctionLog:
    """Draw a log with ids, several values in a cell, and a number."""
    columns: dict[str, Any] = {"time": np.arange(rows) * 1.0, "click": (rng.random(rows) < 0.3).astype(np.int8)}
    columns |= {"a": rng.integers(0, 3, rows).astype(str), "x": rng.normal(size=rows)}
    columns |= {"tags": [",".join(rng.permutation(4)[: row % 3].astype(str)) for row in range(rows)]}
    return AuctionLog.from_columns(columns, categorical=("a", "tags"), numeric=("x",), multi=("tags",))


def plain_algorithm(x: np.ndarray, y: np.ndarray, c: ftrl.Config, start: float) -> np.ndarray:
    """Follow algorithm 1 of the paper, coordinate by coordinate; the last, a constant, has no penalty."""
    size = x.shape[1]
    z, n, w = np.zeros(size), np.zeros(size), np.zeros(size)
    l1, l2 = [c.l1] * (size - 1) + [0.0], [c.l2] * (size - 1) + [0.0]
    for row, label in zip(x, y, strict=True):
        for i in np.flatnonzero(row):
            step = (c.beta + math.sqrt(n[i])) / c.alpha + l2[i]
            w[i] = 0.0 if abs(z[i]) <= l1[i] else -(z[i] - math.copysign(l1[i], z[i])) / step
        p = 1.0 / (1.0 + math.exp(-(start + sum(w[i] * row[i] for i in np.flatnonzero(row)))))
        for i in np.flatnonzero(row):
            g = (p - label) * row[i]
            sigma = (math.sqrt(n[i] + g * g) - math.sqrt(n[i])) / c.alpha
            z[i] += g - sigma * w[i]
            n[i] += g * g
    step = (c.beta + np.sqrt(n)) / c.alpha + np.array(l2)
    return np.where(np.abs(z) <= l1, 0.0, -(z - np.sign(z) * l1) / step)


def dense(sparse: ftrl.Sparse, size: int) -> np.ndarray:
    x = np.zeros((len(sparse.place), size))
    for row, (place, value) in enumerate(zip(sparse.place, sparse.value, strict=True)):
        np.add.at(x[row], place, value)
    return x


def test_row_by_row_it_is_the_published_algorithm() -> None:
    log = numbers(np.random.default_rng(0), 300)
    config = ftrl.Config(alpha=0.3, l1=0.4, l2=0.2, batch_size=1, fields=CLOCKLESS)
    encoder, rows = FieldEncoder.fit(log, CLOCKLESS), ftrl.Labels.of(log, "click", None)
    learner = ftrl.Learner(config, encoder, rows.rate)
    x = ftrl.Sparse.of(encoder.transform(log), encoder)
    for row in range(300):
        part = slice(row, row + 1)
        learner.step(ftrl.Sparse(x.place[part], x.value[part]), rows.label[part], rows.weight[part])
    start = math.log(rows.rate / (1.0 - rows.rate))
    expected = plain_algorithm(dense(x, encoder.size + encoder.numbers + 1), rows.label, config, start)
    expected[-1] += start
    np.testing.assert_allclose(learner.weights(), expected, rtol=1e-10, atol=1e-14)
    assert 2 < np.count_nonzero(expected) < len(expected), "some weights moved, some are held at 0"


def test_a_cell_of_several_values_has_their_mean() -> None:
    columns = {"time": np.arange(3.0), "click": [0, 1, 0], "tags": ["p,q", "q", ""]}
    log = AuctionLog.from_columns(columns, categorical=("tags",), multi=("tags",))
    encoder = FieldEncoder.fit(log, FieldSettings(hour=False, min_count=1))
    x = dense(ftrl.Sparse.of(encoder.transform(log), encoder), encoder.size + 1)
    assert x.tolist() == [[0.0, 0.5, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]]


def test_known_coefficients_are_recovered() -> None:
    log, rng = sites(np.random.default_rng(1)), np.random.default_rng(2)
    train, valid = log.rows(slice(0, 12_000)), log.rows(slice(12_000, N))
    fitted, curve = ftrl.Config(fields=CLOCKLESS).fit(train, valid, "click", rng)
    probe = {"time": np.arange(4.0), "site": ["0", "1", "2", "3"], "noise": ["never seen"] * 4}
    odds = fitted.predict(AuctionLog.from_columns(probe, categorical=("site", "noise")))
    np.testing.assert_allclose(np.log(odds / (1 - odds)), WEIGHT - 2.0, atol=0.25)
    assert curve.valid[curve.best] < curve.valid[0] - 0.005


def test_l1_makes_weights_exactly_0_the_noise_first() -> None:
    log, rng = sites(np.random.default_rng(3)), np.random.default_rng(4)
    zeros = []
    for l1 in (0.0, 1.0, 8.0, 1e6):
        fitted = ftrl.Config(l1=l1, fields=CLOCKLESS).refit(log, "click", 2, rng)
        site, noise = np.split(fitted.weight[:-1] == 0.0, [5])
        zeros.append((int(site[1:].sum()), float(noise[1:].mean())))
    assert zeros[0][1] == 0.0
    assert 0.1 < zeros[1][1] < zeros[2][1]
    assert zeros[2][1] > 0.9
    assert [site for site, _ in zeros[:3]] == [0, 0, 0], "what the data support stays"
    assert zeros[3] == (4, 1.0)
    assert fitted.predict(log) == pytest.approx(log.frame["click"].mean(), abs=0.02), "the constant has no penalty"


def test_a_weight_counts_like_copies_of_the_row() -> None:
    """In one step of all rows, the divisor being beta and little else."""
    log = sites(np.random.default_rng(5), 400)
    weight = np.random.default_rng(6).integers(0, 4, 400)
    fields = FieldSettings(hour=False, min_count=1)
    config, rng = ftrl.Config(alpha=1.0, beta=1e6, l1=0.0, fields=fields, batch_size=10_000), np.random.default_rng(7)
    copies = log.rows(np.repeat(np.arange(400), np.maximum(weight, 1)))
    repeated = (np.repeat(weight, np.maximum(weight, 1)) > 0).astype(np.float64)
    weighted = config.refit(log, "click", 1, rng, weight.astype(np.float64))
    copied = config.refit(copies, "click", 1, rng, repeated)
    assert np.abs(weighted.weight[:-1]).max() > 1e-6
    np.testing.assert_allclose(weighted.weight, copied.weight, rtol=1e-3, atol=1e-15)


def test_it_stops_early_and_keeps_the_best_pass() -> None:
    log = sites(np.random.default_rng(8), 3_000)
    train, valid = log.rows(slice(0, 2_000)), log.rows(slice(2_000, 3_000))
    config = ftrl.Config(alpha=1.0, l1=0.0, l2=0.0, epochs=40, patience=2, fields=CLOCKLESS)
    fitted, curve = config.fit(train, valid, "click", np.random.default_rng(9))
    assert len(curve.valid) < 41
    p, y = fitted.predict(valid), valid.frame["click"].to_numpy()
    assert -np.mean(np.log(np.where(y, p, 1 - p))) == pytest.approx(curve.valid[curve.best], rel=1e-12)
    assert curve.train[-1] < curve.train[0], "training goes on down"


def test_settings_that_cannot_be_are_named() -> None:
    for name, wrong in (("alpha", 0.0), ("l1", -1.0), ("beta", float("nan"))):
        with pytest.raises(InputError, match="alpha must be above 0"):
            replace(ftrl.Config(), **{name: wrong})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="batch_size must be at least 1; got 0"):
        replace(ftrl.Config(), batch_size=0)

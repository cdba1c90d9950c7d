"""Trees: our own arrays predict what scikit-learn predicts, and no row's code knows its own label."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldEncoder, FieldSettings
from bidpilot.ctr.forest import Forest
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.models import trees
from bidpilot.ctr.models.ftrl import Labels

CLOCKLESS = FieldSettings(hour=False, min_count=1)


def messy(rng: np.random.Generator, rows: int = 4_000, ids: int = 600) -> AuctionLog:
    """Draw a log whose clicks depend on a category, a field of many ids, and a number that is sometimes missing."""
    few, many, x = rng.integers(0, 12, rows), rng.integers(0, ids, rows), rng.normal(size=rows)
    odds = np.where(few % 3 == 0, 1.0, -1.0) + np.where(many < ids // 4, 1.5, -0.5) + np.abs(x) - 1.0
    click = rng.random(rows) < 1 / (1 + np.exp(-odds))
    columns: dict[str, Any] = {"time": np.arange(rows) * 1.0, "click": click.astype(np.int8), "many": many.astype(str)}
    columns |= {"few": few.astype(str), "x": np.where(rng.random(rows) < 0.2, np.nan, x)}
    columns |= {"tags": [",".join(rng.integers(0, 40, row % 3).astype(str)) for row in range(rows)]}
    names = ("many", "tags", "few")
    return AuctionLog.from_columns(columns, categorical=names, numeric=("x",), multi=("tags",))


def test_our_arrays_predict_what_scikit_learn_predicts() -> None:
    """Categories stand after a field of rates, which scikit-learn reorders; the later rows have ids never seen."""
    rng = np.random.default_rng(0)
    log, fresh = messy(rng), messy(rng, ids=900)
    fresh = AuctionLog.from_columns(
        {name: fresh.frame[name] for name in ("time", "click", "many", "tags", "x")}
        | {"few": np.where(rng.random(len(fresh)) < 0.1, "unheard of", fresh.frame["few"])},
        categorical=log.categorical,
        numeric=log.numeric,
        multi=log.multi,
    )
    config, rows = trees.Config(fields=CLOCKLESS), Labels.of(log, "click", None)
    codes, x = config._code(log, rows, rng)
    assert codes.categories == (1,)
    model = config._model(80, codes, rng, early_stopping=False).fit(x, rows.label)
    forest = Forest.of(model, 80)
    assert forest.goes_left.any()
    assert np.isnan(codes.read(fresh)[:, 1]).any()
    assert np.isnan(codes.read(fresh)[:, 2]).any()
    for seen in (x, codes.read(log), codes.read(fresh)):
        ours = 1 / (1 + np.exp(-forest.scores(seen)))
        np.testing.assert_allclose(ours, model.predict_proba(seen)[:, 1], rtol=0, atol=1e-12)
    stages = list(model.staged_predict_proba(x))
    ours = 1 / (1 + np.exp(-Forest.of(model, 10).scores(x)))
    np.testing.assert_allclose(ours, stages[9][:, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("ids", "categories"), [(255, (0,)), (256, ())])
def test_a_field_is_a_category_up_to_255_ids(ids: int, categories: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    site = np.arange(ids * 20) % ids
    click = (rng.random(len(site)) < np.where(site % 2, 0.8, 0.2)).astype(np.int8)
    columns = {"time": np.arange(len(site)) * 1.0, "click": click, "site": site.astype(str)}
    log = AuctionLog.from_columns(columns, categorical=("site",))
    config = trees.Config(fields=CLOCKLESS)
    fitted = config.refit(log, "click", 40, rng)
    assert config._code(log, Labels.of(log, "click", None), rng)[0].categories == categories
    p = fitted.predict(log)
    assert p[site % 2 == 1].mean() - p[site % 2 == 0].mean() > 0.4


def test_rates_by_hand() -> None:
    """300 ids: "0" in 3 rows, 2 of them clicked, 299 in one row each without; smoothed by 2 rows of the rate 2/302."""
    site = ["0"] * 3 + [str(place) for place in range(1, 300)]
    columns = {"time": np.arange(302.0), "click": [1, 1] + [0] * 300, "site": site}
    log = AuctionLog.from_columns(columns, categorical=("site",))
    encoder = FieldEncoder.fit(log, CLOCKLESS)
    fields, rows = encoder.transform(log), Labels.of(log, "click", None)
    codes = trees.Codes.fit(encoder, fields, rows, np.ones(302, dtype=bool), 2.0)
    rate = 2 / 302
    assert codes.categories == ()
    assert codes.of(fields)[[0, 5], 0] == pytest.approx([(2 + 2 * rate) / 5, 2 * rate / 3])
    assert codes.code[0] == pytest.approx(rate), "an id never seen has the rate of all"


def test_no_row_of_training_knows_its_own_label() -> None:
    """Turning one label changes the codes of other rows of its id, never its own."""
    log, config = messy(np.random.default_rng(2), ids=300), trees.Config(fields=CLOCKLESS)
    rows = Labels.of(log, "click", None)
    turned = rows.label.copy()
    turned[7] = 1.0 - turned[7]
    _, before = config._code(log, rows, np.random.default_rng(3))
    _, after = config._code(log, Labels(turned, rows.weight), np.random.default_rng(3))
    np.testing.assert_array_equal(before[7], after[7])
    same = (log.frame["many"] == log.frame["many"][7]).to_numpy()
    assert (before[same, 0] != after[same, 0]).any()


def test_ids_that_mean_nothing_are_not_learned_by_heart() -> None:
    rng = np.random.default_rng(4)
    columns = {"time": np.arange(6_000.0), "click": (rng.random(6_000) < 0.2).astype(np.int8)}
    columns |= {"many": rng.integers(0, 1_500, 6_000).astype(str)}
    log = AuctionLog.from_columns(columns, categorical=("many",))
    train, valid = log.rows(slice(0, 4_000)), log.rows(slice(4_000, 6_000))
    fitted, curve = trees.Config(fields=CLOCKLESS).fit(train, valid, "click", rng)
    p, y = fitted.predict(valid), valid.frame["click"].to_numpy()
    assert curve.best <= 40
    assert -np.mean(np.log(np.where(y, p, 1 - p))) < curve.valid[0] * 1.005


def test_it_stops_early_and_keeps_the_best_trees() -> None:
    rng = np.random.default_rng(5)
    log = messy(rng)
    train, valid = log.rows(slice(0, 3_000)), log.rows(slice(3_000, 4_000))
    weight = rng.uniform(0.5, 2.0, 4_000)
    fitted, curve = trees.Config(learning_rate=0.3, patience=5).fit(train, valid, "click", rng, weight)
    assert len(curve.valid) == len(curve.train) < 401
    assert len(fitted.forest.root) == curve.best
    p, y = fitted.predict(valid), valid.frame["click"].to_numpy()
    loss = np.average(-np.log(np.where(y, p, 1 - p)), weights=weight[3_000:])
    assert loss == pytest.approx(curve.valid[curve.best], rel=1e-9)
    assert loss < curve.valid[0] - 0.05


@pytest.mark.parametrize("label", [0, 1])
def test_training_rows_of_one_label_give_a_constant(label: int) -> None:
    log = messy(np.random.default_rng(6), 400)
    log.frame["click"] = np.full(400, label, dtype=np.int8)
    fitted, curve = trees.Config().fit(
        log.rows(slice(0, 300)), log.rows(slice(300, 400)), "click", np.random.default_rng()
    )
    expected = (300 * label + 0.5) / 301
    assert curve.best == 0
    assert fitted.predict(log) == pytest.approx(expected)
    again = trees.Config().restore(fitted.settings(), fitted.tensors())
    assert again.predict(log) == pytest.approx(expected)


def test_no_trees_are_the_rate() -> None:
    log = messy(np.random.default_rng(7), 400)
    fitted = trees.Config().refit(log, "click", 0, np.random.default_rng(8))
    assert fitted.predict(log) == pytest.approx((log.frame["click"].sum() + 0.5) / 401)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    log = messy(np.random.default_rng(9), 400)
    fitted = trees.Config().refit(log, "click", 3, np.random.default_rng(10))
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(InputError, match=r"needs scikit-learn 1\.7 or newer: pip install 'bidpilot\[trees\]'"):
        trees.Config().refit(log, "click", 3, np.random.default_rng(10))
    again = trees.Config().restore(fitted.settings(), fitted.tensors())
    assert again.predict(log).tobytes() == fitted.predict(log).tobytes()


def test_settings_that_cannot_be_are_named() -> None:
    with pytest.raises(InputError, match="leaves must be at least 2; got 1"):
        trees.Config(leaves=1)
    with pytest.raises(InputError, match="smoothing must be above 0; got 0"):
        trees.Config(smoothing=0.0)

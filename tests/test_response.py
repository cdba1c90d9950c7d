"""The response model from end to end: near the truth, no leak, same seed same bytes, safe on disk."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.evaluation import evaluate_response
from bidpilot.ctr.fitting import ResponseConfig, fit_response
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.metrics import auc, log_loss
from bidpilot.ctr.models import logistic
from bidpilot.ctr.names import MODELS
from bidpilot.ctr.readers import read_log
from bidpilot.ctr.response import FittedResponse
from bidpilot.ctr.synthetic import Exchange, ExchangeConfig
from bidpilot.ctr.types import Response

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def logged() -> tuple[AuctionLog, Response]:
    return Exchange(ExchangeConfig(opportunities=8_000)).logged(6, np.random.default_rng(0))


def _fit(log: AuctionLog, model: str, seed: int = 1) -> FittedResponse:
    return fit_response(log, ResponseConfig(model=model, epochs=6), np.random.default_rng(seed))[0]


@pytest.mark.parametrize("model", ["logistic", "deepfm"])
def test_near_the_truth_on_later_rows_and_never_better(logged: tuple[AuctionLog, Response], model: str) -> None:
    """Held-out log loss above the true rates' own: under 4 %, and not below, which would be a leak."""
    log, truth = logged
    cut = int(0.7 * len(log))
    later = Response(truth.pctr[cut:], truth.pcvr[cut:], truth.value[cut:])
    fitted = _fit(log.rows(slice(0, cut)), model)
    quality = evaluate_response(fitted, log.rows(slice(cut, len(log))), np.random.default_rng(2), later)
    click = dict(zip(quality.columns, quality[quality["event"] == "click"].to_numpy()[0], strict=True))
    assert -0.2 < float(click["excess_log_loss_percent"]) < 4.0
    assert float(click["auc"]) > 0.6
    assert float(click["ratio_low"]) < 1.0 < float(click["ratio_high"])


def test_shuffled_clicks_teach_nothing(logged: tuple[AuctionLog, Response]) -> None:
    log, _ = logged
    won = log.rows(log.frame["won"].to_numpy())
    frame = won.frame.assign(click=np.random.default_rng(3).permutation(won.frame["click"].to_numpy()))
    shuffled = AuctionLog(frame, won.categorical, won.numeric, won.recorded, won.currency)
    cut = int(0.7 * len(shuffled))
    fitted = _fit(shuffled.rows(slice(0, cut)), "deepfm")
    test = shuffled.rows(slice(cut, len(shuffled)))
    assert auc(test.frame["click"].to_numpy(), fitted.predict(test).pctr) == pytest.approx(0.5, abs=0.06)


def test_same_seed_same_predictions_and_saved_is_loaded(logged: tuple[AuctionLog, Response], tmp_path: Path) -> None:
    log = logged[0].rows(slice(0, 15_000))
    first, second = _fit(log, "deepfm"), _fit(log, "deepfm")
    assert first.predict(log).pctr.tobytes() == second.predict(log).pctr.tobytes()
    first.save(tmp_path / "model")
    loaded = FittedResponse.load(tmp_path / "model").predict(log)
    assert loaded.pctr.tobytes() == first.predict(log).pctr.tobytes()
    assert loaded.value.tolist() == first.predict(log).value.tolist()


def test_a_changed_file_and_a_foreign_log_are_refused(logged: tuple[AuctionLog, Response], tmp_path: Path) -> None:
    fitted = _fit(logged[0].rows(slice(0, 10_000)), "logistic")
    other = AuctionLog.from_columns({"time": [0.0], "click": [0]}, categorical=(), source="other.csv")
    with pytest.raises(InputError, match=r"other\.csv.*user_segment"):
        fitted.predict(other)
    fitted.save(tmp_path / "model")
    for name in ("model.json", "weights.safetensors"):
        path = tmp_path / "model" / name
        whole = path.read_bytes()
        path.write_bytes(whole.replace(whole[len(whole) // 2 : len(whole) // 2 + 4], b"\x01\x02\x03\x04"))
        with pytest.raises(InputError, match=name):
            FittedResponse.load(tmp_path / "model")
        path.write_bytes(whole)


def test_the_logs_own_predictions_are_calibrated() -> None:
    rng = np.random.default_rng(4)
    truth = rng.beta(1.0, 40.0, 20_000)
    columns = {"time": np.arange(20_000.0), "price": np.ones(20_000, np.int64), "price_known": np.ones(20_000, bool)}
    columns |= {"click": (rng.random(20_000) < truth).astype(np.int8), "pctr": np.minimum(2 * truth, 1.0)}
    log = AuctionLog.from_columns(columns)
    predicted = _fit(log, "logged").predict(log).pctr
    assert predicted.sum() == pytest.approx(truth.sum(), rel=0.1)


def test_too_few_clicks_give_a_constant_and_say_so() -> None:
    frame = {"time": np.arange(300.0), "click": np.array([1] + [0] * 299)}
    log = AuctionLog.from_columns(frame | {"site": ["a"] * 300}, categorical=("site",))
    fitted, report = fit_response(log, ResponseConfig(), np.random.default_rng(0))
    assert len(set(fitted.predict(log).pctr.tolist())) == 1
    assert "300 rows, 1 of them clicks, are too few" in report.notes[0]
    _, report = fit_response(log.rows(slice(0, 1)), ResponseConfig(), np.random.default_rng(0))
    assert "1 rows, 1 of them clicks, are too few" in report.notes[0]


@pytest.mark.parametrize(
    "wrong", [{"model": "nope"}, {"conversion_model": "nope"}, {"validation_share": 1.0}, {"min_rows": 1}]
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"known: |between 0 and 1|at least 2"):
        ResponseConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["logistic", "deepfm"])
def test_avazu_reaches_the_plain_regressions_auc(data: Path, model: str) -> None:
    """Train on the first 7,000 rows, test on the rest: at least 0.72."""
    log = read_log(data / "ctr_samples/avazu_first9999.csv.gz").log
    fitted, _ = fit_response(log.rows(slice(0, 7_000)), ResponseConfig(model=model), np.random.default_rng(0))
    test = log.rows(slice(7_000, len(log)))
    assert auc(test.frame["click"].to_numpy(), fitted.predict(test).pctr) >= 0.72


@pytest.mark.parametrize("model", ["logistic", "deepfm"])
def test_a_handful_of_clicks_is_not_learned_by_heart(model: str) -> None:
    """25 clicks without cause in 8,000 rows of rare ids: within 5 % of the log loss of the base rate."""
    rng = np.random.default_rng(6)
    n, fields = 16_000, ("a", "b", "c", "d")
    columns: dict[str, object] = {name: rng.integers(0, 3_000, n).astype(str) for name in fields}
    clicks = np.isin(np.arange(n), np.arange(160, n, 320)).astype(np.int8)
    log = AuctionLog.from_columns(columns | {"time": np.arange(n) * 30.0, "click": clicks}, categorical=fields)
    train, test = log.rows(slice(0, 8_000)), log.rows(slice(8_000, n))
    assert train.frame["click"].sum() == 25
    fitted, report = fit_response(train, ResponseConfig(model), rng)
    assert report.events[0].model == model
    y = test.frame["click"].to_numpy()
    assert log_loss(y, fitted.predict(test).pctr) < 1.05 * log_loss(y, np.full(len(y), 25 / 8_000))


def _small(**columns: object) -> AuctionLog:
    base = {"time": np.arange(200.0), "site": ["a"] * 200}
    return AuctionLog.from_columns(base | columns, categorical=("site",), source="small.csv")


def test_what_the_log_does_not_record_is_said_and_not_invented() -> None:
    rng, config = np.random.default_rng(0), ResponseConfig(epochs=1)
    clicks, odd = np.ones(200, np.int8), np.arange(200) % 2
    fitted, report = fit_response(_small(click=clicks), config, rng)
    assert set(fitted.predict(_small(click=clicks)).pcvr.tolist()) == {0.0}
    assert "does not record conversions" in " ".join(report.notes)
    fitted, report = fit_response(_small(click=clicks, conversion=odd), config, rng)
    assert set(fitted.predict(_small(click=clicks)).value.tolist()) == {1.0}
    assert "no value" in " ".join(report.notes)
    worth = np.where(odd, np.arange(200.0), 0.0)
    fitted, _ = fit_response(_small(click=clicks, conversion=odd, value=worth), config, rng)
    assert fitted.predict(_small(click=clicks)).value[0] == pytest.approx(worth.sum() / 100)


def test_only_rows_that_were_shown_count() -> None:
    """Lost rows have no clicks because nobody saw them: they must not lower the rate."""
    won = np.arange(200) % 4 == 0
    log = _small(click=(np.arange(200) % 8 == 0).astype(np.int8), won=won)
    fitted, report = fit_response(log, ResponseConfig(min_rows=500), np.random.default_rng(0))
    assert report.events[0].rows == 50
    assert fitted.predict(log).pctr[0] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("columns", "config", "message"),
    [
        ({}, {}, r"small\.csv: the column click is needed"),
        ({"click": np.zeros(200, np.int8)}, {"model": "logged"}, r"small\.csv: .*needs the column pctr"),
        ({"click": np.zeros(200, np.int8), "pctr": [0.1] * 199 + [np.nan]}, {"model": "logged"}, "row 199 has nan"),
        (
            {"click": np.ones(200, np.int8), "conversion": np.ones(200, np.int8)},
            {"conversion_model": "logged"},
            "predicts clicks, not conversions",
        ),
    ],
)
def test_a_log_that_does_not_suit_is_refused(columns: dict[str, object], config: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_response(_small(**columns), ResponseConfig(epochs=1, **config), np.random.default_rng(0))  # type: ignore[arg-type]


def test_an_ensemble_is_the_mean_of_members_that_differ(logged: tuple[AuctionLog, Response], tmp_path: Path) -> None:
    log = logged[0].rows(slice(0, 15_000))
    config = ResponseConfig(model="deepfm", epochs=3, members=3)
    fitted, _ = fit_response(log, config, np.random.default_rng(1))
    each = [member.click.predictor.predict(log) for member in fitted.members]
    assert len(each) == 3
    assert not np.allclose(each[0], each[1], rtol=1e-3)
    np.testing.assert_allclose(np.mean(each, axis=0), fitted.click.predictor.predict(log), rtol=1e-12)
    alone, _ = fit_response(log, ResponseConfig(model="deepfm", epochs=3), np.random.default_rng(1))
    assert alone.members == (alone,)
    assert alone.click.predictor.predict(log).tobytes() == each[0].tobytes()
    fitted.save(tmp_path / "model")
    again = FittedResponse.load(tmp_path / "model")
    assert [member.predict(log).pctr.tobytes() for member in again.members] == [
        member.predict(log).pctr.tobytes() for member in fitted.members
    ]


def test_rows_that_weigh_more_count_more(logged: tuple[AuctionLog, Response]) -> None:
    """Clicks of weight 3: the odds of every row are three times as high, before calibration."""
    log = logged[0].rows(slice(0, 15_000))
    weight = np.where(log.frame["click"].to_numpy() == 1, 3.0, 1.0)
    config = ResponseConfig(model="logistic", epochs=20)
    odds = []
    for given in (None, weight):
        fitted, _ = fit_response(log, config, np.random.default_rng(1), given)
        p = fitted.click.predictor.predict(log)
        odds.append(np.exp(np.mean(np.log(p / (1 - p)))))
    assert odds[1] / odds[0] == pytest.approx(3.0, rel=0.15)


def test_dropped_negatives_are_made_up_for(logged: tuple[AuctionLog, Response]) -> None:
    log = logged[0].rows(logged[0].frame["won"].to_numpy())
    cut = int(0.8 * len(log))
    config = logistic.Config(epochs=12, negatives=0.2)
    fitted, _ = config.fit(log.rows(slice(0, cut)), log.rows(slice(cut, len(log))), "click", np.random.default_rng(1))
    assert fitted.predict(log).mean() == pytest.approx(log.frame["click"].mean(), rel=0.08)
    again = config.restore(fitted.settings(), fitted.tensors())
    assert again.predict(log).tobytes() == fitted.predict(log).tobytes()


@pytest.mark.parametrize("joint", [None, "esmm"])
def test_conversions_and_worth_by_features_from_fit_to_disk(joint: str | None, tmp_path: Path) -> None:
    """Two sites: b converts three times as often and its conversions are worth four times as much."""
    rng, n = np.random.default_rng(0), 30_000
    dear = rng.random(n) < 0.5
    click = rng.random(n) < 0.4
    conversion = click & (rng.random(n) < np.where(dear, 0.3, 0.1))
    value = np.where(conversion, np.where(dear, 8.0, 2.0) * rng.lognormal(-0.125, 0.5, n), 0.0)
    columns = {"time": np.arange(n) * 1.0, "click": click.astype(np.int8), "conversion": conversion.astype(np.int8)}
    columns |= {"value": value, "won": np.ones(n, bool), "site": np.where(dear, "b", "a")}
    log = AuctionLog.from_columns(columns, categorical=("site",))
    fitted, report = fit_response(log, ResponseConfig(joint=joint, worth="lognormal", epochs=12), rng)
    assert [event.model for event in report.events] == ["esmm"] * 2 if joint else ["deepfm", "logistic"]
    found = fitted.predict(log)
    for rates, expected in ((found.pcvr, (0.1, 0.3)), (found.value, (2.0, 8.0)), (found.pctr, (0.4, 0.4))):
        np.testing.assert_allclose((rates[~dear].mean(), rates[dear].mean()), expected, rtol=0.12)
    fitted.save(tmp_path)
    again = FittedResponse.load(tmp_path).predict(log)
    for name in ("pctr", "pcvr", "value"):
        assert getattr(again, name).tobytes() == getattr(found, name).tobytes()


def test_unknown_joint_models_and_worths_are_told() -> None:
    with pytest.raises(InputError, match=r"joint model 'esm2'.*esmm"):
        ResponseConfig(joint="esm2")
    with pytest.raises(InputError, match="platt"):
        ResponseConfig(calibration="plat")
    with pytest.raises(InputError, match=r"model of worth 'gamma'.*lognormal"):
        ResponseConfig(worth="gamma")


@pytest.mark.parametrize(("name", "kind"), [("platt", "log-odds x"), ("none", "identity"), ("odds", "odds x")])
def test_calibration_by_name(logged: tuple[AuctionLog, Response], name: str, kind: str) -> None:
    log = logged[0].rows(slice(0, 20_000))
    config = ResponseConfig(model="logistic", epochs=3, calibration=name)
    _, report = fit_response(log, config, np.random.default_rng(1))
    assert report.events[0].calibration.startswith(kind)


@pytest.mark.parametrize("model", [name for name in MODELS if name != "logged"])
def test_every_model_predicts_the_same_from_disk(
    logged: tuple[AuctionLog, Response], model: str, tmp_path: Path
) -> None:
    log = logged[0].rows(slice(0, 6_000))
    fitted, _ = fit_response(log, ResponseConfig(model=model, epochs=2), np.random.default_rng(1))
    fitted.save(tmp_path)
    assert FittedResponse.load(tmp_path).predict(log).pctr.tobytes() == fitted.predict(log).pctr.tobytes()


def test_nothing_won_is_nothing_to_learn_and_no_click_is_no_conversion() -> None:
    lost = _small(click=np.zeros(200, np.int8), won=np.zeros(200, bool))
    with pytest.raises(InputError, match="no row was won"):
        fit_response(lost, ResponseConfig(), np.random.default_rng(0))
    nobody = _small(click=np.zeros(200, np.int8), conversion=np.zeros(200, np.int8))
    fitted, report = fit_response(nobody, ResponseConfig(), np.random.default_rng(0))
    assert set(fitted.predict(nobody).pcvr.tolist()) == {0.0}
    assert "no row was clicked" in " ".join(report.notes)


@pytest.mark.parametrize(("joint", "members"), [(None, 2), ("esmm", 1)])
def test_a_segment_that_the_model_cannot_see_is_corrected_and_a_small_one_is_shrunk(
    joint: str | None, members: int, tmp_path: Path
) -> None:
    """No feature tells segments apart: b clicks three times as often as the others, and c, of 60 rows, seems to."""
    rng, n = np.random.default_rng(0), 24_000
    segment = np.where(rng.random(n) < 0.2, "b", rng.choice(["a", "d", "e", "f"], n)).astype(object)
    segment[::400] = "c"
    click = rng.random(n) < np.where(segment == "b", 0.3, 0.1)
    click[segment == "c"] = np.arange(60) % 10 < 3
    columns = {"time": np.arange(n) * 1.0, "click": click, "conversion": click & (rng.random(n) < 0.2)}
    columns |= {"segment": segment, "site": rng.choice(["x", "y"], n)}
    log = AuctionLog.from_columns(columns, categorical=("site",))
    config = ResponseConfig(model="logistic", epochs=3, joint=joint, members=members)
    plain, (fitted, report) = (
        fit_response(log, each, np.random.default_rng(1)) for each in (config, replace(config, segments=True))
    )
    before, p = plain[0].predict(log).pctr, fitted.predict(log).pctr
    assert before[segment == "b"].mean() == pytest.approx(0.14, rel=0.1)
    means = [p[np.isin(segment, list(names))].mean() for names in ("adef", "b", "c")]
    np.testing.assert_allclose(means[:2], [0.1, 0.3], rtol=0.15)
    assert 0.1 < means[2] < 0.24, "the twelve rows of the last fifth are few"
    assert "6 segments" in report.events[0].calibration
    fitted.save(tmp_path)
    again = FittedResponse.load(tmp_path)
    assert again.predict(log).pctr.tobytes() == p.tobytes()
    assert again.members[0].click.segments is not None


def test_a_log_without_a_click_is_told_plainly() -> None:
    nobody = _small(click=np.zeros(200, np.int8))
    _, report = fit_response(nobody, ResponseConfig(), np.random.default_rng(0))
    assert "not one of 200 rows has a click" in report.notes[0]

"""Joint models: the loss is stable, both rates are learned from all shown rows, and what is saved comes back."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from bidpilot.ctr.embedding import Batch
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.joint import mmoe, ple
from bidpilot.ctr.joint.base import JointConfig, TrainedJoint, fit_joint, joint_config, joint_loss, labels_of
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.names import JOINT_MODELS

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray


def traffic(rng: np.random.Generator, rows: int, *, common: bool = True) -> tuple[AuctionLog, FloatArray, FloatArray]:
    """Clicks follow an interaction of two fields; conversions the same one (common), or one of two other fields."""
    a, b, c, d = (rng.integers(0, 4, rows) for _ in range(4))
    tastes = np.random.default_rng(7).choice([-1.0, 1.0], (4, 4))
    pctr = 1.0 / (1.0 + np.exp(2.0 - 1.2 * tastes[a, b]))
    pcvr = 1.0 / (1.0 + np.exp(2.2 - 1.2 * (tastes[a, b] if common else tastes[c, d])))
    click = rng.random(rows) < pctr
    conversion = click & (rng.random(rows) < pcvr)
    columns = {"time": np.arange(rows) * 1.0, "click": click, "conversion": conversion, "won": np.ones(rows, bool)}
    fields = {name: part.astype(str) for name, part in zip("abcd", (a, b, c, d), strict=True)}
    return AuctionLog.from_columns(columns | fields, categorical=tuple("abcd")), pctr, pcvr


def quick(name: str, epochs: int = 8) -> JointConfig:
    return replace(joint_config(name), epochs=epochs)


@cache
def fitted(name: str) -> TrainedJoint:
    log, _, _ = traffic(np.random.default_rng(0), 8_000)
    return quick(name).refit(log, 8, np.random.default_rng(1))


def excess(truth: FloatArray, p: FloatArray) -> float:
    """Return the mean Kullback-Leibler divergence of predictions p (n,) from the true rates (n,)."""
    return float(np.mean(truth * np.log(truth / p) + (1 - truth) * np.log((1 - truth) / (1 - p))))


def test_the_joint_models_are_found() -> None:
    assert JOINT_MODELS == ("esmm", "mmoe", "ple")
    with pytest.raises(InputError, match="esmm, mmoe, ple"):
        joint_config("nosuch")


def test_the_loss_is_that_of_the_two_probabilities() -> None:
    output = torch.tensor([[0.3, -1.2], [-2.0, 0.5], [1.0, 2.0]], dtype=torch.float64)
    label = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    p, q = torch.sigmoid(output).unbind(1)
    want = -torch.stack([p[0].log() + (p * q)[0].log(), (1 - p)[1].log() + (1 - p * q)[1].log()])
    torch.testing.assert_close(joint_loss(output, label)[:2], want)
    torch.testing.assert_close(joint_loss(output, label)[2], -p[2].log() - (1 - p * q)[2].log())


@pytest.mark.parametrize("size", [1e-4, 30.0, 200.0])
def test_the_loss_and_its_slope_are_finite_for_log_odds_of_any_size(size: float) -> None:
    signs = torch.tensor([[s, t] for s in (-1.0, 1.0) for t in (-1.0, 1.0)]).repeat(3, 1)
    label = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]).repeat_interleave(4, 0)
    output = (size * signs).requires_grad_()
    loss = joint_loss(output, label)
    loss.sum().backward()
    assert output.grad is not None
    assert torch.isfinite(loss).all()
    assert torch.isfinite(output.grad).all()
    sure = joint_loss(torch.full((1, 2), size), torch.tensor([[1.0, 0.0]]))
    assert size < 30.0 or sure.item() == pytest.approx(size - np.log(2.0), rel=1e-4), "surely wrong costs its log-odds"


@pytest.mark.parametrize("name", JOINT_MODELS)
def test_the_untrained_network_predicts_both_base_rates(name: str) -> None:
    log, _, _ = traffic(np.random.default_rng(2), 2_000)
    clicks, conversions = labels_of(log).sum(axis=0)
    pctr, pcvr = joint_config(name).untrained(log, np.random.default_rng(0)).predict(log)
    np.testing.assert_allclose(pctr, (clicks + 0.5) / 2_001, rtol=1e-5)
    np.testing.assert_allclose(pcvr, (conversions + 0.5) / (clicks + 1), rtol=1e-5)


@pytest.mark.parametrize("name", JOINT_MODELS)
def test_an_interaction_is_recovered_for_both_events(name: str) -> None:
    log, pctr, pcvr = traffic(np.random.default_rng(3), 4_000)
    for truth, p in zip((pctr, pcvr), fitted(name).predict(log), strict=True):
        assert excess(truth, p) < 0.4 * excess(truth, np.full(len(truth), truth.mean()))


def test_no_model_beats_the_truth() -> None:
    """On new rows, by the same loss: a model that did would have seen their labels."""
    log, pctr, pcvr = traffic(np.random.default_rng(3), 4_000)
    label = torch.from_numpy(labels_of(log))
    truth = joint_loss(torch.logit(torch.from_numpy(np.stack([pctr, pcvr], axis=1))), label)
    for name in JOINT_MODELS:
        p = np.stack(fitted(name).predict(log), axis=1)
        worse = (joint_loss(torch.logit(torch.from_numpy(p)), label) - truth).numpy()
        assert worse.mean() > -3.0 * worse.std() / np.sqrt(len(worse))
        assert worse.mean() < 0.05 * float(truth.mean())


def on_impressions(log: AuctionLog, new: AuctionLog) -> FloatArray:
    """Return conversions given a click of all new impressions, from a network fitted to the rows of a log."""
    cut = round(0.8 * len(log))
    early, late = log.rows(slice(0, cut)), log.rows(slice(cut, len(log)))
    return quick("esmm").fit(early, late, np.random.default_rng(1))[0].predict(new)[1]


def test_conversions_on_all_impressions_gain_where_clicks_tell_of_them() -> None:
    """Against the same network on clicked rows alone, where one trait decides both."""
    log, _, _ = traffic(np.random.default_rng(0), 8_000, common=True)
    new, _, pcvr = traffic(np.random.default_rng(3), 4_000, common=True)
    clicked = log.rows(log.frame["click"].to_numpy() == 1)
    alone, joint = (excess(pcvr, on_impressions(rows, new)) for rows in (clicked, log))
    assert alone > 2.0 * joint


@pytest.mark.parametrize("name", ["mmoe", "ple"])
def test_gates_sum_to_1_and_differ_between_rows(name: str) -> None:
    log, _, _ = traffic(np.random.default_rng(4), 500)
    joint = fitted(name)
    with torch.no_grad():
        e, _ = joint.network.table(Batch.of(joint.encoder.transform(log)))
        gates = joint.network.weights(e)  # type: ignore[operator]
    assert len(gates) == {"mmoe": 2, "ple": 5}[name]
    for weights in gates:
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(1), torch.ones(500))
    assert max(float(weights.std(0).max()) for weights in gates) > 1e-3, "a gate looks at the row"


@pytest.mark.parametrize("name", JOINT_MODELS)
def test_a_restored_model_has_the_same_bytes(name: str) -> None:
    log, _, _ = traffic(np.random.default_rng(5), 1_000)
    joint = fitted(name)
    again = joint.config.restore(joint.settings(), joint.tensors())
    for before, after in zip(joint.predict(log), again.predict(log), strict=True):
        assert before.tobytes() == after.tobytes()
    for place, task in enumerate(again.tasks):
        assert task.predict(log).tobytes() == joint.predict(log)[place].tobytes()


@pytest.mark.parametrize("name", JOINT_MODELS)
def test_the_same_seed_gives_the_same_weights_and_another_does_not(name: str) -> None:
    log, _, _ = traffic(np.random.default_rng(6), 1_500)
    config, weights = quick(name, 1), []
    for noise, seed in ((1, 8), (2, 8), (3, 9)):
        torch.manual_seed(noise)
        joint = config.refit(log, 1, np.random.default_rng(seed))
        weights.append(b"".join(array.tobytes() for array in joint.tensors().values()))
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_rows_that_were_not_shown_teach_nothing() -> None:
    log, _, _ = traffic(np.random.default_rng(6), 1_500)
    hidden = AuctionLog.from_columns(
        {name: np.repeat(log.frame[name].to_numpy(), 2) for name in ("time", "click", "conversion", *"abcd")}
        | {"won": np.tile([True, False], 1_500)},
        categorical=tuple("abcd"),
    )
    config = quick("esmm", 1)
    both = [fit_joint(part, "esmm", 0.2, np.random.default_rng(0), config).joint for part in (log, hidden)]
    assert both[0].predict(log)[0].tobytes() == both[1].predict(log)[0].tobytes()


def test_rows_that_weigh_more_count_more() -> None:
    """Clicks of weight 3: the odds of a click are three times as high, and conversions given a click as likely.

    Every row is there twice, first not shown and of weight 50: those weights must not be taken for the others.
    """
    log, _, _ = traffic(np.random.default_rng(6), 4_000)
    weight = np.where(log.frame["click"].to_numpy() == 1, 3.0, 1.0)
    frame = {name: np.repeat(log.frame[name].to_numpy(), 2) for name in ("time", "click", "conversion", *"abcd")}
    half = AuctionLog.from_columns(frame | {"won": np.tile([False, True], 4_000)}, categorical=tuple("abcd"))
    odds, converted = [], []
    for given in (None, np.stack([np.full(4_000, 50.0), weight], axis=1).ravel()):
        fit = fit_joint(half, "esmm", 0.2, np.random.default_rng(0), quick("esmm"), weight=given)
        click, conversion = fit.joint.predict(log)
        odds.append(np.exp(np.mean(np.log(click / (1.0 - click)))))
        converted.append(conversion.mean())
        assert fit.calibrators[0](click).mean() == pytest.approx(click.mean(), rel=0.15), "calibrated on weighted rows"
    assert odds[1] / odds[0] == pytest.approx(3.0, rel=0.15)
    assert converted[1] / converted[0] == pytest.approx(1.0, rel=0.08)


def test_calibrators_and_refusals() -> None:
    log, _, _ = traffic(np.random.default_rng(3), 4_000)
    fit = fit_joint(log, "esmm", 0.2, np.random.default_rng(0), quick("esmm", 2))
    assert len(fit.curve.valid) == 3
    assert "isotonic" in fit.calibrators[0].kind
    assert "odds" in fit.calibrators[1].kind, "clicked rows alone must not bend conversions"
    with pytest.raises(InputError, match="column conversion is needed"):
        labels_of(AuctionLog.from_columns({"time": [0.0], "click": [1]}))
    with pytest.raises(InputError, match="negatives must be 1"):
        replace(joint_config("ple"), negatives=0.5)
    for config in (mmoe.Config, ple.Config):
        with pytest.raises(InputError, match="at least 1"):
            config(units=0)

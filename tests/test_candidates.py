"""Candidates side by side: the same rows for all, the best first, and a sentence that claims no more than they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.journal import Journal
from bidpilot.ctr.synthetic import Exchange, ExchangeConfig
from bidpilot.experiments.candidates import advice, candidate_models, candidate_table, fit_candidates
from bidpilot.experiments.config import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.log import AuctionLog


@pytest.fixture(scope="module")
def log() -> AuctionLog:
    return Exchange(ExchangeConfig(opportunities=5_000)).logged(4, np.random.default_rng(0))[0]


def settings(kind: str, **others: object) -> Settings:
    return load_settings(None, {"model.kind": kind, **{f"model.{name}": value for name, value in others.items()}})


def test_the_best_comes_first_and_nothing_is_worse_than_itself(log: AuctionLog) -> None:
    cut = int(0.7 * len(log))
    train, held_out = log.rows(slice(0, cut)), log.rows(slice(cut, len(log)))
    found = fit_candidates(settings("logistic,deepfm", epochs=3), train, np.random.default_rng(1))
    assert found[0].loss <= found[1].loss
    table = candidate_table(found, held_out, np.random.default_rng(2))
    assert table["worse"].iloc[0] == 0.0
    for low, mean, high in (("auc_low", "auc", "auc_high"), ("loss_low", "log_loss", "loss_high")):
        assert ((table[low] < table[mean]) & (table[mean] < table[high])).all()
    assert (table["megabytes"] > 0).all()
    assert found[0].name in advice(table)


def test_each_kind_names_its_models(log: AuctionLog) -> None:
    assert candidate_models(settings("auto"), log) == ("logistic", "deepfm")
    assert candidate_models(settings("deepfm, logistic"), log) == ("deepfm", "logistic")
    every = candidate_models(settings("all"), log)
    assert {"logistic", "deepfm", "fm", "dcnv2"} < set(every)
    assert "logged" not in every, "this log came without predictions"


@pytest.mark.parametrize(("kind", "complaint"), [("deepfm2", "'deepfm2' is no model"), ("fm,fm", "comes twice")])
def test_an_unknown_model_is_told_with_the_known_ones(kind: str, complaint: str) -> None:
    with pytest.raises(InputError, match=f"{complaint}.*auto, all.*logistic"):
        settings(kind)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.1, 0.2, "beyond chance"), (-0.1, 0.1, "cannot be told from it"), (-0.2, -0.1, "b did better")],
)
def test_the_advice_follows_the_intervals(low: float, high: float, words: str) -> None:
    table = pd.DataFrame({"model": ["a", "b"], "worse_low": [0.0, low], "worse_high": [0.0, high]}).assign(fitted="a")
    assert advice(table).startswith("use a: ")
    assert words in advice(table)


def test_a_checkpoint_of_other_settings_is_refused(log: AuctionLog, tmp_path: Path) -> None:
    train = log.rows(slice(0, 3_000))
    for key in ("one", "one"):
        journal = Journal(tmp_path, key=key, every=0.0)
        fit_candidates(settings("logistic", epochs=2), train, np.random.default_rng(1), journal=journal)
    assert list(tmp_path.glob("*.safetensors"))
    other = Journal(tmp_path, key="two", every=0.0)
    with pytest.raises(InputError, match=r"other settings.*--resume"):
        fit_candidates(settings("logistic", epochs=2), train, np.random.default_rng(1), journal=other)


def test_a_joint_model_takes_the_place_of_all_and_a_constant_is_no_choice(log: AuctionLog) -> None:
    assert candidate_models(settings("all", joint="esmm"), log) == ("esmm",)
    found = fit_candidates(settings("auto", joint="esmm", epochs=1), log, np.random.default_rng(1))
    assert [each.response.click.model for each in found] == [found[0].name] == ["esmm"]
    few = fit_candidates(settings("logistic"), log.rows(slice(0, 60)), np.random.default_rng(1))
    assert "too few clicks" in advice(candidate_table(few, log, np.random.default_rng(2)))


def test_a_model_is_the_same_whichever_others_are_named(log: AuctionLog) -> None:
    train = log.rows(slice(0, 3_000))
    alone, both = (
        {each.name: each for each in fit_candidates(settings(kind, epochs=1), train, np.random.default_rng(1))}
        for kind in ("deepfm", "logistic,deepfm")
    )
    p, q = (found["deepfm"].response.predict(train).pctr for found in (alone, both))
    assert p.tobytes() == q.tobytes()

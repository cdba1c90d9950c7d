"""The exported model scores as the fitted one, on rows it has never seen, and is refused when altered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fitting import ResponseConfig, fit_response
from bidpilot.ctr.metrics import auc
from bidpilot.ctr.serving import Scorer
from bidpilot.ctr.synthetic import Exchange, ExchangeConfig

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.response import EventModel

pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def log() -> AuctionLog:
    return Exchange(ExchangeConfig(opportunities=6_000, ctr=0.1)).logged(3, np.random.default_rng(0))[0]


@pytest.fixture(scope="module")
def model(log: AuctionLog) -> EventModel:
    config = ResponseConfig(model="deepfm", epochs=4)
    return fit_response(log.rows(slice(0, 12_000)), config, np.random.default_rng(1))[0].click


def test_float32_is_the_model_itself_and_survives_the_disk(log: AuctionLog, model: EventModel, tmp_path: Path) -> None:
    scorer = Scorer.of(model)
    np.testing.assert_allclose(scorer.predict(log), model.predict(log), rtol=2e-4)
    scorer.save(tmp_path / "served")
    again = Scorer.load(tmp_path / "served")
    assert again.predict(log).tobytes() == scorer.predict(log).tobytes()
    one = log.rows(slice(5, 6))
    np.testing.assert_allclose(again.predict(one), scorer.predict(log)[5:6], rtol=2e-4)


def test_int8_keeps_order_and_level(log: AuctionLog, model: EventModel) -> None:
    later = log.rows(slice(12_000, len(log)))
    exact, small = model.predict(later), Scorer.of(model, "int8").predict(later)
    y = later.frame["click"].to_numpy()
    assert abs(auc(y, small) - auc(y, exact)) < 0.002
    assert small.mean() == pytest.approx(exact.mean(), rel=0.01)
    assert not np.array_equal(small, exact), "it is another network"


def test_an_altered_network_is_refused(model: EventModel, tmp_path: Path) -> None:
    Scorer.of(model).save(tmp_path)
    path = tmp_path / "network.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:-9] + b"\0" + content[-8:])
    with pytest.raises(InputError, match=r"network\.onnx: its SHA-256"):
        Scorer.load(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        Scorer.load(tmp_path)


def test_what_cannot_be_exported_is_told(log: AuctionLog, model: EventModel) -> None:
    with pytest.raises(InputError, match="float32, int8"):
        Scorer.of(model, "int4")
    constant = fit_response(log.rows(slice(0, 50)), ResponseConfig(), np.random.default_rng(0))[0].click
    with pytest.raises(InputError, match="'constant' is no single network"):
        Scorer.of(constant)

"""The networks: formulas by hand, and known coefficients and interactions recovered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from bidpilot.ctr.fields import FieldEncoder, FieldSettings
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.loop import scores
from bidpilot.ctr.metrics import auc
from bidpilot.ctr.models import deepfm, logistic

if TYPE_CHECKING:
    from bidpilot.ctr.training import NetworkConfig

CLOCKLESS = FieldSettings(hour=False)
N = 24_000


def crossed(rng: np.random.Generator) -> tuple[AuctionLog, np.ndarray]:
    """Draw clicks from a law that is nothing but an interaction: a x b decides, each alone says nothing."""
    a, b = rng.integers(0, 2, (2, N))
    p = np.where(a == b, 0.3, 0.05)
    columns = {"time": np.arange(N) * 1.0, "click": (rng.random(N) < p).astype(np.int8), "a": a.astype(str)}
    return AuctionLog.from_columns(columns | {"b": b.astype(str)}, categorical=("a", "b")), p


def _auc(config: NetworkConfig, log: AuctionLog) -> float:
    train, valid, test = (log.rows(part) for part in (slice(0, 14_000), slice(14_000, 18_000), slice(18_000, N)))
    predictor, _ = config.fit(train, valid, "click", np.random.default_rng(5))
    return auc(test.frame["click"].to_numpy(), predictor.predict(test))


def test_deepfm_finds_an_interaction_that_a_regression_cannot() -> None:
    log, truth = crossed(np.random.default_rng(0))
    best = auc(log.frame["click"].to_numpy(), truth)
    assert _auc(deepfm.Config(epochs=12, fields=CLOCKLESS), log) > best - 0.03
    assert _auc(logistic.Config(epochs=12, fields=CLOCKLESS), log) < 0.56


def test_logistic_recovers_known_coefficients() -> None:
    rng = np.random.default_rng(1)
    site = rng.integers(0, 4, N)
    weight = np.array([-1.0, -0.3, 0.3, 1.0])
    p = 1 / (1 + np.exp(2.0 - weight[site]))
    columns = {"time": np.arange(N) * 1.0, "click": (rng.random(N) < p).astype(np.int8), "site": site.astype(str)}
    log = AuctionLog.from_columns(columns, categorical=("site",))
    config = logistic.Config(epochs=20, fields=CLOCKLESS)
    fitted, _ = config.fit(log.rows(slice(0, 18_000)), log.rows(slice(18_000, N)), "click", rng)
    probe = AuctionLog.from_columns({"time": np.arange(4.0), "site": ["0", "1", "2", "3"]}, categorical=("site",))
    odds = fitted.predict(probe)
    np.testing.assert_allclose(np.log(odds / (1 - odds)), weight - 2.0, atol=0.2)


@pytest.mark.parametrize("module", [logistic, deepfm])
def test_an_untrained_network_predicts_the_base_rate_and_the_same_seed_is_the_same_network(module: object) -> None:
    log, _ = crossed(np.random.default_rng(2))
    encoder = FieldEncoder.fit(log)
    config = module.Config()  # type: ignore[attr-defined]
    networks = [config.build(encoder, 0.1, torch.Generator().manual_seed(7)) for _ in range(2)]
    fields = encoder.transform(log.rows(slice(0, 50)))
    outputs = [scores(net, fields) for net in networks]
    assert torch.equal(outputs[0], outputs[1])
    np.testing.assert_allclose(torch.sigmoid(outputs[0]).numpy(), 0.1, atol=0.02)


def test_factorisation_is_the_sum_over_pairs() -> None:
    """With the deep part silent: bias + weights + sum over i < j of <e_i, e_j>."""
    log, _ = crossed(np.random.default_rng(3))
    encoder = FieldEncoder.fit(log)
    net = deepfm.Config().build(encoder, 0.1, torch.Generator().manual_seed(8))
    with torch.no_grad():
        net.table.weight[:, 0].normal_(generator=torch.Generator().manual_seed(9))
    fields = encoder.transform(log.rows(slice(0, 5)))
    for place, row in enumerate(fields.ids):
        e = [net.table.weight[i, 1:] for i in row]
        pairs = sum(e[i] @ e[j] for i in range(len(e)) for j in range(i + 1, len(e)))
        expected = net.bias + net.table.weight[row, 0].sum() + pairs
        got = scores(net, fields.rows(slice(place, place + 1)))
        torch.testing.assert_close(got[0], expected)

"""The fit loop: it stops where later rows say so, keeps the best weights, and depends on its rng alone."""

from __future__ import annotations

import numpy as np
import torch

from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.models import deepfm, logistic


def noisy(rng: np.random.Generator, rows: int = 6_000) -> AuctionLog:
    """Many rare ids and nothing to learn from them: a loop that does not stop learns them by heart."""
    columns = {"time": np.arange(rows) * 1.0, "click": (rng.random(rows) < 0.1).astype(np.int8)}
    return AuctionLog.from_columns(columns | {"id1": rng.integers(0, 2_000, rows).astype(str)}, categorical=("id1",))


def test_early_stopping_keeps_the_best_epoch() -> None:
    rng = np.random.default_rng(0)
    log = noisy(rng)
    train, valid = log.rows(slice(0, 4_000)), log.rows(slice(4_000, 6_000))
    fitted, curve = deepfm.Config(epochs=40, patience=3).fit(train, valid, "click", rng)
    assert len(curve.valid) < 41
    p = fitted.predict(valid)
    y = valid.frame["click"].to_numpy()
    loss = -np.mean(y * np.log(p) + (1 - y) * np.log1p(-p))
    np.testing.assert_allclose(loss, curve.valid[curve.best], rtol=1e-5)
    assert curve.valid[curve.best] <= min(curve.valid) * 1.01


def test_the_same_stream_gives_the_same_weights_whatever_the_global_state() -> None:
    log = noisy(np.random.default_rng(1))
    train, valid = log.rows(slice(0, 4_000)), log.rows(slice(4_000, 6_000))
    weights = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        state = torch.random.get_rng_state()
        fitted, _ = deepfm.Config(epochs=2).fit(train, valid, "click", np.random.default_rng(3))
        assert torch.equal(torch.random.get_rng_state(), state), "the global generator is left alone"
        weights.append(b"".join(array.tobytes() for array in fitted.tensors().values()))
    assert weights[0] == weights[1]


def test_a_restored_predictor_predicts_the_same() -> None:
    rng = np.random.default_rng(4)
    log = noisy(rng)
    config = logistic.Config(epochs=2)
    fitted, _ = config.fit(log.rows(slice(0, 4_000)), log.rows(slice(4_000, 6_000)), "click", rng)
    again = config.restore(fitted.settings(), fitted.tensors())
    assert again.predict(log).tobytes() == fitted.predict(log).tobytes()

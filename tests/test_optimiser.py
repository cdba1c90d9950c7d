"""Training row by row: the same rows as a plain reference, only those of the batch, with the prior shared out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bidpilot.ctr.embedding import PAD, Batch
from bidpilot.ctr.fields import FieldEncoder, Fields
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.loop import batches
from bidpilot.ctr.models import deepfm
from bidpilot.ctr.optimiser import RowWise, low_precision

N = 64


class Bagged(FieldEncoder):
    """An encoder with one single-valued field of 10 ids, and a bag of up to 3 of 5 more."""

    size = 15
    fields = 1
    bags = (3,)
    numbers = 0


def rows(rng: np.random.Generator) -> tuple[Fields, np.ndarray]:
    bags = rng.integers(10, 15, (N, 3)).astype(np.int32)
    bags[rng.random((N, 3)) < 0.4] = PAD
    fields = Fields(rng.integers(0, 10, (N, 1)).astype(np.int32), bags, np.zeros((N, 0), np.float32))
    return fields, (rng.random(N) < 0.3).astype(np.float32)


def network(prior: float = 0.3) -> deepfm.DeepFM:
    config = deepfm.Config(dropout=0.0, dimension=4, hidden=(8,), prior=prior, embedding_prior=prior)
    return config.build(Bagged({}, {}), 0.3, torch.Generator().manual_seed(0))


def test_looking_up_once_gives_the_same_embeddings() -> None:
    fields, _ = rows(np.random.default_rng(0))
    table, batch = network().table, Batch.of(fields)
    for plain, once in zip(table(batch), table(batch, table.find(batch)), strict=True):
        torch.testing.assert_close(once, plain)


def test_an_empty_bag_is_zero_and_order_does_not_matter() -> None:
    table = network().table
    ids, none = torch.zeros(3, 1, dtype=torch.int32), torch.zeros(3, 0)
    bags = torch.tensor([[PAD, PAD, PAD], [10, 12, PAD], [12, PAD, 10]], dtype=torch.int32)
    vectors, _ = table(Batch(ids, bags, none))
    assert not vectors[0, 1].any()
    torch.testing.assert_close(vectors[1, 1], vectors[2, 1])
    torch.testing.assert_close(vectors[1, 1], table.weight[[10, 12], 1:].mean(0))


def test_a_step_is_row_wise_adagrad_on_the_rows_of_the_batch() -> None:
    fields, label = rows(np.random.default_rng(1))
    net, twin = network(), network()
    counts = torch.from_numpy(fields.counts(15))
    config = deepfm.Config(row_rate=0.1, row_start=0.01)
    optimiser = RowWise(net, config, N, counts)
    part = np.arange(16)
    batch, labels = Batch.of(fields.rows(part)), torch.from_numpy(label[part])
    optimiser.step(batch, labels, None, torch.Generator())
    twin.loss(twin(*twin.table(batch)), labels).mean().backward()
    ids = torch.cat([batch.ids, batch.bags], dim=1).ravel()
    seen = torch.bincount(ids[ids >= 0].long(), minlength=15)
    assert twin.table.weight.grad is not None
    gradient = twin.table.weight.grad + twin.table.weight * twin.table.precision * (seen / (counts * 16))[:, None]
    moved = 0.01 + gradient.square().mean(1, keepdim=True)
    expected = torch.where(seen[:, None] > 0, twin.table.weight - 0.1 * gradient / moved.sqrt(), twin.table.weight)
    torch.testing.assert_close(net.table.weight, expected)


def test_the_prior_is_the_same_over_an_epoch_whatever_the_batches() -> None:
    """Each occurrence takes its share: over all batches of an epoch, every id that occurs is drawn to 0 once."""
    fields, _ = rows(np.random.default_rng(2))
    counts = fields.counts(15)
    for size in (8, 16):
        total = np.zeros(15)
        for part in batches(N, size, np.random.default_rng(3)):
            total += fields.rows(part).counts(15) / np.maximum(counts, 1)
        np.testing.assert_allclose(total, counts > 0)


@pytest.mark.parametrize("rows_", [10, 100_000, 1_100_000])
def test_an_epoch_has_every_row_once(rows_: int) -> None:
    parts = list(batches(rows_, 4_096, np.random.default_rng(0)))
    assert (np.sort(np.concatenate(parts)) == np.arange(rows_)).all()
    assert {len(part) for part in parts[:-1]} <= {4_096}
    assert not np.array_equal(np.concatenate(parts), np.arange(rows_))


def test_large_tables_learn_as_well_row_by_row() -> None:
    """On an interaction of two fields, both ways come as close to the truth."""
    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 6, 8_000), rng.integers(0, 6, 8_000)
    p = np.where((a + b) % 2, 0.6, 0.1)
    columns = {"time": np.arange(8_000.0), "click": (rng.random(8_000) < p).astype(np.int8)}
    log = AuctionLog.from_columns(columns | {"a": a.astype(str), "b": b.astype(str)}, categorical=("a", "b"))
    train, valid = log.rows(slice(0, 6_000)), log.rows(slice(6_000, 8_000))
    errors = []
    for whole_up_to in (10**6, 0):
        config = deepfm.Config(epochs=15, whole_up_to=whole_up_to, row_rate=0.1)
        fitted, _ = config.fit(train, valid, "click", np.random.default_rng(6))
        errors.append(float(np.abs(fitted.predict(valid) - p[6_000:]).mean()))
    assert max(errors) < 0.06, errors


def test_bfloat16_is_only_taken_where_rows_are_many() -> None:
    assert low_precision("bfloat16", 10)
    assert not low_precision("float32", 10**9)
    assert not low_precision("auto", 1_000)

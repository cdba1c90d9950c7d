"""The one fit loop: networks on plain arrays, early stopping on a later-in-time split, best weights kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bidpilot.ctr.embedding import Batch
from bidpilot.ctr.optimiser import Optimiser, RowWise, Whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from bidpilot.ctr.fields import Fields
    from bidpilot.ctr.network import Network
    from bidpilot.ctr.training import NetworkConfig
    from bidpilot.ctr.types import IntArray

CHUNK = 16_384
"""Rows per forward pass where no gradient is needed."""

STEPS = 40
"""A small log is cut into smaller batches, so that an epoch has at least about this many steps."""

TIE = 1e-3
"""Validation losses this close (relative) are equal within noise: the later epoch, nearer to convergence, is kept."""

BLOCK, WINDOW = 4_096, 256
"""Rows that stay together when more are shuffled than fit in memory, and how many such blocks are mixed at once."""


class Rows(NamedTuple):
    """What is learned from: features, labels (n,) or (n, L), and weights (n,) of the rows where they differ."""

    fields: Fields
    label: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Curve:
    """Training and validation loss after each epoch; epoch 0 is the network before training."""

    train: tuple[float, ...] = ()
    valid: tuple[float, ...] = ()

    @property
    def settled(self) -> int:
        """Return the first epoch whose validation loss is about the lowest."""
        return int(self._lowest[0])

    @property
    def best(self) -> int:
        """Return the last epoch whose validation loss is about the lowest: its weights were kept."""
        return int(self._lowest[-1])

    @property
    def _lowest(self) -> IntArray:
        valid = np.array(self.valid or (0.0,))
        return np.flatnonzero(valid <= valid.min() + TIE * abs(valid.min()))


def fit_network(network: Network, train: Rows, valid: Rows, config: NetworkConfig, rng: np.random.Generator) -> Curve:
    """Minimise the loss plus prior; leave the network with the weights of the best epoch."""
    losses = [(mean_loss(network, train), mean_loss(network, valid))]
    best, curve = _weights(network), Curve()
    bar = tqdm(train_epochs(network, train, config, rng), "fit", config.epochs, leave=False, unit="epoch", disable=None)
    for loss, average in bar:
        losses.append((loss, mean_loss(average, valid)))
        curve = Curve(*(tuple(column) for column in zip(*losses, strict=True)))
        bar.set_postfix(train=f"{loss:.5f}", valid=f"{losses[-1][1]:.5f}")
        if curve.best == len(losses) - 1:
            best = _weights(average)
        if curve.settled + config.patience < len(losses):
            break
    network.load_state_dict(best)
    return curve


def train_epochs(
    network: Network, rows: Rows, config: NetworkConfig, rng: np.random.Generator
) -> Iterator[tuple[float, Network]]:
    """Train epoch by epoch; yield the mean loss on the way and the network to keep."""
    n = len(rows.label)
    size = max(min(config.batch_size, n // STEPS), 1)
    optimiser = _optimiser(network, rows, config, size)
    noise = torch_generator(rng)
    for _ in range(config.epochs):
        total = 0.0
        for part in batches(n, size, rng):
            total += optimiser.step(*_tensors(rows, part), noise) * len(part)
        yield total / n, optimiser.average


def batches(n: int, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Yield the rows of every batch of an epoch, each of n rows once, shuffled.

    Many rows are shuffled in blocks that lie together, and within a window of blocks: a log on disk is read in pieces.
    """
    if n <= BLOCK * WINDOW:
        order = rng.permutation(n)
        yield from (order[start : start + size] for start in range(0, n, size))
        return
    starts, left = rng.permutation(-(-n // BLOCK)) * BLOCK, np.zeros(0, dtype=np.int64)
    for first in range(0, len(starts), WINDOW):
        rows = (starts[first : first + WINDOW, None] + np.arange(BLOCK)).ravel()
        left = np.concatenate([left, rng.permutation(rows[rows < n])])
        whole = len(left) // size * size
        yield from (left[start : start + size] for start in range(0, whole, size))
        left = left[whole:]
    if len(left):
        yield left


@torch.no_grad()
def scores(network: Network, fields: Fields) -> Tensor:
    """Return the network's outputs (n,) or (n, T), in chunks."""
    parts = [slice(start, start + CHUNK) for start in range(0, max(len(fields), 1), CHUNK)]
    outputs = [network(*network.table(Batch.of(fields.rows(part)))) for part in parts]
    return torch.cat(outputs) + network.shift


def mean_loss(network: Network, rows: Rows) -> float:
    """Return the mean loss of a network on rows."""
    losses = network.loss(scores(network, rows.fields).double(), torch.from_numpy(rows.label).double())
    if rows.weight is not None:
        losses = losses * torch.from_numpy(rows.weight)
    return float(losses.mean())


def torch_generator(rng: np.random.Generator) -> torch.Generator:
    """Return a torch generator seeded from rng."""
    return torch.Generator().manual_seed(int(rng.integers(2**63)))


def _optimiser(network: Network, rows: Rows, config: NetworkConfig, size: int) -> Optimiser:
    ids = len(network.table.weight)
    if ids <= config.whole_up_to:
        return Whole(network, config, len(rows.label), size)
    return RowWise(network, config, len(rows.label), torch.from_numpy(rows.fields.counts(ids)))


def _tensors(rows: Rows, part: IntArray) -> tuple[Batch, Tensor, Tensor | None]:
    weight = None if rows.weight is None else torch.from_numpy(rows.weight[part])
    return Batch.of(rows.fields.rows(part)), torch.from_numpy(rows.label[part]), weight


def _weights(network: Network) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

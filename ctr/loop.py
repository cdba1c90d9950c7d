"""The one fit loop: networks on plain arrays, early stopping on a later-in-time split, best weights kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bidpilot.ctr.embedding import Batch
from bidpilot.ctr.optimiser import Optimiser, RowWise, Whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from bidpilot.ctr.fields import Fields
    from bidpilot.ctr.journal import Checkpoint, Journal
    from bidpilot.ctr.network import Network
    from bidpilot.ctr.training import NetworkConfig
    from bidpilot.ctr.types import IntArray

CHUNK = 16_384
"""Rows per forward pass where no gradient is needed."""

STEPS = 40
"""A small log is cut into smaller batches, so that an epoch has at least about this many steps."""

TIE = 1e-3
"""Validation losses this close (relative) are equal within noise: the later epoch, nearer to convergence, is kept."""

LONG = 200
"""Steps from which on an epoch has a progress bar of its own."""

GLANCE = 100_000
"""Rows whose loss is measured at once; the untrained network's training loss is that of the first ones."""

BLOCK, WINDOW = 4_096, 256
"""Rows that stay together when more are shuffled than fit in memory, and how many such blocks are mixed at once."""


class Rows(NamedTuple):
    """What is learned from: features, labels (n,) or (n, L), and weights (n,) of the rows where they differ."""

    fields: Fields
    label: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32] | None = None

    def part(self, part: slice) -> Rows:
        """Return some rows."""
        return Rows(self.fields.rows(part), self.label[part], None if self.weight is None else self.weight[part])


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


class Training:
    """A network in training: what an epoch moves, and what a checkpoint needs to go on.

    Attributes: epoch, how many are done; kept, the network to validate and keep; loss, the sum over the last run.
    """

    def __init__(self, network: Network, rows: Rows, config: NetworkConfig, rng: np.random.Generator) -> None:
        """Begin with the network as it is."""
        self._rows, self._rng = rows, rng
        self._size = max(min(config.batch_size, len(rows.label) // STEPS), 1)
        self._network, self._optimiser = network, _optimiser(network, rows, config, self._size)
        self._noise = torch_generator(rng)
        self.epoch, self.kept, self.loss = 0, self._optimiser.average, 0.0

    def run_epoch(self) -> float:
        """Train on every row once; return the mean loss on the way."""
        n = len(self._rows.label)
        count = -(-n // self._size)
        parts = batches(n, self._size, self._rng)
        shown = tqdm(parts, f"epoch {self.epoch + 1}", count, leave=False, disable=None if count > LONG else True)
        rows = self.run(shown)
        self.epoch += 1
        return self.loss / rows

    def run(self, parts: Iterable[IntArray]) -> int:
        """Take a step on every batch of rows; return their number."""
        rows, self.loss = 0, 0.0
        for part in parts:
            self.loss += self._optimiser.step(*_tensors(self._rows, part), self._noise) * len(part)
            rows += len(part)
        return rows

    def state(self) -> Checkpoint:
        """Return all that decides what comes next."""
        tensors = {f"network.{name}": tensor for name, tensor in self._network.state_dict().items()}
        tensors |= {f"optimiser.{name}": tensor for name, tensor in self._optimiser.tensors().items()}
        facts = {"epoch": self.epoch, "rng": self._rng.bit_generator.state}
        return facts, tensors | {"noise": self._noise.get_state()}

    def go_on(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Go on from what state returned."""
        self.epoch = facts["epoch"]
        self._rng.bit_generator.state = facts["rng"]
        self._noise.set_state(tensors["noise"])
        self._network.load_state_dict(below(tensors, "network."))
        self._optimiser.load_tensors(below(tensors, "optimiser."))


def fit_network(
    network: Network,
    train: Rows,
    valid: Rows,
    config: NetworkConfig,
    rng: np.random.Generator,
    journal: Journal | None = None,
) -> Curve:
    """Minimise the loss plus prior; leave the network with the weights of the best epoch.

    journal: where checkpoints go; a fit that finds one goes on from it.
    """
    training = Training(network, train, config, rng)
    losses, best = [(mean_loss(network, train.part(slice(0, GLANCE))), mean_loss(network, valid))], _weights(network)
    if journal is not None and (saved := journal.load()) is not None:
        losses, best = [tuple(pair) for pair in saved[0]["losses"]], below(saved[1], "best.")
        training.go_on(*saved)
    with tqdm(total=config.epochs, initial=training.epoch, desc="fit", leave=False, unit="epoch", disable=None) as bar:
        while training.epoch < config.epochs and _curve(losses).settled + config.patience >= len(losses):
            losses.append((training.run_epoch(), mean_loss(training.kept, valid)))
            if _curve(losses).best == training.epoch:
                best = _weights(training.kept)
            bar.update()
            bar.set_postfix(train=f"{losses[-1][0]:.5f}", valid=f"{losses[-1][1]:.5f}")
            _enter(journal, training, losses, best)
    network.load_state_dict(best)
    return _curve(losses)


def refit_network(
    network: Network,
    rows: Rows,
    config: NetworkConfig,
    count: int,
    rng: np.random.Generator,
    journal: Journal | None = None,
) -> Network:
    """Train for so many epochs and return the network to keep; journal as in fit_network."""
    if count == 0:
        return network
    training = Training(network, rows, config, rng)
    if journal is not None and (saved := journal.load()) is not None:
        training.go_on(*saved)
    with tqdm(total=count, initial=training.epoch, desc="refit", leave=False, unit="epoch", disable=None) as bar:
        while training.epoch < count:
            training.run_epoch()
            bar.update()
            _enter(journal, training, [], {})
    return training.kept


def _enter(journal: Journal | None, training: Training, losses: list[Any], best: dict[str, Tensor]) -> None:
    """Write down how far a fit has come."""
    if journal is None:
        return
    facts, tensors = training.state()
    journal.save(facts | {"losses": losses}, tensors | {f"best.{name}": tensor for name, tensor in best.items()})
    if losses:
        journal.draw(training.epoch, train=losses[-1][0], valid=losses[-1][1])


def _curve(losses: list[tuple[float, float]]) -> Curve:
    return Curve(*(tuple(column) for column in zip(*losses, strict=True)))


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


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
    total = weights = 0.0
    for start in range(0, len(rows.label), GLANCE):
        part = rows.part(slice(start, start + GLANCE))
        losses = network.loss(scores(network, part.fields).double(), torch.from_numpy(part.label).double())
        weight = torch.ones(len(losses)) if part.weight is None else torch.from_numpy(part.weight)
        total, weights = total + float(losses @ weight.double()), weights + float(weight.sum())
    return total / weights


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

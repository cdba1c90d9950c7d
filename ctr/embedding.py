"""One table of embeddings for all fields, ids of each field laid one after the other.

Column 0 of a row is the id's first-order weight, the rest is its vector: one look-up serves both. A numeric input has
a row of its own, scaled by the number; a field of many values (tags) has the mean of their rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

if TYPE_CHECKING:
    from bidpilot.ctr.fields import FieldEncoder, Fields

PAD = -1
"""Stands in a bag where a row has fewer values than the widest."""


class Batch(NamedTuple):
    """Fields as tensors: ids (n, F), bags (n, B), numbers (n, D)."""

    ids: Tensor
    bags: Tensor
    numbers: Tensor

    @classmethod
    def of(cls, fields: Fields) -> Batch:
        """Wrap fields without copying them."""
        return cls(*(torch.from_numpy(column) for column in (fields.ids, fields.bags, fields.numbers)))


class Found(NamedTuple):
    """The rows of a batch, each once.

    which: (U,) ids. rows: (U, 1 + k). place: (n, F + B) of each id among them.
    Where the batch has bags, a row of zeros stands last, for PAD.
    """

    which: Tensor
    rows: Tensor
    place: Tensor


class Table(nn.Module):
    """Embeddings of an encoder's fields. dimension: k. spread: standard deviation of the first vectors.

    priors: standard deviations of the normal priors of first-order weights and of the vectors' entries.
    """

    precision: Tensor

    def __init__(
        self,
        encoder: FieldEncoder,
        dimension: int,
        generator: torch.Generator,
        priors: tuple[float, float],
        spread: float = 0.05,
    ) -> None:
        """Draw the vectors from the generator; first-order weights start at 0."""
        super().__init__()
        self.bags, self.dimension = encoder.bags, dimension
        self.fields = encoder.fields + len(encoder.bags) + encoder.numbers
        self.weight = nn.Parameter(_rows(encoder.size, dimension, spread, generator))
        self.directions = nn.Parameter(_rows(encoder.numbers, dimension, spread, generator))
        precision = torch.tensor([priors[0] ** -2] + [priors[1] ** -2] * dimension)
        self.register_buffer("precision", precision, persistent=False)

    def forward(self, batch: Batch, found: Found | None = None) -> tuple[Tensor, Tensor]:
        """Return vectors (n, fields, k) and the sum (n,) of first-order terms. found: rows already looked up."""
        f = batch.ids.shape[1]
        if found is None:
            parts = [embedding(batch.ids, self.weight)]
            pooled = [self._look_up(bag) for bag in batch.bags.split(list(self.bags), dim=1)] if self.bags else []
        else:
            parts = [embedding(found.place[:, :f], found.rows)]
            places = found.place[:, f:].split(list(self.bags), dim=1) if self.bags else []
            bags = batch.bags.split(list(self.bags), dim=1) if self.bags else []
            pooled = [_mean(embedding(at, found.rows), bag) for at, bag in zip(places, bags, strict=True)]
        parts += [bag[:, None] for bag in pooled]
        if batch.numbers.shape[1]:
            parts.append(batch.numbers[:, :, None] * self.directions)
        rows = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return rows[:, :, 1:], rows[:, :, 0].sum(1)

    def find(self, batch: Batch) -> Found:
        """Look the rows of a batch up, each once; gradients reach them alone, not the table."""
        ids = torch.cat([batch.ids, batch.bags], dim=1) if self.bags else batch.ids
        which, place = torch.unique(ids, return_inverse=True)
        if self.bags and which[0] == PAD:
            which, place = which[1:], torch.where(place == 0, len(which) - 1, place - 1)
        rows = self.weight.detach().index_select(0, which)
        if self.bags:
            rows = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
        return Found(which, rows.requires_grad_(), place)

    def penalty(self, *, whole: bool = True) -> Tensor:
        """Return minus the log prior of the numbers' rows and, if whole, of the ids'."""
        squares = self.directions.square() @ self.precision
        total = 0.5 * squares.sum()
        return total + 0.5 * (self.weight.square() @ self.precision).sum() if whole else total

    def _look_up(self, bag: Tensor) -> Tensor:
        return _mean(embedding(bag.clamp_min(0), self.weight), bag)


def _mean(rows: Tensor, bag: Tensor) -> Tensor:
    """Return the mean (n, 1 + k) of the rows (n, width, 1 + k) that a bag (n, width) has; 0 where it is empty."""
    there = (bag != PAD).to(rows.dtype)
    total: Tensor = (rows * there[:, :, None]).sum(1)
    return total / there.sum(1, keepdim=True).clamp_min(1.0)


def _rows(count: int, dimension: int, spread: float, generator: torch.Generator) -> Tensor:
    rows = torch.zeros(count, 1 + dimension)
    rows[:, 1:] = spread * torch.randn(count, dimension, generator=generator)
    return rows

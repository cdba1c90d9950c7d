"""The work that ctr_speed measures: a log of Criteo's shape from a known law, our way, and a plain one beside it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bidpilot.ctr.calibration import IDENTITY, sigmoid
from bidpilot.ctr.fields import Fields
from bidpilot.ctr.loop import Rows, Training, batches
from bidpilot.ctr.models import dcnv2, deepfm
from bidpilot.ctr.serving import Scorer, network_bytes, quantised, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy.typing as npt

    from bidpilot.ctr.fields import FieldEncoder
    from bidpilot.ctr.network import Network
    from bidpilot.ctr.training import NetworkConfig
    from bidpilot.ctr.types import FloatArray, IntArray

    Work: TypeAlias = Callable[[], tuple[float, float]]
    """Does it once; returns how many rows, and the seconds of CPU (or of the clock)."""

FIELDS, IDS, DIMENSION = 39, 1_060_000, 16
HIDDEN = (400, 400, 400)
BATCH = 4_096
PAIRS = 24
"""Pairs of fields whose hidden traits are multiplied in the law of clicks."""

SHARES = np.geomspace(3, 300_000, FIELDS) / np.geomspace(3, 300_000, FIELDS).sum()


class Shape:
    """All that a network asks of an encoder.

    sizes: (FIELDS,) ids of each field, from a handful to a third of a million. size: of all fields. fields, bags,
    numbers: how many of each.
    """

    sizes: IntArray = np.maximum(SHARES * IDS, 3).astype(np.int64)
    size = int(sizes.sum())
    fields, bags, numbers = FIELDS, (), 0


@dataclass(frozen=True)
class Sample:
    """Rows of a log of known law. ids: (n, FIELDS) int32 within their fields. truth: (n,) click rates. click: (n,)."""

    ids: npt.NDArray[np.int32]
    truth: FloatArray
    click: npt.NDArray[np.float32]

    @classmethod
    def of(cls, rows: int, seed: int = 0) -> Sample:
        """Draw rows: ids by Zipf's law, clicks by weights of ids and products of hidden traits of pairs of fields."""
        rng, law, sizes = np.random.default_rng(seed), np.random.default_rng(2026), Shape.sizes
        ids = np.empty((rows, FIELDS), dtype=np.int32)
        score, traits = np.full(rows, -1.4), []
        for column, size in enumerate(sizes.tolist()):
            ids[:, column] = np.minimum(np.exp(rng.random(rows) * np.log(size + 1.0)) - 1.0, size - 1)
            score += law.normal(0.0, 0.2, size)[ids[:, column]]
            traits.append(law.normal(0.0, 0.5, size)[ids[:, column]])
        for first, second in law.integers(0, FIELDS, (PAIRS, 2)).tolist():
            score += traits[first] * traits[second]
        truth = sigmoid(score)
        return cls(ids, truth, (rng.random(rows) < truth).astype(np.float32))

    @cached_property
    def rows(self) -> Rows:
        """The same for our fit loop: fields laid one after the other."""
        offsets = np.append(0, np.cumsum(Shape.sizes)[:-1]).astype(np.int32)
        nothing = np.zeros((len(self.ids), 0))
        fields = Fields(self.ids + offsets, nothing.astype(np.int32), nothing.astype(np.float32))
        return Rows(fields, self.click)

    @cached_property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """The same for the plain way."""
        return torch.from_numpy(self.ids.astype(np.int64)), torch.from_numpy(self.click)


class PlainDeepFM(nn.Module):
    """DeepFM as textbooks write it: two embeddings a field, everything in float32."""

    def __init__(self, sizes: list[int]) -> None:
        """Draw the weights by torch's own rules."""
        super().__init__()
        self.vectors = nn.ModuleList(nn.Embedding(size, DIMENSION) for size in sizes)
        self.weights = nn.ModuleList(nn.Embedding(size, 1) for size in sizes)
        for table in (*self.vectors, *self.weights):
            nn.init.normal_(table.weight, std=0.01)
        self.bias = nn.Parameter(torch.zeros(1))
        self.deep = _stack(len(sizes) * DIMENSION)

    def forward(self, ids: Tensor) -> Tensor:
        """Return log-odds (n,)."""
        e = torch.stack([table(ids[:, place]) for place, table in enumerate(self.vectors)], dim=1)
        first = torch.stack([table(ids[:, place]) for place, table in enumerate(self.weights)], dim=1).sum((1, 2))
        pairs = 0.5 * (e.sum(1) ** 2 - (e**2).sum(1)).sum(1)
        deep: Tensor = self.deep(e.flatten(1)).squeeze(1)
        return self.bias + first + pairs + deep


class PlainDCN(nn.Module):
    """DCNv2 likewise: three full cross layers beside the stack."""

    def __init__(self, sizes: list[int]) -> None:
        """Draw the weights by torch's own rules."""
        super().__init__()
        width = len(sizes) * DIMENSION
        self.vectors = nn.ModuleList(nn.Embedding(size, DIMENSION) for size in sizes)
        for table in self.vectors:
            nn.init.normal_(table.weight, std=0.01)  # type: ignore[arg-type]
        self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.deep, self.top = _stack(width), nn.Linear(width, 1)

    def forward(self, ids: Tensor) -> Tensor:
        """Return log-odds (n,)."""
        x = start = torch.cat([table(ids[:, place]) for place, table in enumerate(self.vectors)], dim=1)
        for layer in self.cross:
            x = start * layer(x) + x
        out: Tensor = (self.top(x) + self.deep(start)).squeeze(1)
        return out


PLAIN = {"deepfm": PlainDeepFM, "dcnv2": PlainDCN}
OURS: dict[str, NetworkConfig] = {
    "deepfm": deepfm.Config(hidden=HIDDEN, dropout=0.0, decay=0.0, dimension=DIMENSION, learning_rate=1e-3),
    "dcnv2": dcnv2.Config(
        hidden=HIDDEN, dropout=0.0, decay=0.0, dimension=DIMENSION, learning_rate=1e-3, layers=3, rank=0
    ),
}


def steps(sample: Sample, model: str, size: int, count: int) -> tuple[Work, Work]:
    """Take steps of training, the data being at hand."""
    return tuple(step_work(sample, model, size, count, ours=ours) for ours in (True, False))  # type: ignore[return-value]


def step_work(sample: Sample, model: str, size: int, count: int, *, ours: bool) -> Work:
    """Take steps of training, our way or the plain one."""
    order = np.random.default_rng(1).permutation(len(sample.ids))
    parts = [order[start : start + size] for start in range(0, count * size, size)]
    if ours:
        training = Training(built(model), sample.rows, _sized(model, size), np.random.default_rng(0))
        return partial(_timed, training.run, parts)
    ids, click = sample.tensors
    return partial(_timed, PlainTraining(model).run, [(ids[part], click[part]) for part in parts])


def epoch(sample: Sample, model: str, size: int, clock: Callable[[], float] = time.process_time) -> tuple[Work, Work]:
    """Train on every row once, loading included: slices of arrays against the usual loader."""
    return tuple(epoch_work(sample, model, size, clock, ours=ours) for ours in (True, False))  # type: ignore[return-value]


def epoch_work(
    sample: Sample, model: str, size: int, clock: Callable[[], float] = time.process_time, *, ours: bool
) -> Work:
    """Train on every row once, our way or the plain one."""
    if ours:
        training = Training(built(model), sample.rows, _sized(model, size), np.random.default_rng(0))
        return partial(_timed, training.run, _Again(len(sample.ids), size), clock=clock)
    return partial(_timed, PlainTraining(model).run, _loader(sample, size), clock=clock)


def trained(sample: Sample, model: str, size: int) -> Network:
    """Return our network after an epoch."""
    training = Training(built(model), sample.rows, _sized(model, size), np.random.default_rng(0))
    training.run(_Again(len(sample.ids), size))
    return training.kept


def plainly_trained(sample: Sample, model: str, size: int) -> nn.Module:
    """Return the plain network after an epoch."""
    plain = PlainTraining(model)
    plain.run(_loader(sample, size))
    return plain.network


def _loader(sample: Sample, size: int) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(*sample.tensors), size, shuffle=True, generator=torch.Generator().manual_seed(0))


def scoring(sample: Sample, precision: str) -> tuple[Work, Work]:
    """Score rows of DeepFM in batches of 4,096 by ONNX Runtime; reference: the plain network in torch."""
    scorer, plain = scorer_of(built("deepfm"), precision), PlainDeepFM(Shape.sizes.tolist())
    fields, ids = sample.rows.fields, sample.tensors[0]

    def ours(starts: range) -> int:
        for start in starts:
            scorer.score(fields.rows(slice(start, start + BATCH)))
        return len(sample.ids)

    @torch.no_grad()
    def theirs(starts: range) -> int:
        for start in starts:
            plain(ids[start : start + BATCH])
        return len(sample.ids)

    starts = range(0, len(sample.ids), BATCH)
    return partial(_timed, ours, starts), partial(_timed, theirs, starts)


def one_row(sample: Sample, precision: str, calls: int = 2_000) -> tuple[float, float]:
    """Return the median microseconds of scoring one row: by ONNX Runtime, and by the plain network in torch."""
    scorer, plain = scorer_of(built("deepfm"), precision), PlainDeepFM(Shape.sizes.tolist())
    rows = [sample.rows.fields.rows(slice(place, place + 1)) for place in range(calls)]
    with torch.no_grad():
        theirs = _each(plain, list(sample.tensors[0][:calls].split(1)))
    return _each(scorer.score, rows), theirs


def scorer_of(network: Network, precision: str) -> Scorer:
    """Export a network of the benchmark's shape."""
    content = network_bytes(network, (FIELDS, 0, 0))
    content = quantised(content) if precision == "int8" else content
    return Scorer(content, cast("FieldEncoder", Shape()), IDENTITY, session(content))


def _each(call: Callable[[Any], Any], given: list[Any]) -> float:
    """Return the median time of a call, microseconds."""
    spent = []
    for one in given:
        start = time.perf_counter()
        call(one)
        spent.append(time.perf_counter() - start)
    return float(np.median(spent)) * 1e6


class PlainTraining:
    """Adam on every weight of a plain network."""

    def __init__(self, model: str) -> None:
        """Begin; torch's own draw of the weights is of no account here."""
        self.network = PLAIN[model](Shape.sizes.tolist())
        self._adam = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self._loss = nn.BCEWithLogitsLoss()

    def run(self, parts: Iterable[tuple[Tensor, Tensor]]) -> int:
        """Train on batches (ids, click); return the number of rows."""
        rows = 0
        for ids, click in parts:
            self._adam.zero_grad()
            self._loss(self.network(ids), click).backward()
            self._adam.step()
            rows += len(click)
        return rows


class _Again:
    """Batches of an epoch, shuffled anew each time."""

    def __init__(self, rows: int, size: int) -> None:
        self._rows, self._size, self._rng = rows, size, np.random.default_rng(1)

    def __iter__(self) -> Iterator[IntArray]:
        return batches(self._rows, self._size, self._rng)


def built(model: str) -> Network:
    """Return our network, untrained."""
    return OURS[model].build(cast("FieldEncoder", Shape()), 0.25, torch.Generator().manual_seed(0))


def _sized(model: str, size: int) -> NetworkConfig:
    return replace(OURS[model], batch_size=size)


def _timed(
    job: Callable[[Any], int], parts: object, clock: Callable[[], float] = time.process_time
) -> tuple[float, float]:
    start = clock()
    rows = job(parts)
    return float(rows), clock() - start


def _stack(width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for wide in HIDDEN:
        layers += [nn.Linear(width, wide), nn.ReLU()]
        width = wide
    return nn.Sequential(*layers, nn.Linear(width, 1))

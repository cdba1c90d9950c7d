"""One step of training: Adam on all weights and their average, or row by row where the table is large.

Adam moves every row of the table in every step, which for a million ids costs ten times the network. There, each step
looks its ids up once, and only their rows move, by row-wise Adagrad (Duchi et al. 2011; one step size for a row:
Mudigere et al., ISCA 2022, section 4.1). An id's prior is shared out over its occurrences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

if TYPE_CHECKING:
    from torch import Tensor

    from bidpilot.ctr.embedding import Batch, Found
    from bidpilot.ctr.network import Network
    from bidpilot.ctr.training import NetworkConfig

BETAS = (0.9, 0.99)


class Optimiser(Protocol):
    """What the fit loop drives."""

    average: Network
    """The network to validate and keep: it shares or follows the weights in training."""

    def step(self, batch: Batch, label: Tensor, weight: Tensor | None, noise: torch.Generator) -> float:
        """Move the weights once; return the mean loss of the batch before that."""

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint needs beside the network's own weights."""

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what tensors returned."""


class Whole:
    """Adam on every weight, and the average of the networks on the way, with a memory of one epoch.

    n: rows of training. size: rows of a batch. The average is steadier than any single network.
    """

    def __init__(self, network: Network, config: NetworkConfig, n: int, size: int) -> None:
        """Start with no memory."""
        self._network, self._n, self._low = network, n, low_precision(config.precision, n)
        self._adam = torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=BETAS, fused=True)
        self._averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(1.0 - size / n))
        self.average = cast("Network", self._averaged.module)

    def step(self, batch: Batch, label: Tensor, weight: Tensor | None, noise: torch.Generator) -> float:
        """Move all weights."""
        loss = _mean_loss(self._network, batch, None, label, weight, noise, low=self._low)
        penalty = self._network.penalty() + self._network.table.penalty()
        self._adam.zero_grad(set_to_none=True)
        (loss + penalty / self._n).backward()
        self._adam.step()
        self._averaged.update_parameters(self._network)
        return loss.item()

    def tensors(self) -> dict[str, Tensor]:
        """Return Adam's memory and the average."""
        return _memory(self._adam) | {f"average.{name}": t for name, t in self._averaged.state_dict().items()}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Go on."""
        _remember(self._adam, tensors)
        names = [name for name in tensors if name.startswith("average.")]
        self._averaged.load_state_dict({name.removeprefix("average."): tensors[name] for name in names})


class RowWise:
    """Adam above the table, Adagrad with one step size a row on the rows of the batch. Nothing is averaged.

    counts: (ids,) how often each id occurs in training.
    """

    def __init__(self, network: Network, config: NetworkConfig, n: int, counts: Tensor) -> None:
        """Start with no memory."""
        self._network, self._n, self._low = network, n, low_precision(config.precision, n)
        self._rate, self._counts = config.row_rate, counts
        rest = [weight for name, weight in network.named_parameters() if name != "table.weight"]
        self._adam = torch.optim.Adam(rest, lr=config.learning_rate, betas=BETAS, fused=True)
        self._moved = torch.full((len(counts),), config.row_start)
        self.average = network

    def step(self, batch: Batch, label: Tensor, weight: Tensor | None, noise: torch.Generator) -> float:
        """Move the rows of the batch and everything above the table."""
        network, found = self._network, self._network.table.find(batch)
        loss = _mean_loss(network, batch, found, label, weight, noise, low=self._low)
        penalty = network.penalty() + network.table.penalty(whole=False)
        self._adam.zero_grad(set_to_none=True)
        (loss + penalty / self._n).backward()
        self._adam.step()
        self._move(found, len(label))
        return loss.item()

    @torch.no_grad()
    def _move(self, found: Found, size: int) -> None:
        """Move the rows: the loss's gradient, and the prior's for as many occurrences as the batch has."""
        which, gradient = found.which, found.rows.grad
        if gradient is None:  # nothing above the table listens to it
            return
        table, rows, gradient = self._network.table, found.rows.detach()[: len(which)], gradient[: len(which)]
        seen = torch.bincount(found.place.ravel(), minlength=len(found.rows))[: len(which)]
        share = seen / (self._counts[which].clamp_min(1) * size)
        gradient.addcmul_(rows * table.precision, share[:, None].to(rows.dtype))
        moved = self._moved[which] + gradient.square().mean(1)
        self._moved[which] = moved
        rows.addcdiv_(gradient, moved.sqrt()[:, None], value=-self._rate)
        table.weight.index_copy_(0, which.long(), rows)

    def tensors(self) -> dict[str, Tensor]:
        """Return Adam's memory and the rows'."""
        return _memory(self._adam) | {"moved": self._moved}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Go on."""
        _remember(self._adam, tensors)
        self._moved.copy_(tensors["moved"])


def _memory(adam: torch.optim.Adam) -> dict[str, Tensor]:
    """Return Adam's memory as tensors named adam.<number of the weight>.<which>."""
    state = adam.state_dict()["state"]
    return {f"adam.{place}.{name}": tensor for place, each in state.items() for name, tensor in each.items()}


def _remember(adam: torch.optim.Adam, tensors: dict[str, Tensor]) -> None:
    """Give Adam back what _memory returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("adam."):
            _, place, name = key.split(".")
            state.setdefault(int(place), {})[name] = tensor
    adam.load_state_dict({"state": state, "param_groups": adam.state_dict()["param_groups"]})


def low_precision(precision: str, n: int) -> bool:
    """Tell whether layers should run in bfloat16: where asked for, or by "auto" where it is fast and rows are many."""
    if precision != "auto":
        return precision == "bfloat16"
    return n >= MANY and has_bfloat16()


MANY = 200_000
"""Rows from which on rounding to bfloat16 is far below the noise of the data."""


def has_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 by itself; where not, it is ten times slower than float32."""
    known = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return known and any(bool(getattr(torch.cpu, name, bool)()) for name in BFLOAT16_CHECKS)


BFLOAT16_CHECKS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def _mean_loss(
    network: Network,
    batch: Batch,
    found: Found | None,
    label: Tensor,
    weight: Tensor | None,
    noise: torch.Generator,
    *,
    low: bool,
) -> Tensor:
    """Return the mean loss of a batch."""
    e, first = network.table(batch, found)
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        output = network(e, first, noise)
    losses = network.loss(output.float(), label)
    return losses.mean() if weight is None else (losses * weight).mean()

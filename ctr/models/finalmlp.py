"""FinalMLP: two networks that see the fields through different gates, and products of both (Mao et al., AAAI 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bidpilot.ctr.errors import InputError, unknown
from bidpilot.ctr.network import Network, Tower, squares
from bidpilot.ctr.training import NetworkConfig

if TYPE_CHECKING:
    from bidpilot.ctr.fields import FieldEncoder


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Settings of FinalMLP.

    hidden: widths of each stream. heads: of the fusion; must divide the last width. contexts_1, contexts_2: names of
    the categorical fields that set the gates of each stream (the paper: those of the user, those of the item); () for
    gates alike in all rows. gate_hidden: widths of the gates. dropout: share of hidden units silenced. decay:
    precision of the prior of all. Raises InputError where heads do not divide the width.
    """

    learning_rate: float = 0.003
    patience: int = 8
    hidden: tuple[int, ...] = (64, 32)
    heads: int = 4
    contexts_1: tuple[str, ...] = ()
    contexts_2: tuple[str, ...] = ()
    gate_hidden: tuple[int, ...] = (32,)
    dropout: float = 0.2
    decay: float = 2.0

    def __post_init__(self) -> None:
        """Check the figures."""
        super().__post_init__()
        if not self.hidden or self.heads < 1 or self.hidden[-1] % self.heads:
            raise InputError(f"heads must divide the last of hidden; got {self.heads} and {self.hidden}")

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> FinalMLP:
        """Return the network, which predicts about the base rate. Raises InputError for an unknown context."""
        return FinalMLP(self, encoder, rate, generator)


class Gate(nn.Module):
    """x * 2 sigmoid(a network on the context), entry by entry (section 3.2, equation 3); starts at x.

    places: of the context among the fields; without any, a context is learned.
    """

    def __init__(self, places: list[int], fields: int, config: Config, generator: torch.Generator) -> None:
        """Draw the weights from the generator."""
        super().__init__()
        self.places, k = places, config.dimension
        self.context = nn.Parameter(torch.randn(1, k, generator=generator)) if not places else None
        n_in = k * max(len(places), 1)
        self.net = Tower(n_in, config.gate_hidden, generator, n_out=fields * k, decay=config.decay)

    def forward(self, e: Tensor) -> Tensor:
        """Return the gated fields (n, fields x k) of fields (n, fields, k)."""
        context = e[:, self.places].flatten(1) if self.context is None else self.context
        gated: Tensor = e.flatten(1) * 2.0 * torch.sigmoid(self.net(context))
        return gated


class Stream(nn.Module):
    """One gate and the network behind it."""

    def __init__(self, places: list[int], fields: int, config: Config, generator: torch.Generator) -> None:
        """Draw the weights from the generator. places: see Gate."""
        super().__init__()
        self.gate = Gate(places, fields, config, generator)
        width, share, decay = fields * config.dimension, config.dropout, config.decay
        self.net = Tower(width, config.hidden, generator, dropout=share, decay=decay)

    def forward(self, e: Tensor, noise: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return o (n, hidden[-1]) and w'o (n, 1) of fields (n, fields, k)."""
        o = self.net.below(self.gate(e), noise)
        return o, self.net.layers[-1](o)


class Fusion(nn.Module):
    """sum over heads of o1_h' W_h o2_h (section 3.3, equation 8); W starts at 0."""

    def __init__(self, width: int, heads: int) -> None:
        """Set the weights to 0: their gradient is not, so that they move."""
        super().__init__()
        part = width // heads
        self.weight = nn.Parameter(torch.zeros(heads, part, part))

    def forward(self, o1: Tensor, o2: Tensor) -> Tensor:
        """Return (n, 1) of the outputs (n, width) of both streams."""
        left, right = (o.unflatten(1, (len(self.weight), -1)) for o in (o1, o2))
        return torch.einsum("nhi,hij,nhj->n", left, self.weight, right)[:, None]


class FinalMLP(Network):
    """log-odds = b + first order + w1'o1 + w2'o2 + bilinear fusion of o1 and o2; the first order is ours."""

    def __init__(self, config: Config, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> None:
        """Draw the weights from the generator."""
        super().__init__(config.table(encoder, generator), rate)
        self.decay = config.decay
        fields, contexts = self.table.fields, (config.contexts_1, config.contexts_2)
        self.one, self.two = (Stream(_places(names, encoder), fields, config, generator) for names in contexts)
        self.fusion = Fusion(config.hidden[-1], config.heads)

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return log-odds (n,)."""
        (o1, one), (o2, two) = self.one(e, noise), self.two(e, noise)
        out: Tensor = one + two + self.fusion(o1, o2)
        return self.bias + first + out.squeeze(1)

    def penalty(self) -> Tensor:
        """Return minus the log prior of gates, streams and fusion."""
        return 0.5 * self.decay * (squares(self.one) + squares(self.two) + squares(self.fusion))


def _places(names: tuple[str, ...], encoder: FieldEncoder) -> list[int]:
    """Return where fields stand among the vectors: those of many values come last in both."""
    known = list(encoder.vocabularies)
    for name in names:
        if name not in known:
            raise unknown("field of the context", name, tuple(known))
    return [known.index(name) for name in names]

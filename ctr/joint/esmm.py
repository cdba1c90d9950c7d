"""ESMM: one table of embeddings, and a tower above it for each task (Ma et al., SIGIR 2018).

Conversions are rare; clicks, which are not, shape the embeddings that both read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bidpilot.ctr.joint.base import JointConfig, JointNetwork, towers

if TYPE_CHECKING:
    from bidpilot.ctr.fields import FieldEncoder


@dataclass(frozen=True)
class Config(JointConfig):
    """Settings of ESMM: those of all joint models."""

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> Esmm:
        """Return the untrained network."""
        return Esmm(self, encoder, rate, generator)


class Esmm(JointNetwork):
    """A tower on all embeddings for each task."""

    def __init__(self, config: Config, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> None:
        """Draw the weights from the generator."""
        super().__init__(config.table(encoder, generator), rate)
        self.towers = towers(self.table.fields * config.dimension, config, generator)

    def deep(self, e: Tensor, noise: torch.Generator | None) -> Tensor:
        """Return the towers' outputs (n, 2)."""
        return torch.cat([tower(e.flatten(1), noise) for tower in self.towers], dim=1)

    def layers_penalty(self) -> Tensor:
        """Return minus the log prior of the towers."""
        return torch.stack([tower.penalty() for tower in self.towers]).sum()  # type: ignore[operator]

"""PLE: shared experts and experts of each task, kept apart level by level (Tang et al., RecSys 2020).

Where tasks disagree, experts that both own are pulled two ways; here each task has some of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.joint.base import TASKS, JointConfig, JointNetwork, towers
from bidpilot.ctr.joint.mmoe import Experts, Gate, mix
from bidpilot.ctr.network import squares

if TYPE_CHECKING:
    from bidpilot.ctr.fields import FieldEncoder


@dataclass(frozen=True)
class Config(JointConfig):
    """Settings of PLE.

    levels: of extraction. shared, own: experts that all tasks share, and of each task, on every level. units: width
    of each. Raises InputError for figures below 1.
    """

    hidden: tuple[int, ...] = (16,)
    decay: float = 0.02
    levels: int = 2
    shared: int = 2
    own: int = 1
    units: int = 16

    def __post_init__(self) -> None:
        """Check the figures."""
        super().__post_init__()
        for name in ("levels", "shared", "own", "units"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}")

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> Ple:
        """Return the untrained network."""
        return Ple(self, encoder, rate, generator)


class Level(nn.Module):
    """One level of extraction: from an input for each task and a shared one, last, to as many outputs.

    A task's gate sees its own experts and the shared ones, the shared gate sees all (equation 5). The top level has
    no shared output.
    """

    def __init__(self, n_in: int, config: Config, generator: torch.Generator, *, top: bool) -> None:
        """Draw the weights from the generator."""
        super().__init__()
        sizes = [config.own] * len(TASKS) + [config.shared]
        seen = [config.own + config.shared] * len(TASKS) + ([] if top else [sum(sizes)])
        self.experts = nn.ModuleList(
            [Experts(n_in, size, config.units, generator, config.dropout) for size in sizes],
        )
        self.gates = nn.ModuleList([Gate(n_in, count, generator) for count in seen])

    def weights(self, inputs: list[Tensor]) -> list[Tensor]:
        """Return every gate's weights (n, experts it sees), for inputs (n, n_in)."""
        return [gate(h) for gate, h in zip(self.gates, inputs, strict=False)]

    def forward(self, inputs: list[Tensor], noise: torch.Generator | None = None) -> list[Tensor]:
        """Return the mixtures (n, units), the shared one last."""
        said = [experts(h, noise) for experts, h in zip(self.experts, inputs, strict=True)]
        seen = [torch.cat([own, said[-1]], dim=1) for own in said[:-1]] + [torch.cat(said, dim=1)]
        return [mix(weights, part) for weights, part in zip(self.weights(inputs), seen, strict=False)]


class Ple(JointNetwork):
    """Levels of experts on all embeddings, then a tower for each task."""

    def __init__(self, config: Config, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> None:
        """Draw the weights from the generator."""
        super().__init__(config.table(encoder, generator), rate)
        self.decay = config.decay
        widths = [self.table.fields * config.dimension] + [config.units] * (config.levels - 1)
        last = config.levels - 1
        self.levels = nn.ModuleList(
            [Level(width, config, generator, top=place == last) for place, width in enumerate(widths)],
        )
        self.towers = towers(config.units, config, generator)

    def weights(self, e: Tensor) -> list[Tensor]:
        """Return the weights (n, experts it sees) of every gate of every level, for vectors e (n, fields, k)."""
        inputs, found = [e.flatten(1)] * (len(TASKS) + 1), []
        for level in self.levels:
            found += level.weights(inputs)  # type: ignore[operator]
            inputs = level(inputs)
        return found

    def deep(self, e: Tensor, noise: torch.Generator | None) -> Tensor:
        """Return the towers' outputs (n, 2)."""
        inputs = [e.flatten(1)] * (len(TASKS) + 1)
        for level in self.levels:
            inputs = level(inputs, noise)
        return torch.cat([tower(h, noise) for tower, h in zip(self.towers, inputs, strict=True)], dim=1)

    def layers_penalty(self) -> Tensor:
        """Return minus the log prior of experts, gates and towers."""
        return 0.5 * self.decay * (squares(self.levels) + squares(self.towers))

"""A trained policy in a seat of the marketplace: the network alone, in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.envs.features import bounds
from bidpilot.envs.seats import FEATURES

if TYPE_CHECKING:
    from bidpilot.agents.actor import Actor
    from bidpilot.envs.features import Floats
    from bidpilot.envs.marketplace_traffic import MarketplaceConfig


class MarketplacePolicy:
    """An actor whose actions are what the marketplace takes: residuals in -1..1, or rungs of its ladder.

    Raises InputError for a network of other observations or actions than the market's.
    """

    def __init__(self, actor: Actor, config: MarketplaceConfig) -> None:
        """Keep the network."""
        size, levels = len(bounds(FEATURES, config.slots)[0]), config.levels if config.action == "ladder" else 1
        if (len(actor.mean), actor.levels, actor.groups) != (size, levels, 1):
            raise InputError(
                f"this market has {size} observations and one action of {levels} levels (1: numbers); the network has "
                f"{len(actor.mean)} and {actor.groups} of {actor.levels}"
            )
        if actor.lstm is not None:
            raise InputError("a seat's policy acts on one observation at a time; got a network with a memory")
        self.actor = actor

    def act(self, observations: Floats) -> Floats:
        """Return the actions for observations (d,) or (n, d): residuals (1,) or (n, 1), or rungs () or (n,)."""
        actions = self.actor(observations)
        if self.actor.levels == 1:
            return actions.astype(np.float32)
        return np.rint((actions[..., 0] + 1.0) / 2.0 * (self.actor.levels - 1)).astype(np.int64)

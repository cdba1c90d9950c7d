"""A random generator in plain numbers, to be written down and gone on with: draws and children come as they would have.

The seed sequence belongs to it: how many children a generator has spawned decides what the next ones draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bidpilot.ctr.errors import InputError

KIND = "PCG64"
"""What numpy.random.default_rng and Gymnasium's seeding give."""


def written(rng: np.random.Generator) -> dict[str, Any]:
    """Return a generator as JSON can hold it. Raises InputError unless it is a PCG64 made from a seed sequence."""
    bits = rng.bit_generator
    seeds = bits.seed_seq
    if bits.state["bit_generator"] != KIND or not isinstance(seeds, np.random.SeedSequence):
        raise InputError(f"only generators of kind {KIND} can be written down; got {bits.state['bit_generator']}")
    family = {"entropy": seeds.entropy, "spawn_key": list(seeds.spawn_key), "pool_size": seeds.pool_size}
    return {"state": bits.state, "family": family | {"n_children_spawned": seeds.n_children_spawned}}


def restored(text: dict[str, Any]) -> np.random.Generator:
    """Return the generator that was written down. Raises KeyError, TypeError or ValueError for what is none."""
    bits = np.random.PCG64(np.random.SeedSequence(**text["family"]))
    bits.state = text["state"]
    return np.random.Generator(bits)

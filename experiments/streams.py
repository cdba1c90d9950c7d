"""One random stream per role, spawned from a run's seed; adding a draw to one role changes no other."""

from __future__ import annotations

import numpy as np

ROLES = (
    "log",
    "fit",
    "replay",
    "train",
    "validate",
    "tune",
    "evaluate",
    "policies",
    "bootstrap",
    "learner",
    "metrics",
    "candidates",
    "fidelity",
    "search",
    "prices",
)


def stream(seed: int, role: str) -> np.random.Generator:
    """Return the stream of a role."""
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(len(ROLES))[ROLES.index(role)])

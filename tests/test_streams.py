"""One stream per role: reproducible, and independent of each other."""

from __future__ import annotations

import numpy as np

from bidpilot.experiments.streams import ROLES, stream


def test_same_seed_same_draws_and_roles_differ() -> None:
    draws = {role: stream(7, role).random(1000) for role in ROLES}
    assert all((draws[role] == stream(7, role).random(1000)).all() for role in ROLES)
    table = np.corrcoef(np.array(list(draws.values())))
    assert np.abs(table - np.eye(len(ROLES))).max() < 0.15
    assert not (stream(8, "train").random(5) == draws["train"][:5]).any()

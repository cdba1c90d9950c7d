"""Where the suite keeps trained policies, and what they have to be made with to count."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.experiments.suite.families import MarketFamily

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.experiments.suite.days import Sizes
    from bidpilot.experiments.suite.families import AnyFamily

SEEDS = (108,)
"""Key of the stream of training seeds."""


def policy_folder(root: Path, family: AnyFamily, seed: int) -> Path:
    """Return where a trained policy is kept."""
    return root / family.trained_as / f"{family.learner}-{seed}"


def made_with(family: AnyFamily, sizes: Sizes) -> str:
    """Return a digest of what a family's policies are made with: learner, steps, numbers of days, scenario."""
    what = family.config if isinstance(family, MarketFamily) else family.scenario
    days = (sizes.train, sizes.tune, sizes.validate)
    made = json.dumps([family.learner, family.steps, days, asdict(what)], sort_keys=True, default=str)
    return hashlib.blake2b(made.encode(), digest_size=8).hexdigest()


def trained_with(root: Path, family: AnyFamily, seed: int, sizes: Sizes) -> bool:
    """Tell whether a policy is there that was made with these sizes and the family's present settings."""
    try:
        told = json.loads((policy_folder(root, family, seed) / "policy.json").read_text())["trained"]["with"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(told == made_with(family, sizes))


def stream_seed(seed: int) -> int:
    """Return the seed that a trainer gets: SB3 gives copy i the seed + i, so near ones would share their episodes."""
    return int(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=SEEDS)).integers(2**31))

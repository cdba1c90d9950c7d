"""The learners by name, and the actions that each can choose; needs neither torch nor Stable-Baselines3."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    import gymnasium as gym

NUMBERS = ("Box",)
LEVEL = ("Discrete",)
LEVELS = ("Discrete", "MultiDiscrete")
ACTIONS = {
    "Box": "numbers (action='continuous')",
    "Discrete": "a level of one ladder (action='ladder' in pacing)",
    "MultiDiscrete": "a level per segment (action='ladder' in targeting)",
}
LEARNERS: dict[str, tuple[str, ...]] = {
    "ppo": NUMBERS + LEVELS,
    "sac": NUMBERS,
    "td3": NUMBERS,
    "tqc": NUMBERS,
    "dqn": LEVEL,
    "qrdqn": LEVEL,
    "recurrent_ppo": NUMBERS + LEVELS,
    "maskable_ppo": LEVELS,
}
"""Each learner's action spaces, by Gymnasium's names."""

FROM_LOGS = ("imitation", "bc", "td3bc", "iql")
"""Learners that try nothing out (agents/offline): from the best in hindsight, or from a log of varied bids."""


def check_actions(learner: str, space: gym.Space[object]) -> None:
    """Raise InputError, naming what fits, where a learner cannot choose actions of a space."""
    kind = type(space).__name__
    if kind in LEARNERS[learner]:
        return
    able = ", ".join(name for name, kinds in LEARNERS.items() if kind in kinds)
    wanted = " or ".join(ACTIONS[name] for name in LEARNERS[learner])
    raise InputError(
        f"{learner} chooses {wanted}; the scenario asks for {ACTIONS.get(kind, kind)}: "
        f"take one of {able}, or a scenario of the other kind"
    )


def contrib() -> Any:  # noqa: ANN401 - a module
    """Return sb3_contrib. Raises InputError where it is not installed."""
    try:
        return importlib.import_module("sb3_contrib")
    except ImportError as error:
        raise InputError("needs the package 'sb3-contrib': pip install 'bidpilot[contrib]'") from error

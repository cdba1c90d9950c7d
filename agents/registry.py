"""Policies by name: a policy's name is its module's name, found by walking the package."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, cast

import bidpilot.agents
from bidpilot.ctr.errors import InputError, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.agents.base import PolicyConfig


TRAINERS = tuple(
    f"bidpilot.agents.{name}"
    for name in (
        "algorithms",
        "callbacks",
        "extraction",
        "marketplace_vector",
        "masks",
        "off_policy",
        "on_policy",
        "sb3",
        "sb3_vector",
        "start",
        "snapshot",
    )
)
"""They train policies but are none; importing them takes seconds, for torch and Stable-Baselines3."""

OFFLINE = "bidpilot.agents.offline"
"""The package of those that learn from logs: likewise."""


USUAL = (
    "constant",
    "random_bids",
    "linear",
    "pid",
    "incremental",
    "dual",
    "resolve",
    "recalibrate",
    "ucb1",
    "thompson",
    "discounted_thompson",
)
"""The baselines of a comparison that names none: all there are would take an hour to tune."""

ALL = "all"


def named(names: Sequence[str], auction: str) -> tuple[str, ...]:
    """Return the names of a comparison's baselines: those given, all for "all", the usual ones for none.

    Where the winner pays its own bid, shading is among the usual ones.
    """
    if tuple(names) == (ALL,):
        return tuple(policies())
    return tuple(names) or (*USUAL, *(("shading",) if auction == "first_price" else ()))


def policies() -> dict[str, type[PolicyConfig]]:
    """Return the Config of every policy in the package, by name."""
    found: dict[str, type[PolicyConfig]] = {}
    for module in pkgutil.walk_packages(bidpilot.agents.__path__, "bidpilot.agents."):
        if module.name in TRAINERS or module.name.startswith(f"{OFFLINE}."):
            continue
        config = getattr(importlib.import_module(module.name), "Config", None)
        if isinstance(config, type) and hasattr(config, "space"):
            found[module.name.rpartition(".")[2]] = cast("type[PolicyConfig]", config)
    return found


def find_policy(name: str) -> type[PolicyConfig]:
    """Return a policy's Config by name, or by dotted path for a module of the user's own.

    Raises InputError listing the known names, or saying what the user's module lacks.
    """
    known = policies()
    if name in known:
        return known[name]
    if "." not in name:
        raise unknown("policy", name, list(known))
    try:
        config = importlib.import_module(name).Config
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(f"policy module {name!r} must be importable and define Config: {error}") from error
    if not (hasattr(config, "build") and hasattr(config, "space")):
        raise InputError(f"policy module {name!r}: its Config must have build and space, see bidpilot.agents.base")
    return cast("type[PolicyConfig]", config)

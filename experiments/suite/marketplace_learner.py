"""Training of the marketplace's learner, and its policy file."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from bidpilot.agents.actor import Actor
from bidpilot.agents.bundle import KINDS
from bidpilot.agents.marketplace_policy import MarketplacePolicy
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.experiments.sealed import sealing
from bidpilot.experiments.suite.contenders import Learner, Pacing
from bidpilot.experiments.suite.kept import made_with
from bidpilot.experiments.suite.marketplace import EXPECTED, arena_of, play_arenas

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.features import Floats
    from bidpilot.envs.marketplace_traffic import MarketplaceConfig
    from bidpilot.experiments.suite.days import Sizes
    from bidpilot.experiments.suite.families import MarketFamily

CHAIRS, ARENAS = 4, 8
"""Seats of an arena that learn at once, and arenas. Learners meet each other, while in a test one sits alone: the
action -0.5 buys 1.0 % less (of the controller's worth) if three more seats take it too, 2.0 % less if seven do."""

RATE, SPREAD = 1e-3, -1.0
"""Of the optimiser; log of the first exploration: the controller makes good for small steps off its way."""


@sealing("training")
def train_seat(folder: Path, family: MarketFamily, seed: int, sizes: Sizes) -> None:
    """Train a policy on arenas drawn anew, the best by its validation arenas, and keep it.

    An update follows every day of ARENAS x CHAIRS seats; rewards are relative to the controllers'.
    Writes policy.safetensors, policy.json and learning.csv.
    """
    from bidpilot.agents import sb3  # torch takes seconds to import
    from bidpilot.agents.algorithms import Config
    from bidpilot.agents.marketplace_vector import MarketplaceVecEnv

    copies, ticks = ARENAS * CHAIRS, family.config.ticks
    config = Config(family.learner, family.steps, copies, ticks, learning_rate=RATE, log_std=SPREAD)
    paced = play_arenas(Pacing(), family, "validate", sizes.validate)[:, EXPECTED].mean()

    def score(actor: Actor) -> FloatArray:
        learner = Learner(MarketplacePolicy(actor, family.config))
        return np.asarray(play_arenas(learner, family, "validate", sizes.validate)[:, EXPECTED] / paced)

    def env() -> MarketplaceVecEnv:
        return MarketplaceVecEnv(family.config, ARENAS, CHAIRS, relative=True)

    started, busy = time.monotonic(), time.process_time()
    trained = sb3.train(config, env, score, lambda actor: _met(actor, family), seed)
    spent = {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - busy}
    actor = trained.actor
    settings = {"layers": len(actor.weights)} | {key: getattr(actor, key) for key in KINDS}
    arrays = {name: np.ascontiguousarray(array) for name, array in _tensors(actor).items()}
    write_atomically(folder / "policy.safetensors", save(arrays))
    write_atomically(folder / "learning.csv", trained.curve.to_csv(index=False))
    told = settings | {"trained": spent | {"seed": seed, "steps": config.steps, "with": made_with(family, sizes)}}
    write_atomically(folder / "policy.json", json.dumps(told, indent=1))


def load_seat(folder: Path, config: MarketplaceConfig) -> MarketplacePolicy:
    """Load a trained policy. Raises InputError where it is missing, damaged, or made for another market."""
    try:
        settings = json.loads((folder / "policy.json").read_text())
        tensors = load_file(folder / "policy.safetensors")
        layers = range(settings["layers"])
        weights, biases = (tuple(tensors[f"{part}.{i}"] for i in layers) for part in ("weight", "bias"))
        kinds = {key: settings[key] for key in KINDS}
        actor = Actor(tensors["mean"], tensors["scale"], weights, biases, **kinds)
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise InputError(f"{folder}: no trained policy ({error}); run bidpilot suite --train first") from error
    return MarketplacePolicy(actor, config)


def _tensors(actor: Actor) -> dict[str, FloatArray | Floats]:
    """Return the arrays of a network by name."""
    tensors: dict[str, FloatArray | Floats] = {"mean": actor.mean, "scale": actor.scale}
    tensors |= {f"weight.{i}": weight for i, weight in enumerate(actor.weights)}
    tensors |= {f"bias.{i}": bias for i, bias in enumerate(actor.biases)}
    return tensors


def _met(actor: Actor, family: MarketFamily) -> Floats:
    """Return the observations that the actor meets in an arena, all its seats learners."""
    arena, _ = arena_of(family, "validate", 0)
    met: list[Floats] = []
    while not arena.over:
        met.append(arena.observations())
        arena.play(arena.multipliers(dict(enumerate(actor(met[-1])[:, 0].tolist()))))
    return np.concatenate(met)

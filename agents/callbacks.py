"""What happens between the rollouts of a training: validation, early stop, time limit, checkpoints, curves, a bar."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from tqdm import tqdm

from bidpilot.agents.algorithms import actor_of
from bidpilot.agents.lagrangian import Multiplier
from bidpilot.agents.snapshot import MISFITS, packed, put_back, taken, tensors, unpacked
from bidpilot.agents.trained import judged
from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize

    from bidpilot.agents.algorithms import Config
    from bidpilot.agents.checkpoint import Checkpoints, Saved
    from bidpilot.agents.learned import Actor
    from bidpilot.agents.sb3_vector import BatchedVecEnv
    from bidpilot.ctr.types import FloatArray

KEEPER = "keeper"


@dataclass(frozen=True, slots=True)
class Watch:
    """How a training is watched.

    patience: stop after so many validations in a row without a better one; None: never. minutes: stop after so many,
    of this call; None: never. dual: step of the multiplier of the scenario's cost limit, see agents/lagrangian, which
    begins at the scenario's penalty; None: the penalty stays. board: folder for TensorBoard (needs bidpilot[tb]).
    journal: where checkpoints go; a training that finds one goes on from it.

    Raises InputError for figures out of range, and where TensorBoard is not installed.
    """

    patience: int | None = None
    minutes: float | None = None
    dual: float | None = None
    board: Path | None = None
    journal: Checkpoints | None = None

    def __post_init__(self) -> None:
        """Check the figures."""
        for name in ("patience", "minutes", "dual"):
            amount = getattr(self, name)
            if amount is not None and not amount > 0:
                raise InputError(f"{name} must be above 0; got {amount}")
        if self.board is not None and importlib.util.find_spec("tensorboard") is None:
            raise InputError('TensorBoard is not installed; pip install "bidpilot[tb]"')


class Over(Exception):  # noqa: N818 - it is no error
    """Training ends before its steps are done."""


class Keeper(BaseCallback):
    """Validates at even intervals, keeps the best network, and ends or writes down the training where that is due.

    All of it happens where a rollout begins: the network stands still there, and a snapshot is whole.
    curve: a row per validation. best, best_state: the network, and SB3's tensors of it. ended: why it ended early;
    late: whether because of the time.
    """

    def __init__(self, config: Config, validate: Callable[[Actor], FloatArray], watch: Watch) -> None:
        """Set up. validate: actor -> scores (days,)."""
        super().__init__()
        self._validate, self._watch = validate, watch
        self._every, self._next = max(1, config.steps // config.evaluations), 0
        self._began, self._score_kept = time.monotonic(), -np.inf
        self._overspend: list[float] = []
        self._best: dict[str, Any] = {}
        self.multiplier: Multiplier | None = None
        self.curve: list[dict[str, float]] = []
        self.best: Actor
        self.ended, self.late = "", False
        self.bar = tqdm(total=config.steps, desc=f"train {config.algorithm}", unit="step", disable=None)

    @property
    def best_state(self) -> dict[str, Any]:
        """SB3's tensors of the best network."""
        return dict(self._best["state"])

    def begin(self, model: BaseAlgorithm, saved: Saved | None) -> None:
        """Make ready for a model in training; saved: where it goes on. Raises InputError where that does not fit."""
        if self._watch.dual is not None:
            self.multiplier = _multiplier(model, self._watch.dual)
            _environments(model).core.signed = True
        if self._watch.board is not None:
            model.set_logger(configure(str(self._watch.board), ["tensorboard"]))
        if saved is None:
            return
        try:
            self._go_on(model, saved)
        except MISFITS as error:
            raise InputError(f"the checkpoint does not fit this training: {error}; train without --resume") from error

    def finish(self) -> None:
        """Validate at the end, if that was not just done."""
        if not self.curve or self.curve[-1]["steps"] != self.model.num_timesteps:
            self._score()

    def _on_rollout_start(self) -> None:
        """Do what is due between rollouts. Raises Over where training ends."""
        self._price()
        if self.model.num_timesteps >= self._next:
            self._next = (self.model.num_timesteps // self._every + 1) * self._every
            self._score()
            self._lose_patience()
        self._look_at_the_clock()
        journal = self._watch.journal
        if journal is not None and (self.late or journal.due):
            journal.save(self.model.num_timesteps, *self._snapshot())
        if self.ended:
            raise Over

    def _on_step(self) -> bool:
        self.bar.update(self.model.num_timesteps - self.bar.n)
        if self.multiplier is not None and self.locals["dones"].any():
            self._overspend += [info["episode"]["overspend"] for info in self.locals["infos"] if "episode" in info]
        return True

    def _price(self) -> None:
        """Let the price of the limit follow the episodes that ended in the last rollout."""
        if self.multiplier is not None:
            _environments(self.model).core.penalty = self.multiplier.update(self._overspend)
            self._overspend = []

    def _score(self) -> None:
        normaliser = cast("VecNormalize", self.model.get_vec_normalize_env())
        actor, steps = actor_of(self.model, normaliser), self.model.num_timesteps
        row = judged(steps, self._validate(actor))
        mean = row["score"]
        if self.multiplier is not None:
            row |= {"mu": self.multiplier.mu, "slack": self.multiplier.slack}
        self.curve.append(row)
        self.bar.set_postfix(validation=f"{mean:.4f}", best=f"{max(mean, self._score_kept):.4f}")
        if mean > self._score_kept:
            self._score_kept, self.best = mean, actor
            state = {name: tensor.clone() for name, tensor in self.model.policy.state_dict().items()}
            statistics = cast("Any", normaliser.obs_rms)
            self._best = {"state": state, "mean": statistics.mean.copy(), "var": statistics.var.copy()}
        if self._watch.board is not None:
            for name, amount in row.items():
                self.logger.record(f"validation/{name}", amount)
            self.logger.dump(steps)

    def _lose_patience(self) -> None:
        """End where no validation was better for long."""
        since = len(self.curve) - 1 - int(np.argmax([row["score"] for row in self.curve]))
        if self._watch.patience is not None and since >= self._watch.patience:
            steps = self.model.num_timesteps
            self.ended = f"stopped early at step {steps:,}: no better in {since} validations"

    def _look_at_the_clock(self) -> None:
        """End where the time is over."""
        minutes = self._watch.minutes
        if minutes is not None and not self.ended and time.monotonic() - self._began >= 60 * minutes:
            self.late, steps = True, self.model.num_timesteps
            self.ended = f"stopped at step {steps:,}: the time limit of {minutes:g} minutes is over"

    def _snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        facts, arrays = taken(self.model)
        price = None if self.multiplier is None else (self.multiplier.mu, self.multiplier.slack)
        own = {"next": self._next, "curve": self.curve, "kept": self._score_kept, "best": self._best, "price": price}
        return facts | {KEEPER: packed(own, KEEPER, arrays)}, arrays

    def _go_on(self, model: BaseAlgorithm, saved: Saved) -> None:
        """Bring model and keeper to where they were written down. Raises one of MISFITS where they are not the same."""
        own = unpacked(saved.facts[KEEPER], saved.arrays)
        self._next, self.curve, self._score_kept = own["next"], own["curve"], own["kept"]
        self._best = own["best"] | {"state": tensors(own["best"]["state"])}
        normaliser = cast("VecNormalize", model.get_vec_normalize_env())
        vars(normaliser.obs_rms).update({name: self._best[name] for name in ("mean", "var")})
        model.policy.load_state_dict(self._best["state"])
        self.best = actor_of(model, normaliser)  # the network of the best, then all of the last
        put_back(model, saved.facts, saved.arrays)
        if self.multiplier is not None:
            self.multiplier.mu, self.multiplier.slack = own["price"]
            _environments(model).core.penalty = self.multiplier.mu


def _environments(model: BaseAlgorithm) -> BatchedVecEnv:
    return cast("BatchedVecEnv", cast("VecNormalize", model.get_vec_normalize_env()).unwrapped)


def _multiplier(model: BaseAlgorithm, step: float) -> Multiplier:
    """Return the multiplier of a scenario's limit. Raises InputError where there is none, or where it cannot move."""
    scenario = _environments(model).core.scenario
    if scenario.limit is None or not {"limit", "realised_limit"} & set(scenario.reward):
        raise InputError("a multiplier (dual) needs a scenario with a cost limit, and the term of it in its reward")
    if not isinstance(model, OnPolicyAlgorithm):
        raise InputError(
            f"a multiplier (dual) needs a learner that forgets rewards of older prices, as ppo; {type(model).__name__} "
            "learns from stored ones"
        )
    return Multiplier(scenario.penalty, step)

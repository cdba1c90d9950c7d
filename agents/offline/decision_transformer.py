"""Decision transformer (Chen et al., NeurIPS 2021): clone the log, told how well each episode went on from there.

Asked for a high return, it does what was done where the return was high. At work nobody knows what the controller alone
would have earned, nor the law's expectation, so the return asked for is not counted down by rewards: at every tick it
is what a given share of the logged episodes did not reach from that tick on. The window is the same in training and at
work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from tqdm import tqdm

from bidpilot.agents.offline.attention import Sequencer
from bidpilot.agents.offline.learning import positive
from bidpilot.agents.offline.network import Scaler
from bidpilot.agents.trained import judged
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.ctr.loop import torch_generator

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from bidpilot.agents.offline.dataset import Dataset
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.features import Floats

LEVELS = 101


@dataclass(frozen=True, slots=True)
class Config:
    """window: ticks that are looked back on. width, depth, heads: of the network.

    steps, batch, learning_rate, evaluations: as in Schedule; a row of a batch is a window.
    """

    steps: int = 2_000
    batch: int = 64
    learning_rate: float = 1e-3
    evaluations: int = 5
    window: int = 12
    width: int = 64
    depth: int = 2
    heads: int = 2

    def __post_init__(self) -> None:
        """Check the figures."""
        positive(self, *self.__slots__)
        if self.width % self.heads:
            raise InputError(f"heads must divide the width; got {self.heads} and {self.width}")


@dataclass(frozen=True)
class Sequel:
    """A trained network with what it takes to ask it.

    quantiles: (LEVELS, ticks) returns to go in the log, per tick, in units of spread.
    """

    network: Sequencer
    scaler: Scaler
    quantiles: FloatArray
    window: int

    def target(self, level: float) -> FloatArray:
        """Return the returns to go (ticks,) that this share of the log did not reach."""
        if not 0.0 <= level <= 1.0:
            raise InputError(f"level must be a share, 0..1; got {level}")
        place = level * (LEVELS - 1)
        low = min(int(place), LEVELS - 2)
        mixed: FloatArray = self.quantiles[low] + (place - low) * (self.quantiles[low + 1] - self.quantiles[low])
        return mixed

    @torch.inference_mode()
    def act(self, target: FloatArray, observations: list[Floats], actions: list[Floats], tick: int) -> FloatArray:
        """Return the action (groups,) of a tick, given the observations up to it and the actions before it."""
        start = max(0, tick + 1 - self.window)
        ticks = torch.arange(start, tick + 1)[None]
        returns = torch.from_numpy(target[start : tick + 1].astype(np.float32))[None]
        none = np.zeros(self.network.head.out_features, dtype=np.float32)
        done = torch.from_numpy(np.stack([*actions[start:tick], none]))[None]
        seen = self.scaler(np.stack(observations[start : tick + 1]))[None]
        chosen: Tensor = self.network(returns, seen, done, ticks)[0, -1]
        return np.asarray(chosen.numpy(), dtype=np.float64)

    def save(self, path: Path) -> None:
        """Write everything, atomically, as safetensors: nothing in the file can be executed."""
        arrays = {f"network.{name}": each.numpy() for name, each in self.network.state_dict().items()}
        counts = {"window": self.window, "heads": self.network.heads}
        arrays |= {"mean": self.scaler.mean, "scale": self.scaler.scale, "quantiles": self.quantiles}
        arrays |= {name: np.array([count]) for name, count in counts.items()}
        write_atomically(path, save({name: np.ascontiguousarray(each) for name, each in arrays.items()}))

    @classmethod
    def load(cls, path: str | Path) -> Sequel:
        """Read what save wrote. Raises InputError for a missing or damaged file."""
        try:
            parts = load(Path(path).read_bytes())
            state = {name[8:]: torch.from_numpy(each) for name, each in parts.items() if name.startswith("network.")}
            network = Sequencer.shaped(state, int(parts["heads"][0]))
            scaler = Scaler(parts["mean"], parts["scale"])
            return cls(network, scaler, parts["quantiles"], int(parts["window"][0]))
        except (OSError, SafetensorError, KeyError, RuntimeError) as error:
            raise InputError(f"{path}: no complete decision transformer ({error!r}); train it again") from error


class Sequenced(NamedTuple):
    """The best network of a run and its learning curve (columns as in Trained)."""

    sequel: Sequel
    curve: pd.DataFrame


def train(config: Config, dataset: Dataset, validate: Callable[[Sequel], FloatArray], seed: int) -> Sequenced:
    """Train on a dataset of equally long episodes; keep the best by mean validation score. Same seed, same bytes.

    validate: network -> scores (days,); it makes a SequencePolicy of it. Raises InputError for episodes of
    different lengths.
    """
    ticks = int(dataset.lengths[0])
    if (dataset.lengths != ticks).any():
        raise InputError("a decision transformer needs episodes of one length")
    rng = np.random.default_rng(seed)
    sizes = (config.width, config.depth, config.heads)
    shape = (ticks, dataset.observations.shape[1], dataset.actions.shape[1])
    network, scaler = Sequencer(*shape, sizes, torch_generator(rng)), Scaler.of(dataset.observations)
    spread = max(float(dataset.returns.std()), 1e-9)
    returns = (dataset.returns / spread).reshape(-1, ticks)
    quantiles = np.quantile(returns, np.linspace(0.0, 1.0, LEVELS), axis=0)
    windows = _Windows(dataset, scaler, returns, config)
    sequel = Sequel(network, scaler, quantiles, config.window)
    curve = _fit(config, sequel, windows, validate, torch_generator(rng))
    return Sequenced(sequel, pd.DataFrame(curve))


class _Windows:
    """Windows of a dataset that end at random ticks; where an episode is younger than that, they are shorter."""

    def __init__(self, dataset: Dataset, scaler: Scaler, returns: FloatArray, config: Config) -> None:
        self._columns = (
            torch.from_numpy(np.ravel(returns).astype(np.float32)),
            scaler(dataset.observations),
            torch.from_numpy(dataset.actions),
            torch.from_numpy(dataset.ticks),
        )
        self._length = min(config.window, int(dataset.lengths[0]))
        self._batch = config.batch

    def draw(self, generator: torch.Generator) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return (returns, observations, actions, ticks), each (n, k, ...), and what of it counts (n, k)."""
        ticks = self._columns[3]
        last = torch.randint(len(ticks), (self._batch,), generator=generator)
        length = (ticks[last] + 1).clamp(max=self._length)
        place = torch.arange(self._length)
        counts = place < length[:, None]
        rows = last[:, None] - length[:, None] + 1 + torch.minimum(place, length[:, None] - 1)
        return tuple(column[rows] for column in self._columns), counts


def _fit(
    config: Config,
    sequel: Sequel,
    windows: _Windows,
    validate: Callable[[Sequel], FloatArray],
    generator: torch.Generator,
) -> list[dict[str, float]]:
    """Train in place; return the curve, and leave the best weights in the network."""
    network, best = sequel.network, {}
    curve: list[dict[str, float]] = []
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate)
    every = max(1, config.steps // config.evaluations)
    for step in tqdm(range(config.steps + 1), desc="train dt", unit="step", disable=None):
        if step % every == 0 or step == config.steps:
            row = judged(step, validate(sequel))
            if row["score"] > max((other["score"] for other in curve), default=-np.inf):
                best = {name: each.clone() for name, each in network.state_dict().items()}
            curve.append(row)
        if step < config.steps:
            _step(network, optimiser, *windows.draw(generator))
    network.load_state_dict(best)
    return curve


def _step(network: Sequencer, optimiser: torch.optim.Optimizer, columns: tuple[Tensor, ...], counts: Tensor) -> None:
    error = (network(*columns) - columns[2]).square().mean(dim=2)
    optimiser.zero_grad()
    (error[counts].mean()).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()

"""All that decides how an SB3 training goes on, as plain facts and arrays, and its return into a model built anew.

Weights, optimisers, replay buffer, normalisation, counters, the environments and every random state. Taken and put
back where a rollout begins, training goes on bit for bit; SB3's own save and load do not.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from stable_baselines3.common.save_util import recursive_getattr

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.buffers import ReplayBuffer
    from stable_baselines3.common.vec_env import VecNormalize

    from bidpilot.agents.sb3_vector import BatchedVecEnv

COUNTERS = (
    "num_timesteps",
    "_episode_num",
    "_n_updates",
    "_n_calls",
    "_current_progress_remaining",
    "exploration_rate",
    "_last_obs",
    "_last_original_obs",
    "_last_episode_starts",
    "_last_lstm_states",
)
"""Attributes of models, of some only."""

STATED = 100
"""Episodes that SB3's curves are means of."""

MISFITS = (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError)
"""What is raised where a snapshot is not of a model like this one."""

ARRAY, TUPLE, PAIRS = "array", "tuple", "pairs"
Snapshot = tuple[dict[str, Any], dict[str, Any]]


def taken(model: BaseAlgorithm) -> Snapshot:
    """Return all of a model in training, where a rollout begins: facts that JSON holds, and arrays by name."""
    facts, arrays = _environments(model).state()
    told = {
        "torch": {name: _held(model, name) for name in _names(model)},
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "episodes": list(model.ep_info_buffer or ()),
        "normaliser": _statistics(cast("VecNormalize", model.get_vec_normalize_env())),
        "random": _randomness(model),
        "replay": _replay(model),
    }
    arrays = {f"environments.{name}": array for name, array in arrays.items()}
    return {"environments": facts, "model": packed(told, "model", arrays)}, arrays


def put_back(model: BaseAlgorithm, facts: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Bring a model, built with the same settings, to where another was.

    Raises one of MISFITS where it does not fit: other networks, or environments that play other episodes.
    """
    start = "environments."
    own = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
    told = unpacked(facts["model"], arrays)
    for name, held in told["torch"].items():
        _hold(model, name, held)
    for name, value in told["counters"].items():
        _count(model, name, value)
    model.ep_info_buffer, model.ep_success_buffer = deque(told["episodes"], STATED), deque(maxlen=STATED)
    _normalise(cast("VecNormalize", model.get_vec_normalize_env()), told["normaliser"])
    _refill(model, told["replay"])
    seen = _environments(model).restore(facts["environments"], own)
    if not np.array_equal(seen, told["normaliser"]["old_obs"]):
        raise ValueError("it is of other days, forecasts or scenarios")
    _go_on(model, told["random"])


def packed(tree: Any, name: str, arrays: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return a tree of plain values, arrays and tensors as JSON holds it; the arrays go by their path into `arrays`."""
    if isinstance(tree, (np.ndarray, torch.Tensor)):
        array = tree.detach().numpy() if isinstance(tree, torch.Tensor) else tree
        arrays[name] = np.array(array, order="C")
        return {ARRAY: name}
    if isinstance(tree, (tuple, list)):
        parts = [packed(part, f"{name}.{number}", arrays) for number, part in enumerate(tree)]
        return {TUPLE: parts} if isinstance(tree, tuple) else parts
    if isinstance(tree, dict):
        return {PAIRS: [[key, packed(part, f"{name}.{key}", arrays)] for key, part in tree.items()]}
    return tree.item() if isinstance(tree, np.generic) else tree


def unpacked(tree: Any, arrays: dict[str, Any]) -> Any:  # noqa: ANN401 - what packed was given
    """Return what packed() made a tree of; arrays are NumPy's."""
    if isinstance(tree, list):
        return [unpacked(part, arrays) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if ARRAY in tree:
        return arrays[tree[ARRAY]]
    if TUPLE in tree:
        return tuple(unpacked(part, arrays) for part in tree[TUPLE])
    return {key: unpacked(part, arrays) for key, part in tree[PAIRS]}


def tensors(tree: Any) -> Any:  # noqa: ANN401 - the same with tensors
    """Return a tree with a tensor, its own copy, for each array."""
    if isinstance(tree, np.ndarray):
        return torch.from_numpy(tree.copy())
    if isinstance(tree, (tuple, list)):
        return type(tree)(tensors(part) for part in tree)
    return {key: tensors(part) for key, part in tree.items()} if isinstance(tree, dict) else tree


def _environments(model: BaseAlgorithm) -> BatchedVecEnv:
    return cast("BatchedVecEnv", cast("VecNormalize", model.get_vec_normalize_env()).unwrapped)


def _names(model: BaseAlgorithm) -> list[str]:
    """Return where a model keeps what has a state_dict, and its lone tensors."""
    modules, lone = model._get_torch_save_params()  # noqa: SLF001 - SB3's own list of what to save
    return [*modules, *lone]


def _held(model: BaseAlgorithm, name: str) -> Any:  # noqa: ANN401 - a tree
    part = recursive_getattr(model, name)
    return part if isinstance(part, torch.Tensor) else dict(part.state_dict())


def _hold(model: BaseAlgorithm, name: str, held: Any) -> None:  # noqa: ANN401 - a tree
    part = recursive_getattr(model, name)
    if isinstance(part, torch.Tensor):
        with torch.no_grad():
            part.copy_(tensors(held))
    else:
        part.load_state_dict(tensors(held))


def _count(model: BaseAlgorithm, name: str, value: Any) -> None:  # noqa: ANN401 - an attribute
    """Set an attribute in the kind of container that it is in."""
    old = getattr(model, name)
    if hasattr(old, "_fields"):  # an LSTM's states
        value = type(old)(*tensors(value))
    setattr(model, name, value)


def _statistics(normaliser: VecNormalize) -> dict[str, Any]:
    seen, paid = cast("Any", normaliser.obs_rms), normaliser.ret_rms
    return {
        "obs_rms": (seen.mean, seen.var, seen.count),
        "ret_rms": (paid.mean, paid.var, paid.count),
        "returns": normaliser.returns,
        "old_obs": normaliser.old_obs,
        "old_reward": normaliser.old_reward,
    }


def _normalise(normaliser: VecNormalize, told: dict[str, Any]) -> None:
    for name, value in told.items():
        if name.endswith("rms"):
            vars(getattr(normaliser, name)).update(zip(("mean", "var", "count"), value, strict=True))
        else:
            setattr(normaliser, name, value)


def _randomness(model: BaseAlgorithm) -> dict[str, Any]:
    version, key, rest = random.getstate()
    return {
        "python": (version, np.array(key, dtype=np.uint64), rest),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002 - SB3 draws from it
        "torch": torch.get_rng_state(),
        "actions": model.action_space.np_random.bit_generator.state,
    }


def _go_on(model: BaseAlgorithm, told: dict[str, Any]) -> None:
    """Set the global generators, and that of random actions."""
    version, key, rest = told["python"]
    random.setstate((version, tuple(key.tolist()), rest))
    np.random.set_state(told["numpy"])  # noqa: NPY002 - SB3 draws from it
    torch.set_rng_state(tensors(told["torch"]))
    model.action_space.np_random.bit_generator.state = told["actions"]


def _replay(model: BaseAlgorithm) -> dict[str, Any]:
    """Return what is in the replay buffer; nothing where there is none."""
    buffer = cast("ReplayBuffer | None", getattr(model, "replay_buffer", None))
    if buffer is None:
        return {}
    filled = buffer.buffer_size if buffer.full else buffer.pos
    columns = {name: column[:filled] for name, column in _columns(buffer).items()}
    return {"pos": buffer.pos, "full": buffer.full, "columns": columns}


def _refill(model: BaseAlgorithm, told: dict[str, Any]) -> None:
    if told:
        buffer = cast("ReplayBuffer", cast("Any", model).replay_buffer)
        buffer.pos, buffer.full = told["pos"], told["full"]
        for name, column in _columns(buffer).items():
            saved = told["columns"][name]
            column[: len(saved)] = saved


def _columns(buffer: ReplayBuffer) -> dict[str, Any]:
    kept = {name: part for name, part in vars(buffer).items() if isinstance(part, np.ndarray)}
    return {name: part for name, part in kept.items() if part.shape[:1] == (buffer.buffer_size,)}

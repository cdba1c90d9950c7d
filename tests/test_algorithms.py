"""Every learner: it learns, refuses what it cannot choose, and its network in NumPy, bundle and ONNX answers as SB3."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from bidpilot.agents.algorithms import ALGORITHMS, Config, actor_of, answers
from bidpilot.agents.bundle import load_bundle, write_bundle
from bidpilot.agents.learned import Actor, Floats, LearnedPolicy
from bidpilot.agents.masks import SPENT, MaskedVecEnv
from bidpilot.agents.names import LEARNERS, check_actions
from bidpilot.agents.onnx import onnx_bytes, played
from bidpilot.agents.probes import probes
from bidpilot.agents.rollout import run_episode
from bidpilot.agents.sb3_vector import BatchedVecEnv
from bidpilot.ctr.errors import InputError
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.replay import ReplayMarket
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.scenarios import default_market, make
from bidpilot.envs.types import Campaign

if TYPE_CHECKING:
    from pathlib import Path

    from stable_baselines3.common.base_class import BaseAlgorithm

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.envs.day import Day

TICKS = 24
COPIES = 4
SMALL = Config(
    steps=8 * TICKS * COPIES,
    envs=COPIES,
    rollout=2 * TICKS,
    batch=64,
    epochs=2,
    hidden=(16, 16),
    memory=8,
    sample=32,
    updates=0.25,
)
SCENARIOS = {
    "numbers": Scenario("targeting", reach=1.0),
    "level": Scenario("pacing", action="ladder"),
    "levels": Scenario("targeting", action="ladder", levels=7),
}
PAIRS = [
    ("ppo", "numbers"),
    ("ppo", "level"),
    ("ppo", "levels"),
    ("sac", "numbers"),
    ("td3", "numbers"),
    ("tqc", "numbers"),
    ("dqn", "level"),
    ("qrdqn", "level"),
    ("recurrent_ppo", "numbers"),
    ("recurrent_ppo", "levels"),
    ("maskable_ppo", "level"),
    ("maskable_ppo", "levels"),
]
DAYS = draw_days(default_market(300, TICKS), 4, np.random.default_rng(4))
FORECAST = Forecast.of(DAYS[:3])


def environment(form: str) -> BiddingEnv:
    return make(SCENARIOS[form], ReplayMarket(DAYS[:3]), FORECAST)


def wrapped(form: str, copies: int = COPIES) -> VecNormalize:
    return VecNormalize(BatchedVecEnv(environment(form), copies), gamma=1.0, clip_obs=10.0)


@dataclass(frozen=True)
class Student:
    """A learner before and after a short run; then its weights are shaken, so that its actions vary."""

    name: str
    form: str
    model: BaseAlgorithm
    before: Actor
    learned: Actor
    actor: Actor
    env: VecNormalize

    @property
    def scenario(self) -> Scenario:
        """Return what it plays."""
        return SCENARIOS[self.form]

    def episodes(self, count: int = 9) -> Floats:
        """Return whole episodes (ticks, count, d), met under random actions."""
        env, rng = BatchedVecEnv(environment(self.form), count), np.random.default_rng(6)
        env.seed(5)
        met, space = [env.reset()], self.env.action_space
        for _ in range(TICKS - 1):
            space.seed(int(rng.integers(2**31)))
            env.step_async(np.array([space.sample() for _ in range(count)]))
            met.append(env.step_wait()[0])
        return np.array(met, dtype=np.float32)


@pytest.fixture(scope="module", params=PAIRS, ids=" ".join)
def student(request: pytest.FixtureRequest) -> Student:
    name, form = request.param
    env = wrapped(form)
    model = ALGORITHMS[name](replace(SMALL, algorithm=name), env, 1)
    before = actor_of(model, env)
    learned = actor_of(model.learn(SMALL.steps), env)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.policy.parameters():
            weights.add_(0.3 * torch.randn(weights.shape, generator=random))
    return Student(name, form, model, before, learned, actor_of(model, env), env)


def test_every_learner_is_here() -> None:
    assert list(ALGORITHMS) == list(LEARNERS)
    assert {name for name, _ in PAIRS} == set(LEARNERS)


def test_a_short_run_changes_the_network_with_discount_1(student: Student) -> None:
    assert vars(student.model)["gamma"] == 1.0
    assert student.model.num_timesteps >= SMALL.steps
    assert student.actor.groups == (8 if student.scenario.environment == "targeting" else 1)
    for before, after in zip(student.before.weights, student.learned.weights, strict=True):
        assert before.shape == after.shape
    assert not (student.before.weights[-1] == student.learned.weights[-1]).all()
    assert (student.actor.lstm is not None) == (student.name == "recurrent_ppo")


def test_the_untrained_network_is_nearly_the_controller(student: Student) -> None:
    """Of levels it takes the middle one; PPO's own first tries are spread around it as exp(-1.5) makes numbers."""
    actions = student.before(student.episodes())
    assert np.abs(actions).max() <= (0.0 if student.actor.levels > 1 else 0.06)
    if student.name.endswith("ppo") and student.actor.levels > 1:
        linear = student.before.biases[-1].reshape(student.actor.groups, -1)
        tried = np.exp(linear) / np.exp(linear).sum(-1, keepdims=True)
        assert np.sqrt(tried @ student.actor.rungs**2) == pytest.approx(np.exp(-1.5), abs=0.03)


def test_the_actor_answers_as_sb3_does_tick_by_tick(student: Student) -> None:
    observations = student.episodes()
    flat = observations.reshape(-1, observations.shape[-1])
    assert len(flat) >= 200
    single = student.actor(flat[:200])
    np.testing.assert_allclose(single, answers(student.model, student.actor, flat[:200]), atol=1e-5)
    together = student.actor(observations)
    np.testing.assert_allclose(together, answers(student.model, student.actor, observations), atol=1e-5)
    assert np.abs(together).max() <= 1.0
    assert len(np.unique(together)) > 1


def test_answers_are_those_of_sb3_under_its_own_normalisation(student: Student) -> None:
    """By hand, with SB3's wrapper and predict alone: nothing of the package between."""
    raw = student.episodes(2)
    levels = student.actor.levels
    state, expected = None, []
    for tick, observation in enumerate(raw):
        starts = np.full(len(observation), tick == 0)
        normal = np.asarray(student.env.normalize_obs(observation.copy()))
        action, state = student.model.predict(normal, state, starts, deterministic=True)
        expected.append(np.reshape(action, (len(observation), -1)))
    wanted = np.array(expected, dtype=np.float64)
    if levels > 1:
        wanted = wanted / (levels - 1) * 2.0 - 1.0
    np.testing.assert_allclose(student.actor(raw), wanted, atol=1e-5)


def test_a_memory_matters_and_is_forgotten_between_episodes(student: Student) -> None:
    observations = student.episodes(3)
    whole, alone = (student.actor(rows) for rows in (observations, observations.reshape(-1, observations.shape[-1])))
    outputs = [actor_outputs(student.actor, rows) for rows in (observations, observations[::-1])]
    if student.actor.lstm is None:
        np.testing.assert_allclose(whole.reshape(alone.shape), alone, atol=1e-6)
        np.testing.assert_allclose(outputs[0], outputs[1][::-1], atol=1e-5)
    else:
        assert np.abs(outputs[0] - outputs[1][::-1]).max() > 1e-4
    np.testing.assert_array_equal(whole[0], student.actor(observations[0]))


def actor_outputs(actor: Actor, observations: Floats) -> FloatArray:
    """Return what the last layer gives, before a level is chosen, tick by tick."""
    linear, memory, given = replace(actor, head="clip", levels=1), None, []
    for tick in observations:
        action, memory = linear.act(tick, memory)
        given.append(action)
    return np.array(given)


def test_a_bundle_and_its_graph_answer_as_trained(student: Student, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    whole = student.episodes()
    asked = whole if student.actor.lstm is not None else whole.reshape(-1, whole.shape[-1])
    actions = answers(student.model, student.actor, asked)
    policy = LearnedPolicy(student.actor, student.scenario, FORECAST)
    write_bundle(tmp_path / "policy.zip", policy, asked, actions, {"policy": student.name})
    loaded = load_bundle(tmp_path / "policy.zip")
    np.testing.assert_array_equal(loaded.actions, actions)
    np.testing.assert_array_equal(loaded.policy.actor(whole), student.actor(whole))
    np.testing.assert_array_equal(episode(loaded.policy, DAYS[3]), episode(policy, DAYS[3]))
    data = onnx_bytes(student.actor, student.scenario, asked, actions)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(played(session, student.actor, whole), student.actor(whole), atol=1e-5)


def episode(policy: LearnedPolicy, day: Day) -> FloatArray:
    campaign = Campaign(0.2 * FORECAST.full_cost, TICKS, FORECAST.full_cost)
    return run_episode(policy, day, campaign, np.random.default_rng(0)).table


def test_the_policy_plays_what_the_environment_plays(student: Student) -> None:
    """The environment gets SB3's own actions, the policy its network's: spend is the same in every tick."""
    env, actor = environment(student.form), student.actor
    observation, _ = env.reset(seed=0, options={"day": DAYS[3], "scarcity": 0.2})
    spend: list[float] = []
    state, over = None, False
    while not over:
        starts = np.array([not spend])
        action, state = student.model.predict(actor.normalised(observation[None]), state, starts, deterministic=True)
        observation, _, over, _, info = env.step(action[0])
        spend.append(info["spend"])
    table = episode(LearnedPolicy(actor, student.scenario, FORECAST), DAYS[3])
    assert table[:, 1] / 1e6 == pytest.approx(np.array(spend), rel=1e-3, abs=2e-6)


def test_probes_are_what_the_network_meets_whole_episodes_where_it_remembers(student: Student) -> None:
    market, actor = ReplayMarket(DAYS[:3]), student.actor
    met = probes(actor, student.scenario, market, FORECAST, 100, seed=3)
    assert met.flags.c_contiguous  # as safetensors writes them
    width = len(actor.mean)
    assert met.shape == ((TICKS, 5, width) if student.name == "recurrent_ppo" else (100, width))
    assert met.dtype == np.float32
    np.testing.assert_array_equal(met, probes(actor, student.scenario, market, FORECAST, 100, seed=3))
    assert actor.gap(met, answers(student.model, actor, met)) <= 1e-5
    first, _ = environment(student.form).reset(seed=3)
    np.testing.assert_array_equal(first, met[0, 0] if met.ndim == 3 else met[0])


@pytest.mark.parametrize(("name", "form"), [(n, f) for n in LEARNERS for f in SCENARIOS if (n, f) not in PAIRS])
def test_what_a_learner_cannot_choose_is_refused_with_what_fits(name: str, form: str) -> None:
    env = wrapped(form, 1)
    if (name, form) == ("recurrent_ppo", "level"):
        check_actions(name, env.action_space)
        return
    with pytest.raises(InputError, match=rf"^{name} chooses .*action='.*; the scenario asks for .*: take one of .*ppo"):
        ALGORITHMS[name](replace(SMALL, algorithm=name), env, 0)


@pytest.mark.parametrize("name", ["tqc", "qrdqn", "recurrent_ppo", "maskable_ppo"])
def test_a_missing_package_is_named_with_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    form = next(form for known, form in PAIRS if known == name)
    with pytest.raises(InputError, match=r"needs the package 'sb3-contrib': pip install 'bidpilot\[contrib\]'"):
        ALGORITHMS[name](replace(SMALL, algorithm=name), wrapped(form, 1), 0)


@pytest.mark.parametrize("form", ["level", "levels"])
def test_with_the_budget_spent_only_the_controllers_own_level_is_left(form: str) -> None:
    bold = replace(SCENARIOS[form], reach=4.0)
    env = MaskedVecEnv(BatchedVecEnv(make(bold, ReplayMarket(DAYS[:3]), FORECAST), COPIES))
    levels, groups = SCENARIOS[form].levels, 8 if form == "levels" else 1
    env.set_options({"scarcity": 0.1})
    env.reset()
    assert env.has_attr("action_masks")
    assert env.action_masks().shape == (COPIES, groups * levels)
    assert env.action_masks().all()
    core, seen = env.unwrapped.core, []  # type: ignore[attr-defined]
    top = np.full((COPIES, groups), levels - 1)
    for _ in range(TICKS - 1):
        env.step(top if groups > 1 else top[:, 0])
        now = core.fleet.glance()
        poor = (now.left < SPENT * (now.left + now.spent))[:, 0]
        masks = np.array(env.env_method("action_masks")).reshape(COPIES, groups, levels)
        assert masks[~poor].all()
        assert (masks[poor].sum(-1) == 1).all()
        assert masks[poor][..., levels // 2].all()
        seen += poor.tolist()
    assert 0 < np.mean(seen) < 1


def test_masks_need_batched_environments() -> None:
    with pytest.raises(InputError, match="masks are told by a BatchedVecEnv, wrapped or not; got DummyVecEnv"):
        MaskedVecEnv(VecNormalize(DummyVecEnv([lambda: environment("levels")])))


@pytest.mark.parametrize("name", ["ppo", "recurrent_ppo", "maskable_ppo"])
def test_a_batch_divides_a_rollout_and_the_rate_falls_to_nothing(name: str) -> None:
    """SB3 overshoots the asked steps to a whole rollout: what is left is then below 0."""
    model: Any = ALGORITHMS[name](replace(SMALL, algorithm=name, batch=100), wrapped("levels"), 0)
    assert model.batch_size == 96  # of 192 rows
    for copies, rows in ((16, 512), (256, 8192)):
        model = ALGORITHMS[name](Config(name, envs=copies), wrapped("levels", copies), 0)
        assert model.batch_size == rows
    assert [model.lr_schedule(left) for left in (1.0, 0.5, 0.0, -2.0)] == [3e-4, 1.5e-4, 0.0, 0.0]


@pytest.mark.parametrize("name", ["sac", "td3", "tqc", "dqn", "qrdqn"])
def test_50_episodes_are_played_before_anything_is_learned_from_them(name: str) -> None:
    form = next(form for known, form in PAIRS if known == name)
    model: Any = ALGORITHMS[name](Config(name, envs=COPIES), wrapped(form), 0)
    assert model.learning_starts == 50 * TICKS
    assert (model.action_noise is not None) == (name == "td3")
    assert model.gradient_steps == 1  # an eighth of 4 samples, at least one
    assert vars(ALGORITHMS[name](Config(name, envs=64), wrapped(form, 64), 0))["gradient_steps"] == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algorithm": "pp0"}, "unknown algorithm 'pp0'; known: .*ppo"),
        ({"memory": 0}, "memory must be above 0; got 0"),
        ({"updates": 0}, "updates must be above 0; got 0"),
        ({"explore": float("nan")}, "explore must be above 0; got nan"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(SMALL, **change)

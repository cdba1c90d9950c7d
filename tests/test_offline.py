"""Learners from logs: losses with known answers, toys whose best action is known, and days that nobody trained on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from bidpilot.agents.learned import Actor, LearnedPolicy
from bidpilot.agents.offline import bc, imitation, iql, td3bc
from bidpilot.agents.offline.dataset import Dataset
from bidpilot.agents.offline.learning import batches
from bidpilot.agents.offline.network import Critic, Policy, Scaler, Twins
from bidpilot.agents.offline.recording import VARIED, Behaviour, record
from bidpilot.agents.offline.teacher import Teacher
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.errors import InputError
from bidpilot.envs.episode import Episode
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.hindsight import best_multiplier, best_of, best_value
from bidpilot.envs.market import MiscalibratedMarket, draw_days
from bidpilot.envs.replay import ReplayMarket
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.scenarios import SCENARIOS, default_market, make
from bidpilot.envs.types import Campaign, Rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.agents.base import BiddingPolicy
    from bidpilot.agents.trained import Trained
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.envs.day import Day
    from bidpilot.envs.features import Floats
    from bidpilot.envs.market import Market

SMALL: dict[str, Any] = {"steps": 60, "batch": 32, "hidden": (16, 16), "evaluations": 3}


@dataclass(frozen=True)
class Job:
    """What a learner is trained on and judged by."""

    market: Market
    forecast: Forecast
    scenario: Scenario
    held_out: tuple[Day, ...]

    def env(self) -> BiddingEnv:
        """Make an environment."""
        return make(self.scenario, self.market, self.forecast)

    def validate(self, actor: Actor) -> FloatArray:
        """Return R / R* (days,)."""
        return self.scores(LearnedPolicy(actor, self.scenario, self.forecast))

    def scores(self, policy: BiddingPolicy) -> FloatArray:
        """Return R / R* (days,), a mean over budgets."""
        full_cost, ticks = self.forecast.full_cost, self.forecast.ticks
        campaigns = [Campaign(share * full_cost, ticks, full_cost) for share in (1 / 16, 1 / 4)]
        return np.array([np.mean([self._score(policy, day, asked) for asked in campaigns]) for day in self.held_out])

    def _score(self, policy: BiddingPolicy, day: Day, asked: Campaign) -> float:
        earned = run_episode(policy, day, asked, np.random.default_rng(0)).total("expected")
        return float(earned / best_value(day, np.array([asked.budget]))[0])

    def silent(self) -> Actor:
        """Return the actor that is the controller."""
        (size,) = self.env().observation_space.shape or ()
        groups = self.env().groups
        zeros = np.zeros((groups, size), np.float32), np.zeros(groups, np.float32)
        return Actor(np.zeros(size), np.ones(size), (zeros[0],), (zeros[1],))


@pytest.fixture(scope="module")
def job() -> Job:
    days = draw_days(default_market(400, 12), 6, np.random.default_rng(4))
    return Job(ReplayMarket(days[:4]), Forecast.of(days[:4]), Scenario("targeting", reach=1.0), days[4:])


@pytest.fixture(scope="module")
def data(job: Job) -> Dataset:
    return record(job.env(), VARIED, 30, np.random.default_rng(5))


def probes(data: Dataset) -> Callable[[Actor], Floats]:
    return lambda _: data.observations[::3]


def no_scores(_actor: Actor) -> FloatArray:
    return np.zeros(2)


LEARNERS: dict[str, tuple[Any, Any]] = {
    "bc": (bc.Config(**SMALL), bc.train),
    "td3bc": (td3bc.Config(**SMALL), td3bc.train),
    "iql": (iql.Config(**SMALL), iql.train),
}


def same(one: Actor, two: Actor) -> bool:
    pairs = zip(one.weights + one.biases, two.weights + two.biases, strict=True)
    return all(mine.tobytes() == theirs.tobytes() for mine, theirs in pairs)


# --- what all share -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEARNERS)
def test_the_same_seed_gives_the_same_bytes_whatever_the_global_seed(job: Job, data: Dataset, name: str) -> None:
    config, train = LEARNERS[name]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = train(config, data, job.validate, probes(data), 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    second, other = (train(config, data, job.validate, probes(data), seed) for seed in (1, 2))
    assert first.curve.equals(second.curve)
    assert same(first.actor, second.actor)
    assert first.actions.tobytes() == second.actions.tobytes()
    assert not same(first.actor, other.actor)


@pytest.mark.parametrize("name", LEARNERS)
def test_the_actor_answers_as_torch_does_and_is_the_best_of_the_curve(job: Job, data: Dataset, name: str) -> None:
    config, train = LEARNERS[name]
    result = train(config, data, job.validate, probes(data), 1)
    assert np.abs(result.actor(result.observations) - result.actions).max() <= 1e-5
    assert list(result.curve.columns) == ["steps", "score", "low", "high"]
    assert result.curve["steps"].tolist() == [0, 20, 40, 60]
    assert job.validate(result.actor).mean() == result.curve["score"].max()
    assert result.actor.groups == data.actions.shape[1]


def test_the_best_is_kept_and_probed(data: Dataset) -> None:
    met: list[Actor] = []

    def worse_each_time(actor: Actor) -> FloatArray:
        met.append(actor)
        return np.array([-float(len(met))])

    result = bc.train(bc.Config(**SMALL), data, worse_each_time, probes(data), 1)
    assert len(met) == 4
    assert result.actor is met[0]
    assert not same(met[0], met[-1])
    assert np.abs(met[0](result.observations) - result.actions).max() <= 1e-5


def test_the_untrained_policy_is_nearly_the_controller(data: Dataset) -> None:
    policy = Policy(data.observations.shape[1], (64, 64), 8, torch.Generator().manual_seed(1))
    assert np.abs(policy.actor(Scaler.of(data.observations))(data.observations)).max() < 0.1


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (bc.Config(), {"steps": 0}, "steps must be above 0; got 0"),
        (bc.Config(), {"learning_rate": float("nan")}, "learning_rate must be above 0"),
        (td3bc.Config(), {"alpha": -1.0}, r"alpha must be at least 0; got -1\.0"),
        (td3bc.Config(), {"delay": 0}, "delay must be above 0"),
        (iql.Config(), {"expectile": 1.0}, r"expectile must be between 0 and 1; got 1\.0"),
        (iql.Config(), {"beta": -1.0}, "beta must be at least 0"),
        (imitation.Config(), {"rounds": -1}, "rounds must be at least 0; got -1"),
        (imitation.Config(), {"episodes": 0}, "episodes must be above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(config: Any, change: dict[str, Any], message: str) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=message):
        replace(config, **change)


def test_the_walk_over_policies_loads_no_torch() -> None:
    code = "import sys; from bidpilot.agents.registry import policies; policies(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


# --- cloning ------------------------------------------------------------------------------------------------------


def test_cloning_a_noisy_controller_gives_its_mean_action(job: Job) -> None:
    data = record(job.env(), [Behaviour(bias=0.2, factor=0.0, noise=0.2)], 60, np.random.default_rng(1))
    config = bc.Config(steps=300, learning_rate=1e-3, evaluations=1)
    cloned = bc.train(config, data, _later_is_better(), probes(data), 1).actor(data.observations)
    assert cloned.mean() == pytest.approx(data.actions.mean(), abs=0.02)
    assert np.abs(cloned.mean(axis=0) - 0.2).max() < 0.05


def _later_is_better() -> Callable[[Actor], FloatArray]:
    count = iter(range(1_000))
    return lambda _: np.array([float(next(count))])


def bandit(rows: int = 4_000) -> Dataset:
    """Return episodes of one tick: actions around 0, of which 0.5 earns most."""
    rng = np.random.default_rng(1)
    actions = np.clip(rng.normal(0.0, 0.35, (rows, 1)), -1, 1).astype(np.float32)
    rewards = (1.0 - (actions[:, 0] - 0.5) ** 2).astype(np.float32)
    return Dataset(rng.normal(size=(rows, 2)).astype(np.float32), actions, rewards, np.ones(rows, dtype=np.bool_))


def test_without_the_critic_td3bc_is_cloning_to_the_bit() -> None:
    data, shared = bandit(), {**SMALL, "steps": 100}
    cloned = bc.train(bc.Config(**shared), data, _later_is_better(), probes(data), 1)
    config = td3bc.Config(**shared, alpha=0.0, delay=1)
    assert same(td3bc.train(config, data, _later_is_better(), probes(data), 1).actor, cloned.actor)
    nearly = td3bc.train(replace(config, alpha=1e-6), data, _later_is_better(), probes(data), 1)
    far = td3bc.train(replace(config, alpha=2.5), data, _later_is_better(), probes(data), 1)
    assert np.abs(nearly.actions - cloned.actions).max() < 1e-3
    assert np.abs(far.actions - cloned.actions).max() > 1e-2


def test_learners_from_rewards_lean_to_the_better_actions() -> None:
    data, shared = bandit(), {**SMALL, "steps": 300, "learning_rate": 5e-3}
    cloned = bc.train(bc.Config(**shared), data, _later_is_better(), probes(data), 1)
    valued = iql.train(iql.Config(**shared, spread=1.0), data, _later_is_better(), probes(data), 1)
    greedy = td3bc.train(td3bc.Config(**shared), data, _later_is_better(), probes(data), 1)
    assert abs(cloned.actions.mean()) < 0.06
    assert 0.15 < valued.actions.mean() < 0.6
    assert 0.15 < greedy.actions.mean() < 0.7


# --- implicit Q-learning ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expectile", [0.5, 0.7, 0.9])
def test_the_expectile_loss_is_least_at_the_expectile(expectile: float) -> None:
    values = torch.randn(2_000, generator=torch.Generator().manual_seed(1)).double()
    at = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    for _ in range(200):
        (slope,) = torch.autograd.grad(iql.expectile_loss(values - at, expectile), at)
        at = (at - 0.5 * slope).detach().requires_grad_()
    above, below = (values - at).clamp(min=0).sum().item(), (at - values).clamp(min=0).sum().item()
    assert expectile * above == pytest.approx((1 - expectile) * below, rel=1e-6)
    if expectile == 0.5:
        assert at.item() == pytest.approx(values.mean().item(), abs=1e-9)
    else:
        assert at.item() > values.mean().item() + 0.2


@pytest.mark.parametrize("expectile", [0.5, 0.9])
def test_values_come_to_the_mean_of_q_at_half_and_above_it_beyond(expectile: float) -> None:
    data = replace(bandit(), observations=np.zeros((4_000, 2), np.float32))
    config = iql.Config(steps=1, batch=512, learning_rate=5e-3, hidden=(16,), expectile=expectile, follow=1e-9)
    seeds = (torch.Generator().manual_seed(i) for i in range(4))
    critics, values = Twins(3, (16,), next(seeds)), Critic(2, (16,), next(seeds))
    learner = iql.Iql(config, Policy(2, (16,), 1, next(seeds)), critics, values)
    scaler = Scaler.of(data.observations)
    seen = scaler(data.observations)
    with torch.no_grad():
        advised = critics.least(seen, torch.from_numpy(data.actions))
    draw = batches(data, scaler, config.batch, next(seeds))
    for _ in range(300):
        learner.update(next(draw))
    gap = float(values(seen).mean().detach() - advised.mean())
    spread = float(advised.std())
    assert abs(gap) < 0.1 * spread if expectile == 0.5 else gap > 0.3 * spread


def test_beta_stands_inside_the_exponential() -> None:
    advantage = torch.tensor([-1.0, 0.0, 0.5, 1.0, 10.0])
    np.testing.assert_allclose(iql.weights(advantage, 3.0), [np.exp(-3), 1, np.exp(1.5), np.exp(3), 100], rtol=1e-5)
    assert iql.weights(advantage, 0.0).tolist() == [1.0] * 5


# --- the oracle's labels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auction", ["second_price", "first_price"])
@pytest.mark.parametrize("seed", range(3))
def test_before_the_day_the_teacher_is_the_oracle(smooth_day: Callable[..., Day], auction: str, seed: int) -> None:
    day = smooth_day(seed)
    budget = 0.3 * day.full_cost / 1e6
    campaign = Campaign(budget, day.ticks, day.full_cost / 1e6, Rules(auction))
    best = Teacher(day, campaign, 1).multipliers(0, int(budget * 1e6))
    assert best.tolist() == pytest.approx([best_multiplier(day, budget, auction)], rel=1e-12)


def test_the_teacher_undoes_what_is_misjudged(smooth_day: Callable[..., Day]) -> None:
    belief = np.array([0.5, 1.0, 2.0])
    day = smooth_day(1)
    campaign = Campaign(0.3 * day.full_cost / 1e6, day.ticks, day.full_cost / 1e6)
    left = int(campaign.budget * 1e6)
    plain, judged = (Teacher(each, campaign, 3).multipliers(0, left) for each in (day, day.misjudged(belief)))
    np.testing.assert_allclose(judged * belief, plain, rtol=1e-12)
    np.testing.assert_allclose(plain, plain[0], rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_following_the_teacher_wins_what_was_possible(smooth_day: Callable[..., Day], seed: int) -> None:
    """Re-planned every tick, the spend stays within the budget; less than the item that did not fit is missed."""
    day = smooth_day(seed, rows=600).misjudged(np.array([0.6, 1.0, 1.5]))
    campaign = Campaign(0.3 * day.full_cost / 1e6, day.ticks, day.full_cost / 1e6)
    episode, teacher = Episode(day, campaign, 3), Teacher(day, campaign, 3)
    while not episode.over:
        episode.bid_multipliers(teacher.multipliers(episode.tick, episode.left))
    missed = best_value(day, np.array([campaign.budget]))[0] - episode.result().total("expected")
    assert -1e-9 <= missed <= day.hidden.expected.max()


@pytest.mark.parametrize("seed", range(3))
def test_following_the_teacher_keeps_a_cost_limit_and_wins_what_was_possible(
    smooth_day: Callable[..., Day], seed: int
) -> None:
    day = smooth_day(seed, rows=600).misjudged(np.array([0.6, 1.0, 1.5]))
    price = best_multiplier(day, 0.4 * day.full_cost / 1e6)
    campaign = Campaign(0.9 * day.full_cost / 1e6, day.ticks, day.full_cost / 1e6, cost_limit=0.5 * price)
    episode, teacher = Episode(day, campaign, 3), Teacher(day, campaign, 3)
    while not episode.over:
        earned = episode.result().total("expected")
        episode.bid_multipliers(teacher.multipliers(episode.tick, episode.left, earned))
    result = episode.result()
    worth = result.total("expected")
    assert result.total("spend") / 1e6 <= campaign.cost_limit * worth * (1 + 1e-9)
    missed = best_of(day, campaign.budget, campaign.cost_limit) - worth
    assert -1e-9 <= missed <= 2 * day.hidden.expected.max()


def test_a_limit_already_broken_asks_for_bids_at_the_limit(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(2)
    campaign = Campaign(1e3, day.ticks, 1.0, cost_limit=0.5)
    spent = int(1e8)
    assert Teacher(day, campaign, 1).multipliers(2, int(1e9) - spent, 0.0).tolist() == [0.5]


def test_nothing_left_is_no_bid_and_all_affordable_wins_all(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(2)
    campaign = Campaign(1.0, day.ticks, 1.0)
    teacher = Teacher(day, campaign, 1)
    assert teacher.multipliers(0, 0).tolist() == [0.0]
    assert teacher.multipliers(2, 10**12)[0] == pytest.approx(day.ratio[day.seen.tick >= 2].max())
    assert imitation.label(np.array([0.0, 2.0, 1.0, 9.0]), np.ones(4), 1.0).tolist() == pytest.approx(
        [imitation.LOWEST, np.log(2), 0.0, 1.0]
    )


@pytest.mark.parametrize(
    "change",
    [
        {"cost_limit": 1.0, "rules": Rules("first_price")},
        {"rules": Rules("soft_floor")},
        {"rules": Rules(reaction=0.5)},
    ],
)
def test_what_the_teacher_does_not_know_is_refused(smooth_day: Callable[..., Day], change: dict[str, Any]) -> None:
    campaign = Campaign(1.0, 4, 1.0)
    with pytest.raises(InputError, match="labels in hindsight are known for"):
        Teacher(smooth_day(1), replace(campaign, **change), 1)


def test_imitation_is_deterministic_and_adds_rounds(job: Job) -> None:
    config = imitation.Config(**SMALL, episodes=3, rounds=1)

    def train(settings: imitation.Config) -> Trained:
        return imitation.train(settings, job.env, _later_is_better(), lambda _: np.zeros((2, 34), np.float32), 1)

    one, two, alone = train(config), train(config), train(replace(config, rounds=0))
    assert same(one.actor, two.actor)
    assert not same(one.actor, alone.actor)


def test_imitation_refuses_what_has_no_labels(job: Job) -> None:
    ladder = replace(job, scenario=Scenario("targeting", action="ladder"))
    with pytest.raises(InputError, match="continuous actions"):
        imitation.train(imitation.Config(), ladder.env, no_scores, lambda _: np.zeros((2, 34), np.float32), 1)


def test_demonstrations_are_what_the_environment_shows(job: Job) -> None:
    lessons = imitation.demonstrate(job.env(), Behaviour(), 2, np.random.default_rng(1))
    assert lessons.observations.shape == (24, 34)
    assert lessons.actions.shape == (24, 8)
    assert lessons.actions.min() >= imitation.LOWEST
    assert np.ptp(lessons.actions) > 0.1
    for observation in lessons.observations:
        assert job.env().observation_space.contains(observation)


# --- learning, on days that took no part ----------------------------------------------------------------------------


def arena() -> tuple[Job, Job]:
    """Return the job of Targeting-v0 with validation days, and with days for the verdict."""
    scenario, stream = SCENARIOS["bidpilot/Targeting-v0"], np.random.default_rng(4)
    days = draw_days(default_market(), 60, stream)
    judged = MiscalibratedMarket(ReplayMarket(days[30:]), scenario.miscalibration)
    held_out = draw_days(judged, 32, stream)
    job = Job(ReplayMarket(days[:30]), Forecast.of(days[:8]), scenario, held_out[:12])
    return job, replace(job, held_out=held_out[12:])


def lower_bound(gain: FloatArray) -> float:
    return float(gain.mean() - 1.96 * gain.std(ddof=1) / np.sqrt(len(gain)))


@pytest.mark.slow
def test_imitation_beats_the_controller_on_held_out_days() -> None:
    job, fresh = arena()
    config = imitation.Config(steps=2_000, learning_rate=1e-3, episodes=60, rounds=1, evaluations=2)
    result = imitation.train(config, job.env, job.validate, lambda _: np.zeros((2, 34), np.float32), 1)
    gain = fresh.validate(result.actor) - fresh.validate(job.silent())
    assert lower_bound(gain) > 0


@pytest.mark.slow
def test_implicit_q_learning_beats_cloning_where_the_log_is_of_mixed_quality() -> None:
    """Half of the log bids as the controller does, half far too little; rewards alone tell which is which."""
    days = draw_days(default_market(400, 12), 24, np.random.default_rng(4))
    scenario = Scenario("targeting", reach=2.0)
    job = Job(ReplayMarket(days[:12]), Forecast.of(days[:8]), scenario, days[12:])
    data = record(job.env(), [Behaviour(0.0, 0.0, 0.15), Behaviour(-0.6, 0.0, 0.15)], 120, np.random.default_rng(3))
    shared: dict[str, Any] = {"steps": 600, "learning_rate": 1e-3, "evaluations": 1}
    cloned = bc.train(bc.Config(**shared), data, _later_is_better(), probes(data), 1)
    valued = iql.train(iql.Config(**shared), data, _later_is_better(), probes(data), 1)
    assert lower_bound(job.validate(valued.actor) - job.validate(cloned.actor)) > 0.05

"""The whole evaluation: figures with intervals, or refusals; of decisions and of episodes."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.ope.diagnostics import Refusal
from bidpilot.experiments.ope.evaluation import ESTIMATORS, Evaluation, Figure, evaluate, evaluate_episodes
from bidpilot.experiments.ope.logged import LoggedBandit, LoggedEpisodes

LOGGED, RATE = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.3])


def decisions(n: int = 4_000, group: int | None = None) -> LoggedBandit:
    rng = np.random.default_rng(0)
    action = rng.choice(3, n, p=LOGGED)
    reward = (rng.random(n) < RATE[action]).astype(np.float64)
    return LoggedBandit(action, reward, LOGGED[action], 3, group=None if group is None else np.arange(n) % group)


def asked(log: LoggedBandit, *target: float) -> Evaluation:
    return evaluate(log, np.tile(target, (len(log), 1)), np.random.default_rng(1), 500)


def test_every_estimator_holds_the_truth() -> None:
    found = asked(decisions(), 0.1, 0.2, 0.7)
    assert tuple(found.results) == ESTIMATORS
    for name, each in found.results.items():
        assert isinstance(each, Figure)
        assert each.value == pytest.approx(0.26, abs=0.03)
        if name != "DM":
            assert each.low < 0.26 < each.high
            assert each.high - each.low < 0.08
    full, model = found.results["DR"], found.results["DM"]
    assert isinstance(full, Figure)
    assert isinstance(model, Figure)
    assert np.isnan(model.low)
    for name in ("Switch-DR", "DRos"):  # although tau is 0 here, which is DM
        each = found.results[name]
        assert isinstance(each, Figure)
        assert (each.low, each.high) == (full.low, full.high)
    assert np.isfinite(found.diagnostics.gap)


def test_the_same_seed_gives_the_same_table() -> None:
    first, second = asked(decisions(), 0.1, 0.2, 0.7).table(), asked(decisions(), 0.1, 0.2, 0.7).table()
    assert first.equals(second)


def test_the_logged_policy_is_evaluated_at_its_mean() -> None:
    log = decisions()
    found = asked(log, *LOGGED)
    for name in ("IPS", "SNIPS"):
        each = found.results[name]
        assert isinstance(each, Figure)
        assert each.value == pytest.approx(log.rewards.mean(), rel=1e-12)
    assert found.logged.value == pytest.approx(log.rewards.mean())


def test_too_little_weight_leaves_the_model_alone_and_says_so() -> None:
    log = decisions(60)
    found = asked(log, 0.0, 0.0, 1.0)
    assert isinstance(found.results["DM"], Figure)
    assert all(isinstance(each, Refusal) for name, each in found.results.items() if name != "DM")
    row = found.table().set_index("estimator").to_dict("index")["IPS"]
    assert np.isnan(row["value"])
    assert "these weights say nothing" in row["refused"]
    assert found.notes()[0].startswith("Refused: these weights say nothing")
    assert "model's word alone" in found.notes()[1]


def test_without_support_there_is_no_number_at_all() -> None:
    log = decisions()
    wider = LoggedBandit(log.actions, log.rewards, log.propensity, 4)
    found = asked(wider, 0.3, 0.3, 0.2, 0.2)
    assert all(isinstance(each, Refusal) for each in found.results.values())
    assert sum("Refused" in line for line in found.notes()) == 1


def test_few_groups_are_named() -> None:
    found = asked(decisions(group=7), 0.1, 0.2, 0.7)
    assert found.drawn == 7
    assert any("draw 7 groups" in line for line in found.notes())


def test_a_target_that_is_no_distribution_is_refused() -> None:
    with pytest.raises(InputError, match="must sum to 1"):
        asked(decisions(), 0.1, 0.2, 0.3)


def walks(count: int, length: int) -> tuple[LoggedEpisodes, np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Return episodes in one state, reward = action, logged at random, and the true Q of always playing 0.7 / 0.3."""
    rng = np.random.default_rng(2)
    action = rng.integers(2, size=count * length)
    time = np.tile(np.arange(length), count)
    log = LoggedEpisodes(
        episode=np.repeat(np.arange(count), length),
        states=time,
        actions=action,
        rewards=action.astype(np.float64),
        propensity=np.full(count * length, 0.5),
        terminal=time == length - 1,
        arms=2,
    )
    return log, (0.3 * (length - 1 - time))[:, None] + np.array([0.0, 1.0])


def test_short_episodes_are_evaluated_and_long_ones_refused() -> None:
    log, q = walks(4_000, 4)
    target = np.tile([0.7, 0.3], (len(log.actions), 1))
    found = evaluate_episodes(log, target, q, np.random.default_rng(0), replicates=500)
    for name in ("PDIS", "WPDIS", "DR"):
        each = found.results[name]
        assert isinstance(each, Figure)
        assert each.low - 1e-9 < 1.2 < each.high + 1e-9  # the true Q leaves DR no spread
    assert isinstance(found.results["FQE"], Figure)
    assert found.results["FQE"].value == pytest.approx(1.2)
    assert found.logged.value == pytest.approx(log.rewards.sum() / 4_000)
    long, q = walks(400, 60)
    found = evaluate_episodes(long, np.tile([0.9, 0.1], (len(long.actions), 1)), q, np.random.default_rng(0))
    assert isinstance(found.results["PDIS"], Refusal)
    assert isinstance(found.results["FQE"], Figure)
    assert "nan" not in " ".join(found.notes())


@pytest.mark.slow
def test_intervals_of_the_whole_evaluation_hold_the_truth() -> None:
    """95 % nominal, 150 logs, everything fitted and chosen on each of them."""
    target, covered = np.array([0.1, 0.2, 0.7]), dict.fromkeys(ESTIMATORS, 0)
    for seed in range(150):
        rng = np.random.default_rng([9, seed])
        kind = rng.integers(2, size=1_000)
        action = rng.choice(3, 1_000, p=LOGGED)
        reward = (rng.random(1_000) < RATE[action] * (1 + kind)).astype(np.float64)
        log = LoggedBandit(action, reward, LOGGED[action], 3, features=kind[:, None].astype(np.float64))
        found = evaluate(log, np.tile(target, (1_000, 1)), rng, 300)
        for name, each in found.results.items():
            assert isinstance(each, Figure)
            covered[name] += each.low <= 1.5 * float(target @ RATE) <= each.high
    del covered["DM"]
    assert all(0.91 <= count / 150 <= 0.985 for count in covered.values()), covered

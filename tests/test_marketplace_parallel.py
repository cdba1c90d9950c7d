"""The marketplace as a PettingZoo environment."""

import importlib
import sys
from dataclasses import replace

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.envs.marketplace import Marketplace
from bidpilot.envs.marketplace_traffic import MarketplaceConfig

CONFIG = MarketplaceConfig(buyers=8, ticks=6, opportunities=600.0)

MODULE = "bidpilot.envs.marketplace_parallel"


def test_without_pettingzoo_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pettingzoo", None)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    with pytest.raises(InputError, match=r"needs the package 'pettingzoo': pip install 'bidpilot\[pettingzoo\]'"):
        importlib.import_module(MODULE)


pytest.importorskip("pettingzoo")

from pettingzoo.test import parallel_api_test, parallel_seed_test  # noqa: E402

from bidpilot.envs.marketplace_parallel import MarketplaceParallel  # noqa: E402


@pytest.mark.parametrize("action", ["residual", "ladder"])
@pytest.mark.parametrize("seats", [None, (5, 2)])
def test_it_is_a_parallel_environment(action: str, seats: tuple[int, ...] | None) -> None:
    config = replace(CONFIG, action=action)
    parallel_api_test(MarketplaceParallel(config, seats), num_cycles=20)
    parallel_seed_test(lambda: MarketplaceParallel(config, seats), num_cycles=20)


def test_one_agent_plays_the_single_environment() -> None:
    single, several = Marketplace(CONFIG), MarketplaceParallel(CONFIG, seats=(3,))
    rng = np.random.default_rng(0)
    for seed in (5, None):
        seen, info = single.reset(seed=seed, options={"seat": 3})
        all_seen, all_info = several.reset(seed=seed)
        assert (all_seen["seat_3"].tobytes(), all_info) == (seen.tobytes(), {"seat_3": info})
        while several.agents:
            action = rng.uniform(-1, 1, 1).astype(np.float32)
            seen, reward, terminated, truncated, info = single.step(action)
            all_seen, rewards, ended, cut, all_info = several.step({"seat_3": action})
            assert all_seen["seat_3"].tobytes() == seen.tobytes()
            assert rewards == {"seat_3": reward}
            assert (ended, cut) == ({"seat_3": terminated}, {"seat_3": truncated})
            assert all_info == {"seat_3": info}


def test_all_agents_on_the_controller_are_a_market_of_pacing_policies() -> None:
    config = replace(CONFIG, policies=(0.0, 0.0, 1.0, 0.0), seat=0)
    several, single = MarketplaceParallel(config), Marketplace(config)
    several.reset(seed=5)
    single.reset(seed=5)
    while several.agents:
        _, rewards, *_ = several.step({agent: np.zeros(1, np.float32) for agent in several.agents})
        assert rewards["seat_0"] == single.step(np.zeros(1, np.float32))[1]


def test_the_agents_share_one_market() -> None:
    several = MarketplaceParallel(CONFIG)
    several.reset(seed=5)
    while several.agents:
        *_, info = several.step({agent: several.action_space(agent).sample() for agent in several.agents})
    assert several.arena is not None
    spent = sum(told["budget"] - told["left"] for told in info.values())
    assert spent * 1e6 == pytest.approx(several.arena.exchange.revenue)


def test_wrong_seats_and_actions_are_refused() -> None:
    for seats in ((), (1, 1)):
        with pytest.raises(InputError, match="seats must be at least one, none of them twice"):
            MarketplaceParallel(CONFIG, seats)
    with pytest.raises(InputError, match="a seat must be one of 0 to 7; got 8"):
        MarketplaceParallel(CONFIG, (8,))
    env = MarketplaceParallel(CONFIG, (1, 2))
    action = np.zeros(1, np.float32)
    with pytest.raises(InputError, match=r"call reset\(\) first"):
        env.step({"seat_1": action})
    env.reset(seed=0)
    for actions in ({"seat_1": action}, {"seat_1": action, "seat_2": action, "seat_3": action}):
        with pytest.raises(InputError, match=r"expected one action for each of \['seat_1', 'seat_2'\]; got them for"):
            env.step(actions)

"""The Open Bandit benchmark: a small made-up copy of its layout, and the real sample."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.benchmarks.open_bandit import main
from bidpilot.experiments.ope.open_bandit import open_bandit_table, read_open_bandit, shares_by_position

if TYPE_CHECKING:
    from pathlib import Path

ITEMS, RATE = 4, np.array([0.02, 0.05, 0.1, 0.2])
CHOSEN = {1: np.array([0.1, 0.1, 0.2, 0.6]), 2: np.array([0.25, 0.25, 0.25, 0.25])}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder like the dataset's: two policies, four items, two positions, 6,000 rows each."""
    folder, rng = tmp_path_factory.mktemp("shop"), np.random.default_rng(0)
    for policy in ("random", "bts"):
        position = rng.integers(1, 3, size=6_000)
        mass = np.full((6_000, ITEMS), 0.25) if policy == "random" else np.stack([CHOSEN[int(p)] for p in position])
        item = (mass.cumsum(axis=1) < rng.random(6_000)[:, None]).sum(axis=1)
        frame = pd.DataFrame(
            {
                "timestamp": "2019-11-24 00:00:00+00:00",
                "item_id": item,
                "position": position,
                "click": (rng.random(6_000) < RATE[item]).astype(int),
                "propensity_score": mass[np.arange(6_000), item],
                "user_feature_0": rng.choice(["x", "y"], 6_000),
            }
        )
        (folder / policy / "men").mkdir(parents=True)
        frame.to_csv(folder / policy / "men" / "men.csv", index=True)
    return folder


def test_shares_are_what_the_policy_does(shop: Path) -> None:
    shares = shares_by_position(read_open_bandit(shop, "bts", "men"), ITEMS)
    for position, expected in CHOSEN.items():
        assert shares[position] == pytest.approx(expected, abs=0.03)


def test_the_random_log_tells_what_the_other_policy_earns(shop: Path) -> None:
    table, found = open_bandit_table(shop, "men", np.random.default_rng(0), 400)
    truth = 0.5 * float(CHOSEN[1] @ RATE + CHOSEN[2] @ RATE)
    rows = table.set_index("estimator").to_dict("index")
    for name in ("IPS", "SNIPS", "DR", "SNDR", "Switch-DR", "DRos"):
        assert rows[name]["low"] < truth < rows[name]["high"]
        assert rows[name]["off_low"] < 0.0 < rows[name]["off_high"]
    assert rows["logged mean"]["off_high"] < 0.0
    assert found.diagnostics.mean_is_one


def test_the_command_prints_markdown(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["open_bandit", "--data", str(shop), "--campaign", "men", "--markdown"])
    main()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("| campaign | estimator |")
    assert len({line.count("|") for line in said if line.startswith("|")}) == 1
    assert "nan" not in " ".join(said)
    monkeypatch.setattr(sys, "argv", ["open_bandit", "--data", str(shop / "none")])
    with pytest.raises(SystemExit, match="2"):
        main()


def test_other_files_are_refused(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"all.csv is not there"):
        read_open_bandit(shop, "bts", "all")
    (tmp_path / "bts" / "men").mkdir(parents=True)
    (tmp_path / "bts" / "men" / "men.csv").write_text("item_id,click\n1,0\n")
    with pytest.raises(InputError, match="no column 'position'"):
        read_open_bandit(tmp_path, "bts", "men")


@pytest.mark.parametrize("campaign", ["men", "all"])
def test_the_real_sample_agrees_with_the_field_test(data: Path, campaign: str) -> None:
    """The estimates by weights lie within the intervals of what Thompson sampling earned."""
    table, found = open_bandit_table(data / "open_bandit", campaign, np.random.default_rng(0), 500)
    rows = table.set_index("estimator").to_dict("index")
    for name in ("IPS", "SNIPS", "DR", "SNDR", "Switch-DR", "DRos"):
        assert rows[name]["off_low"] < 0.0 < rows[name]["off_high"]
    assert found.diagnostics.mean_is_one
    assert found.diagnostics.ess > 2_000

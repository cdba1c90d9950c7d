"""The benchmark on real logs: made-up logs in their formats go through it, and its verdict is what the figures say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.agents.registry import find_policy
from bidpilot.ctr.errors import InputError
from bidpilot.experiments.benchmarks.real_logs import LOGS, POLICIES, campaign_name, real_logs
from bidpilot.experiments.benchmarks.real_verdict import markdown, summary, verdict
from bidpilot.experiments.config import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.experiments.config import Settings

HOURLY, EPISODES = "ipinyou_hourly/1458.csv.gz", "ipinyou_episodes/2821.validation.csv.gz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two small logs: ten hours of 200 impressions, and 20 blocks of 100."""
    data, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(3)
    rows = np.arange(2_000)
    pctr = np.round(0.02 * rng.lognormal(-0.3, 0.8, 2_000), 6)
    frame = pd.DataFrame(
        {
            "click": (rng.random(2_000) < pctr).astype(int),
            "market_price": np.clip(np.rint(60 * rng.lognormal(0.0, 0.6, 2_000)), 1, 300).astype(int),
            "pctr": pctr,
        }
    )
    hourly = frame.assign(row=rows, upstream_split="train", hour_index=rows // 200)
    blocks = frame.assign(episode=rows // 100, t=rows % 100)
    order = {
        HOURLY: hourly[["row", "upstream_split", "click", "market_price", "pctr", "hour_index"]],
        EPISODES: blocks[["episode", "t", "click", "market_price", "pctr"]],
    }
    for name, table in order.items():
        (data / name).parent.mkdir()
        table.to_csv(data / name, index=False)
    return data


@pytest.fixture(scope="module")
def small() -> Settings:
    sets = (
        "model.prices=table",
        "days.train=3",
        "days.tune=2",
        "days.validate=2",
        "days.replicates=20",
        "ticks_per_day=24",
    )
    return load_settings(None, {"budgets": ["1/2", "1/8"]}, sets)


@pytest.fixture(scope="module")
def found(folder: Path, small: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    out = tmp_path_factory.mktemp("out")
    return out, real_logs(folder, out, (HOURLY, EPISODES), ("linear", "resolve"), settings=small)


def test_every_policy_is_played_on_every_campaign_and_budget(found: tuple[Path, pd.DataFrame]) -> None:
    _, table = found
    names = {"linear", "resolve", "linear, tuned", "resolve, tuned", "oracle"}
    assert set(table["policy"]) == names
    assert set(table["campaign"]) == {"1458 hourly", "2821 episodes"}
    assert len(table) == len(names) * 2 * 2
    assert table["r_over_rstar"].between(0.2, 1.0 + 1e-9).all()
    assert (table["r_over_rstar_low"] <= table["r_over_rstar"] + 1e-12).all()
    best = table[table["policy"] == "oracle"].set_index(["campaign", "budget"])["r_over_rstar"]
    for _, part in table.groupby("policy"):
        assert (part.set_index(["campaign", "budget"])["r_over_rstar"] <= best + 0.02).all()


def test_fits_are_used_again_and_give_the_same(found: tuple[Path, pd.DataFrame], folder: Path, small: Settings) -> None:
    out, table = found
    fitted = out / "ipinyou_hourly_1458" / "fit.done"
    written = fitted.stat().st_mtime_ns
    again = real_logs(folder, out, (HOURLY,), ("resolve",), tuned=False, settings=small)
    assert fitted.stat().st_mtime_ns == written
    assert (out / "ipinyou_hourly_1458" / "real_logs.csv").is_file()
    kept = table["policy"].isin(["resolve", "oracle"]) & (table["campaign"] == "1458 hourly")
    wanted = table[kept].reset_index(drop=True)
    pd.testing.assert_series_equal(again["r_over_rstar"], wanted["r_over_rstar"])


def test_a_log_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ipinyou_hourly/2259"):
        real_logs(folder, tmp_path, (HOURLY, "ipinyou_hourly/2259.csv.gz"))
    with pytest.raises(InputError, match="BIDPILOT_DATA"):
        real_logs(None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_names() -> None:
    assert len(LOGS) == len({campaign_name(log) for log in LOGS}) == 9
    assert [find_policy(name).__module__.rpartition(".")[2] for name in POLICIES] == list(POLICIES)


def made_up(**ratios: list[float]) -> pd.DataFrame:
    """Return results of policies on two campaigns at two budgets: campaign A at 1/2, 1/8, then B."""
    rows = [
        {"policy": name, "campaign": campaign, "budget": share, "budget_label": label, "r_over_rstar": value}
        for name, values in ratios.items()
        for (campaign, share, label), value in zip(
            [("A", 0.5, "1/2"), ("A", 0.125, "1/8"), ("B", 0.5, "1/2"), ("B", 0.125, "1/8")], values, strict=True
        )
    ]
    table = pd.DataFrame(rows)
    return table.assign(r_over_rstar_low=table["r_over_rstar"] - 0.01, r_over_rstar_high=table["r_over_rstar"] + 0.01)


def test_the_summary_has_means_and_lowest_figures() -> None:
    row = summary(made_up(one=[0.99, 0.97, 0.98, 0.96])).iloc[0]
    assert row["A"] == "0.980 (0.970)"
    assert row["B"] == "0.970 (0.960)"
    assert row["mean"] == pytest.approx(0.975)
    assert row["least mean of a budget"] == pytest.approx(0.965)
    assert row["least of all"] == 0.96
    assert "| one | 0.980 (0.970) | 0.970 (0.960) | 0.975 | 0.965 | 0.960 |" in markdown(
        summary(made_up(one=[0.99, 0.97, 0.98, 0.96]))
    )


def test_the_verdict_names_those_that_keep_to_both_lines() -> None:
    good, low_mean, low_cell = [0.99, 0.99, 0.98, 0.98], [0.99, 0.97, 0.99, 0.97], [1.0, 1.0, 1.0, 0.94]
    text = verdict(made_up(good=good, flat=low_mean, gap=low_cell, oracle=[1.0] * 4))
    assert text.startswith("good keeps to a mean of 0.98")
    text = verdict(made_up(flat=low_mean, gap=[1.0, 1.0, 1.0, 0.93], oracle=[1.0] * 4))
    assert text.startswith("No policy keeps to")
    assert "default settings is flat" in text
    assert "below 0.98: 1/8 0.9700; below 0.95: none." in text


def test_the_verdict_names_where_a_campaign_falls_short() -> None:
    text = verdict(made_up(gap=[1.0, 1.0, 1.0, 0.93]))
    assert "below 0.98: 1/8 0.9650; below 0.95: B at 1/8 0.930 [0.920, 0.940]." in text


@pytest.mark.slow
def test_the_tracked_policy_keeps_a_real_campaign_above_the_line(data: Path, tmp_path: Path) -> None:
    settings = load_settings(None, {}, ("model.prices=table",))
    table = real_logs(data, tmp_path, (LOGS[3],), ("tracked", "linear"), tuned=False, settings=settings)
    ratio = table.groupby("policy")["r_over_rstar"]
    assert ratio.min()["tracked"] > 0.95
    assert ratio.mean()["tracked"] > ratio.mean()["linear"]

"""Bundles: the same policy in another process, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents import bundle
from bidpilot.agents.bundle import PARTS, load_bundle, write_bundle
from bidpilot.agents.learned import Actor, Floats, LearnedPolicy
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.errors import InputError
from bidpilot.envs.features import bounds, names
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.observations import FEATURES
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.types import Campaign

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day

TICKS = 24
GROUPS = 8
ABOUT = {"policy": "ppo", "seed": 3, "evaluation": [], "versions": {"numpy": np.__version__}}


def a_day() -> Day:
    return draw_days(default_market(800, TICKS), 3, np.random.default_rng(3))[2]


@pytest.fixture(scope="module")
def policy() -> LearnedPolicy:
    rng = np.random.default_rng(1)
    width = len(names(FEATURES, GROUPS))
    shapes = ((16, width), (16, 16), (GROUPS, 16))
    weights = tuple(rng.normal(0, 0.4, shape).astype(np.float32) for shape in shapes)
    biases = tuple(rng.normal(0, 0.4, shape[0]).astype(np.float32) for shape in shapes)
    actor = Actor(rng.normal(0, 0.3, width), rng.uniform(0.5, 3, width), weights, biases)
    days = draw_days(default_market(800, TICKS), 2, np.random.default_rng(3))
    return LearnedPolicy(actor, Scenario("targeting", scarcity=(0.1, 0.5)), Forecast.of(days))


@pytest.fixture(scope="module")
def probes(policy: LearnedPolicy) -> tuple[Floats, Floats]:
    low, high = bounds(FEATURES, GROUPS)
    observations = np.random.default_rng(2).uniform(low, high, (1_000, len(low))).astype(np.float32)
    return observations, policy.actor(observations).astype(np.float32)


@pytest.fixture(scope="module")
def path(policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("bundle") / "policy.zip"
    write_bundle(written, policy, *probes, ABOUT)
    return written


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the exporter out where the graph does not matter: it takes seconds."""
    monkeypatch.setattr("bidpilot.agents.onnx.onnx_bytes", lambda *_: b"graph")


def episode(policy: LearnedPolicy, day: Day) -> FloatArray:
    full_cost = policy.forecast.full_cost
    return run_episode(policy, day, Campaign(0.2 * full_cost, TICKS, full_cost), np.random.default_rng(0)).table


def parts_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_round_trip_keeps_everything(path: Path, policy: LearnedPolicy, probes: tuple[Floats, Floats]) -> None:
    loaded = load_bundle(path)
    assert (loaded.observations == probes[0]).all()
    assert (loaded.actions == probes[1]).all()
    assert loaded.policy.scenario == policy.scenario
    assert {key: loaded.manifest[key] for key in ABOUT} == ABOUT
    assert (loaded.policy.actor(probes[0]) == policy.actor(probes[0])).all()
    assert (episode(loaded.policy, a_day()) == episode(policy, a_day())).all()


def test_the_manifest_describes_every_part_and_feature(path: Path) -> None:
    parts = parts_of(path)
    manifest = json.loads(parts["manifest.json"])
    assert tuple(parts) == PARTS
    assert set(manifest["parts"]) == set(PARTS[1:])
    for name, entry in manifest["parts"].items():
        assert entry == {"bytes": len(parts[name]), "sha256": hashlib.sha256(parts[name]).hexdigest()}
    low, high = bounds(FEATURES, GROUPS)
    assert [f["name"] for f in manifest["features"]] == names(FEATURES, GROUPS)
    assert [(f["low"], f["high"]) for f in manifest["features"]] == list(zip(low.tolist(), high.tolist(), strict=True))


def test_a_fresh_process_without_torch_and_sb3_gives_the_same_actions_and_episode(
    path: Path, policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path: Path
) -> None:
    np.savez(tmp_path / "in.npz", observations=probes[0])
    day, full_cost = a_day(), policy.forecast.full_cost
    arrays = {f"seen.{name}": getattr(day.seen, name) for name in day.seen.__slots__}
    arrays |= {f"hidden.{name}": getattr(day.hidden, name) for name in day.hidden.__slots__}
    np.savez(tmp_path / "day.npz", **{name: array for name, array in arrays.items() if array is not None})
    code = f"""
        import sys
        import numpy as np
        from pathlib import Path
        from bidpilot.agents.bundle import load_bundle
        from bidpilot.agents.rollout import run_episode
        from bidpilot.envs.day import Day, Hidden, Opportunities
        from bidpilot.envs.types import Campaign

        policy = load_bundle(Path({str(path)!r})).policy
        actions = policy.actor(np.load("in.npz")["observations"])
        day = np.load("day.npz")
        seen = Opportunities(*(day.get("seen." + name) for name in Opportunities.__slots__))
        hidden = Hidden(*(day.get("hidden." + name) for name in Hidden.__slots__))
        campaign = Campaign({0.2 * full_cost!r}, {TICKS}, {full_cost!r})
        built = Day.build(seen, hidden, {TICKS}, {day.segments})
        result = run_episode(policy, built, campaign, np.random.default_rng(0))
        np.savez("out.npz", actions=actions, table=result.table)
        print([name for name in ("torch", "stable_baselines3", "onnx", "onnxruntime") if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
    out = np.load(tmp_path / "out.npz")
    assert np.abs(out["actions"] - probes[1]).max() <= 1e-5
    assert (out["table"] == episode(policy, day)).all()


def test_written_twice_the_file_has_the_same_bytes(
    path: Path, policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path: Path
) -> None:
    write_bundle(tmp_path / "again.zip", policy, *probes, ABOUT)
    assert (tmp_path / "again.zip").read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("quick")
def test_a_failing_write_leaves_no_file_and_keeps_the_old_one(
    policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    old = tmp_path / "old.zip"
    write_bundle(old, policy, *probes, ABOUT)
    before = old.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    for target in (old, tmp_path / "new.zip"):
        with pytest.raises(InputError, match="cannot be written: No space left on device"):
            write_bundle(target, policy, *probes, ABOUT | {"seed": 4})
    assert [entry.name for entry in tmp_path.iterdir()] == ["old.zip"]
    assert old.read_bytes() == before


@pytest.mark.usefixtures("quick")
def test_a_policy_that_does_not_give_its_probes_is_not_written(
    policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="differ from the probes"):
        write_bundle(tmp_path / "wrong.zip", policy, probes[0], probes[1] + np.float32(1e-3), ABOUT)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick")
def test_what_is_said_about_a_bundle_cannot_change_what_it_is(
    policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path: Path
) -> None:
    about = {"format": 99, "actor": None, "features": None, "parts": None}
    write_bundle(tmp_path / "policy.zip", policy, *probes, about)
    assert load_bundle(tmp_path / "policy.zip").manifest["format"] == bundle.FORMAT


@pytest.mark.parametrize("pixel", [float("nan"), float("inf")])
@pytest.mark.usefixtures("quick")
def test_a_manifest_holds_no_number_that_json_has_not(
    pixel: float, policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_bundle(tmp_path / "policy.zip", policy, *probes, {"evaluation": pixel})
    assert not list(tmp_path.iterdir())

"""Settings: one resolved model from defaults, files, flags and pairs; every mistake named."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.names import find_model
from bidpilot.envs.scenarios import find_scenario
from bidpilot.experiments.config import Settings, budget_label, load_settings, save_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_saved_settings_read_back_the_same(tmp_path: Path) -> None:
    settings = load_settings(None, {"budgets": ["1/3", "0.25"], "learner.steps": 500, "worth": None})
    save_settings(settings, tmp_path / "run.yaml")
    assert load_settings(tmp_path / "run.yaml", {}) == settings


def test_later_sources_win(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("seed: 3\nmax_bad: 1e-4\nstrict: NO\nlearner: {steps: 10, envs: 2}\n")
    settings = load_settings(path, {"seed": 4, "log": None}, ("learner.steps=20", "budgets=[1/2, 1/8]"))
    assert (settings.seed, settings.max_bad, settings.strict) == (4, 1e-4, False)
    assert (settings.learner.steps, settings.learner.envs, settings.budgets) == (20, 2, (0.5, 0.125))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (("sed=1",), "unknown setting 'sed'; known: log, format"),
        (("learner.step=1",), "unknown setting 'learner.step'; known: algorithm, steps"),
        (("seed",), "--set expects key=value"),
        (("budgets=[]",), "at least one"),
        (("budgets=[0]",), "greater than 0"),
        (("budgets=[-1/2]",), "greater than 0"),
        (("budgets=[1/0]",), "budgets"),
        (("worth=nan",), "worth"),
        (("learner.algorithm=a2c",), "'a2c' is no learner; name one of ppo, sac, td3"),
        (("seed.x=1",), "seed"),
        (("model.kind=nowhere.model",), "'nowhere.model' must be importable and define Config"),
        (("model.kind=json.decoder",), "'json.decoder' must be importable and define Config"),
        (("model.kind=bidpilot.agents.pid",), "Config lacks fit, refit, restore, trains"),
        (("scenario=nowhere.at.all:X",), "must be package.module:NAME, and importable"),
        (("scenario=json:JSONDecoder",), "no bidpilot.envs.scenario.Scenario but type"),
        (("model=deepfm", "model.epochs=3"), "'model' is not a group"),
    ],
)
def test_a_wrong_setting_is_named(pairs: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_settings(None, {}, pairs)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.yaml"):
        load_settings(tmp_path / "nothing.yaml", {})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().seed = 1


def test_labels_are_those_people_use() -> None:
    assert [budget_label(share) for share in (0.5, 1 / 32, 0.3, 1.0, 1 / 3)] == ["1/2", "1/32", "30 %", "1/1", "1/3"]


@pytest.mark.parametrize("name", ["bidpilot/PacingROS-v0", "bidpilot/Allocation-v0", "bidpilot/PacingLadder-v0"])
def test_scenarios_that_no_comparison_plays_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is for scripts of one's own .* bidpilot/Targeting-v0"):
        load_settings(None, {"scenario": name})


def test_a_scenario_of_ones_own_is_named_by_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from bidpilot.envs.scenario import Limit, Scenario\nWIDE = Scenario(reach=1.5)\n"
    (tmp_path / "our_scenarios.py").write_text(source + "LIMITED = Scenario(limit=Limit('cpa', 0.5, 1.0))\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings = load_settings(None, {"scenario": "our_scenarios:WIDE"})
    assert find_scenario(settings.scenario).reach == 1.5
    with pytest.raises(InputError, match="LIMITED is for scripts"):
        load_settings(None, {"scenario": "our_scenarios:LIMITED"})


def test_a_saved_model_does_not_decide_what_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "our_model.py").write_text("class Config:\n    fit = refit = restore = trains = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"fitted by the module 'our_model\.x': import it"):
        find_model("our_model.x", saved=True)
    assert "our_model" not in sys.modules

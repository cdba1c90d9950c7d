"""What a sweep is asked for: settings from YAML and options, cells in order, and mistakes told in one line."""

from pathlib import Path
from typing import Any

import pytest

from bidpilot.agents.registry import USUAL, policies
from bidpilot.ctr.errors import InputError
from bidpilot.envs.scenarios import SCENARIOS
from bidpilot.experiments.sweep.cell import Plain
from bidpilot.experiments.sweep.grid import PLAYABLE, SweepConfig, cells_of, load_sweep


def test_a_file_and_options_give_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("policies: [pid, dual]\nbudgets: [1/4, 0.1]\nseeds: 2\ndays: 3\nsettings: {pid: {kp: 2e-1}}\n")
    config = load_sweep(path, {"days": 5, "policies": None})
    assert config == SweepConfig(
        policies=("pid", "dual"), budgets=(0.25, 0.1), seeds=(0, 1), days=5, settings={"pid": {"kp": "2e-1"}}
    )
    assert load_sweep(None, {"seeds": 3}).seeds == (0, 1, 2)
    path.write_text("seeds: [4, 7]\n")
    assert load_sweep(path, {}).seeds == (4, 7)


def test_cells_are_all_combinations_in_a_fixed_order_with_policies_innermost(tmp_path: Path) -> None:
    config = SweepConfig(
        policies=("pid", "dual"), scenarios=PLAYABLE[:2], budgets=(1 / 4, 1 / 8), seeds=(3, 5), settings={}
    )
    cells = cells_of(config, tmp_path)
    assert [(c.name, c.seed, c.budget, c.policy) for c in cells] == [
        (name, seed, budget, policy)
        for name in PLAYABLE[:2]
        for seed in (3, 5)
        for budget in (1 / 4, 1 / 8)
        for policy in ("pid", "dual")
    ]
    assert [cell.key for cell in cells] == [cell.key for cell in cells_of(config, tmp_path / "elsewhere")]
    assert len({cell.path for cell in cells}) == 16


def test_every_setting_is_part_of_the_key(tmp_path: Path) -> None:
    base: dict[str, Any] = {"policies": ("pid",), "budgets": (1 / 4,), "seeds": (0,), "days": 2}
    changes: list[dict[str, Any]] = [
        {},
        {"budgets": (1 / 8,)},
        {"seeds": (1,)},
        {"days": 3},
        {"opportunities": 900},
        {"scenarios": PLAYABLE[1:2]},
        {"settings": {"pid": {"kp": 0.2}}},
        {"policies": ("dual",)},
    ]
    keys = {cells_of(SweepConfig(**(base | change)), tmp_path)[0].key for change in changes}
    assert len(keys) == len(changes)


def test_none_are_the_usual_and_all_are_all(tmp_path: Path) -> None:
    usual = cells_of(SweepConfig(budgets=(0.5,), seeds=(0,)), tmp_path)
    assert tuple(cell.policy for cell in usual) == USUAL
    every = cells_of(SweepConfig(policies=("all",), scenarios=("all",), budgets=(0.5,), seeds=(0,)), tmp_path)
    assert {cell.policy for cell in every} == set(policies())
    assert {cell.name for cell in every} == set(SCENARIOS) - {"bidpilot/AdSelection-v0"}


def test_settings_take_the_place_of_defaults_with_their_types(tmp_path: Path) -> None:
    config = SweepConfig(policies=("resolve",), settings={"resolve": {"window": "6"}})
    entry = cells_of(config, tmp_path)[0].entry
    assert isinstance(entry, Plain)
    assert entry.told == {"window": 6, "trust": 0.03}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"policies": ("nobody",)}, "unknown policy 'nobody'; known"),
        ({"scenarios": ("bidpilot/Mars-v0",)}, "unknown scenario 'bidpilot/Mars-v0'; known"),
        ({"scenarios": ("bidpilot/AdSelection-v0",)}, "none that every policy can play; a sweep takes bidpilot/Pacing"),
        ({"scenarios": ("bidpilot/Marketplace-v0",)}, "has settings of its own"),
        ({"budgets": ("2",)}, "'budgets.0': Input should be less than or equal to 1, got '2'"),
        ({"budgets": ()}, "name at least one"),
        ({"seeds": "0"}, "'seeds': name at least one"),
        ({"seeds": (1, 1)}, "name nothing twice"),
        ({"seeds": "many"}, "'seeds'"),
        ({"days": 0}, "'days': Input should be greater than 0"),
        ({"colour": "red"}, "unknown setting 'colour'; known settings: policies, scenarios"),
        ({"policies": ("pid",), "settings": {"dual": {}}}, "given for 'dual', which is none of the policies: pid"),
        ({"policies": ("pid",), "settings": {"pid": {"kq": 1}}}, "pid has no setting 'kq'; it has kp, ki"),
        ({"policies": ("pid",), "settings": {"pid": {"kp": "big"}}}, "settings of pid: setting 'kp'.*got 'big'"),
        ({"policies": ("gone.zip",)}, "gone.zip: cannot be read"),
    ],
)
def test_mistakes_are_told_in_one_line(given: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words) as caught:
        cells_of(load_sweep(None, given), tmp_path)
    assert "\n" not in str(caught.value)

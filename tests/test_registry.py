"""Policies by name: all modules of the package, the user's own, and clear words for what is neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bidpilot.agents.pid import Config
from bidpilot.agents.registry import find_policy, named, policies
from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {
    "constant",
    "random_bids",
    "linear",
    "pid",
    "incremental",
    "dual",
    "resolve",
    "ucb1",
    "thompson",
    "discounted_thompson",
}


def test_every_policy_of_the_package_is_found_by_its_modules_name() -> None:
    assert set(policies()) >= NAMES
    assert policies()["pid"] is find_policy("pid") is Config
    assert not {"sb3", "oracle", "learned", "base", "planned", "arms"} & set(policies())


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown policy 'pdi'; known: .*dual.*linear.*pid") as caught:
        find_policy("pdi")
    assert "\n" not in str(caught.value)


def test_a_users_own_module_is_found_by_its_dotted_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "our_house").mkdir()
    (tmp_path / "our_house" / "ours.py").write_text("class Config:\n    build = space = None\n")
    (tmp_path / "our_house" / "half.py").write_text("class Config: pass\n")
    (tmp_path / "our_house" / "empty.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_policy("our_house.ours").__module__ == "our_house.ours"
    with pytest.raises(InputError, match="must have build and space"):
        find_policy("our_house.half")
    with pytest.raises(InputError, match="must have build and space"):
        find_policy("bidpilot.agents.algorithms")
    with pytest.raises(InputError, match=r"'our_house\.empty' must be importable and define Config"):
        find_policy("our_house.empty")


@pytest.mark.parametrize("name", ["no_such.module", "json.decoder", ".", "..pid", "pid.", ""])
def test_what_is_no_policy_module_is_named(name: str) -> None:
    with pytest.raises(InputError, match="policy"):
        find_policy(name)


def test_a_comparison_that_names_nobody_has_the_usual_baselines() -> None:
    assert set(named((), "second_price")) < set(policies())
    assert set(named((), "first_price")) - set(named((), "second_price")) == {"shading"}
    assert named(("pid",), "first_price") == ("pid",)
    assert set(named(("all",), "second_price")) == set(policies())

"""Policies by what a person calls them: a name, a dotted module of their own, the run's learner, a bundle file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bidpilot.agents.bundle import load_bundle
from bidpilot.agents.registry import policies
from bidpilot.ctr.errors import InputError, unknown
from bidpilot.experiments.compare import ORACLE, baselines, learners, oracle
from bidpilot.experiments.evaluate import Contender
from bidpilot.experiments.prepare import prepare
from bidpilot.experiments.train import load_trained

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.experiments.run import Run
    from bidpilot.experiments.source import Source


def named_contenders(run: Run, source: Source, names: list[str], say: Callable[[str], None] = print) -> list[Contender]:
    """Return a contender for each name. Raises InputError listing the known names."""
    if len(set(names)) < len(names):
        raise InputError(f"name no policy twice; got {', '.join(names)}")
    trained = {contender.name: contender for contender in learners(run)}
    known = {*policies(), *trained, ORACLE}
    if run.settings.learner.algorithm in names:
        load_trained(run)  # says what to do where nothing was trained
    for name in names:
        if name not in known and not name.endswith(".zip") and "." not in name:
            raise unknown("policy", name, [*known, "<bundle>.zip", "<your.module>"])
    plain = tuple(name for name in names if name not in trained and name != ORACLE and not name.endswith(".zip"))
    tuned = {}
    if plain:
        tuned = {contender.name: contender for contender in baselines(run, prepare(run, source), plain, say)}
    return [trained.get(name) or tuned.get(name) or _other(name) for name in names]


def _other(name: str) -> Contender:
    if name == ORACLE:
        return oracle()
    bundle = load_bundle(Path(name))
    return Contender(name, "learner", lambda _day, _share: bundle.policy, lambda _share: name)

"""The train command: killed and gone on with, stopped by time or for want of progress, drawn."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bidpilot.envs.batched import Batched
from bidpilot.experiments.cli import main
from bidpilot.experiments.run import Run
from bidpilot.experiments.train import checkpoints

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ("days.train=4", "days.validate=2", "days.tune=2", "days.opportunities=1000", "ticks_per_day=12")
QUICK = (*SMALL, "model.kind=logistic", "model.epochs=1", "learner.steps=7000", "learner.envs=2")


def bidpilot(*arguments: str) -> str:
    """Run a command and return what it says."""
    out, typed = io.StringIO(), sys.argv
    sys.argv = ["bidpilot"]
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main(*arguments)
    finally:
        sys.argv = typed
    return out.getvalue()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that is fitted, not trained."""
    run = tmp_path_factory.mktemp("train") / "run"
    bidpilot("fit", "--log", "synthetic", "--out", str(run), *(part for pair in QUICK for part in ("--set", pair)))
    assert (run / "fit.done").exists()
    return run


@pytest.fixture
def run(fitted: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    shutil.copytree(fitted, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.timeout(400)
def test_a_killed_training_is_gone_on_with_to_the_same_bytes(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(run, plain)
    bidpilot("train", "--run", str(plain))
    assert not list((plain / "checkpoints/train").glob("*"))
    monkeypatch.setattr("bidpilot.agents.checkpoint.SHARE", 1e9)
    count, step = [0], Batched.step

    def steps(core: Batched, actions: Any) -> Any:  # noqa: ANN401 - as the space has it
        count[0] += 1
        if count[0] > 2500:
            raise MemoryError
        return step(core, actions)

    with monkeypatch.context() as patch:
        patch.setattr(Batched, "step", steps)
        patch.setattr("bidpilot.agents.checkpoint.Checkpoints.due", property(lambda _: True))
        with pytest.raises(MemoryError):
            bidpilot("train", "--run", str(run))
    assert len(list((run / "checkpoints/train").glob("*.json"))) == 2
    assert "went on from the checkpoint of step" in bidpilot("train", "--run", str(run), "--resume")
    for name in ("learning.csv", "policy/policy.safetensors", "policy/probes.safetensors", "policy/policy.json"):
        assert (run / name).read_bytes() == (plain / name).read_bytes()
    assert Run.open(run).facts["training"][0].startswith("went on from")
    assert "left nothing to go on with" in bidpilot("train", "--run", str(run), "--resume")


@pytest.mark.timeout(400)
def test_time_and_patience_are_told_and_curves_drawn(run: Path) -> None:
    said = bidpilot("train", "--run", str(run), "--minutes", "1e-9", "--tensorboard")
    assert "the time limit of 1e-09 minutes is over" in said
    assert list((run / "tensorboard/train").glob("events*"))
    assert "time limit" in Run.open(run).facts["training"][0]
    assert checkpoints(Run.open(run)).some
    assert "went on from the checkpoint of step 0" in bidpilot("train", "--run", str(run), "--resume")
    assert not checkpoints(Run.open(run)).some

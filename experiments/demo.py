"""The whole job on the embedded default: a synthetic exchange whose truth is known."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bidpilot.experiments.config import Settings, load_settings
from bidpilot.experiments.run import Run
from bidpilot.experiments.stages import Stages

if TYPE_CHECKING:
    from pathlib import Path

DEMO = {
    "ticks_per_day": 48,
    "budgets": ["1/2", "1/8", "1/32"],
    "scenario": "bidpilot/Targeting-v0",
    "learner": {"steps": 200_000},
    "days": {"evaluate": 30, "tune": 8},
}
QUICK = {
    "ticks_per_day": 24,
    "budgets": ["1/8"],
    "scenario": "bidpilot/Targeting-v0",
    "model": {"epochs": 1},
    "learner": {"steps": 6_000, "evaluations": 2},
    "days": {"train": 4, "validate": 2, "tune": 2, "evaluate": 10, "opportunities": 4_000, "replicates": 50},
}


def demo_settings(*, quick: bool, seed: int | None, threads: int | None) -> Settings:
    """Return the demo's settings; quick is a small fraction of the work."""
    return load_settings(None, {**(QUICK if quick else DEMO), "seed": seed, "threads": threads})


def run_demo(folder: Path, settings: Settings) -> None:
    """Fit, train, compare and export; finished stages of an earlier demo in the folder are kept."""
    clock = time.monotonic()
    stages = Stages(Run.create(folder, settings))
    stages.compare()
    stages.export()
    stages.say(f"done in {time.monotonic() - clock:.0f} s; everything is in {folder}")


if __name__ == "__main__":
    from bidpilot.experiments.cli import main

    main("demo")

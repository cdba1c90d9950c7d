"""Stage 5: the trained policy as a bundle that a bidder can load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from bidpilot.agents.bundle import load_bundle, write_bundle
from bidpilot.experiments.run import versions
from bidpilot.experiments.train import load_trained

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.experiments.run import Run


def export(run: Run, path: Path | None = None) -> Path:
    """Write the run's trained policy as a bundle (default: policy.zip in its folder), load it back, return the path."""
    policy, observations, actions = load_trained(run)
    path = path or run.bundle
    settings = run.settings
    about = {
        "policy": settings.learner.algorithm,
        "config": settings.learner.model_dump(),
        "scenario_name": settings.scenario,
        "seed": settings.seed,
        "versions": versions(),
        "currency": run.facts.get("log", {}).get("currency", "currency"),
        "trained_on": {key: run.facts.get("log", {}).get(key) for key in ("source", "train_rows")},
        "evaluation": _evaluation(run),
    }
    write_bundle(path, policy, observations, actions, about)
    load_bundle(path)
    return path


def _evaluation(run: Run) -> list[dict[str, Any]]:
    """Return the comparison's rows about the learner, where a comparison was made."""
    path = run.folder / "results.csv"
    if not path.is_file():
        return []
    table = pd.read_csv(path)
    names = ["budget_label", "r_over_rstar", "difference", "best_baseline", "roi", "utilisation", "traffic_hash"]
    names += [f"{name}_{end}" for name in ("r_over_rstar", "difference") for end in ("low", "high")]
    rows = table.loc[table["role"] == "learner", names]
    return [{str(k): None if v != v else v for k, v in row.items()} for row in rows.to_dict("records")]  # noqa: PLR0124


if __name__ == "__main__":
    from bidpilot.experiments.cli import main

    main("export")

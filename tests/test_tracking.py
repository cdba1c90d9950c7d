"""Settings, curve and results in MLflow, where it is installed, and clear words where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments import tracking
from bidpilot.experiments.config import Settings, load_settings
from bidpilot.experiments.metrics import METRICS
from bidpilot.experiments.run import Run
from bidpilot.experiments.stages import Stages
from bidpilot.experiments.tracking import EXPERIMENT, check_tracking, parameters, track_comparison, track_training

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run whose training and comparison are done, in two policies at two budgets."""
    made = Run.create(tmp_path / "runs" / "mine", load_settings(None, {"mlflow": str(tmp_path / "tracked"), "seed": 7}))
    made.begin()
    made.write_table("learning.csv", pd.DataFrame({"steps": [0, 500], "score": [0.8, 0.9], "reference": 0.8}))
    rows = [
        {"policy": policy, "budget": budget} | {metric.name: budget + place for place, metric in enumerate(METRICS)}
        for policy in ("ppo", "our.policy")
        for budget in (0.125, 1 / 32)
    ]
    made.write_table("results.csv", pd.DataFrame(rows).assign(cpa=float("nan")))
    for name in ("results.md", "summary.txt", "report.html"):
        (made.folder / name).write_text(name)
    return made


def test_nothing_is_tracked_unless_asked_for(tmp_path: Path) -> None:
    run = Run.create(tmp_path, Settings())
    check_tracking(run.settings)
    assert track_training(run) == track_comparison(run) == ""


def test_without_mlflow_nothing_is_begun(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda _name: None)
    with pytest.raises(InputError, match=r"pip install 'bidpilot\[mlflow\]'"):
        Stages(run).train()


def test_parameters_are_the_settings_as_set_takes_them() -> None:
    settings = load_settings(None, {"budgets": ["1/8"], "learner.steps": 500, "days.validate": 3, "worth": 2.0})
    found = parameters(settings)
    assert (found["learner.steps"], found["days.validate"], found["budgets"]) == ("500", "3", "[0.125]")
    given = [f"{name}={value}" for name, value in found.items() if value not in {"None", "[]"}]
    assert load_settings(None, {}, tuple(given)) == settings


def test_a_run_is_found_again_in_mlflow(run: Run) -> None:
    """Parameters, curve, results and files are there, in one MLflow run; another training begins another."""
    client = _client(run)
    first = track_training(run)
    assert track_comparison(run) == first
    kept = _only(client)
    assert kept.info.run_name == "mine"
    assert kept.data.params["seed"] == "7"
    assert kept.data.tags["log_sha256"] == ""
    curve = client.get_metric_history(kept.info.run_id, "learning/score")
    assert [(point.step, point.value) for point in curve] == [(0, 0.8), (500, 0.9)]
    results = pd.read_csv(run.folder / "results.csv")
    for row in results.to_dict("records"):
        assert kept.data.metrics[f"r_over_rstar/{row['policy']}/{row['budget']:.4g}"] == row["r_over_rstar"]
    assert not any(name.startswith("cpa/") for name in kept.data.metrics), "what is no number is left out"
    files = {file.path for file in client.list_artifacts(kept.info.run_id)}
    assert files == {"run.yaml", "learning.csv", "results.csv", "results.md", "summary.txt", "report.html"}
    assert track_training(run) != first
    assert len(_all(client)) == 2


def test_a_server_that_does_not_answer_costs_no_results(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed: pip install 'bidpilot[mlflow]'")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = Run(run.folder, run.settings.model_copy(update={"mlflow": "http://127.0.0.1:9"}))
    with pytest.raises(InputError, match=r"could not be written to .*; the results are in .*mine"):
        track_comparison(away)


def _client(run: Run) -> Any:  # noqa: ANN401 - MLflow has no types
    pytest.importorskip("mlflow", reason="MLflow is not installed: pip install 'bidpilot[mlflow]'")
    return tracking._client(str(run.settings.mlflow))[0]


def _all(client: Any) -> list[Any]:  # noqa: ANN401 - MLflow has no types
    return list(client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id]))


def _only(client: Any) -> Any:  # noqa: ANN401 - MLflow has no types
    (one,) = _all(client)
    return one

"""A run's settings, learning curve and results in MLflow, where the setting mlflow says where; needs bidpilot[mlflow].

One training is one MLflow run of the experiment "bidpilot"; the comparison after it goes on in that run.
"""

from __future__ import annotations

import importlib
import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.config import DATABRICKS
from bidpilot.experiments.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bidpilot.experiments.config import Settings
    from bidpilot.experiments.run import Run

EXPERIMENT = "bidpilot"
FACT = "mlflow_run"
BATCH = 500
"""Metrics in one request; MLflow takes at most 1,000."""

TAGS = ("git_commit", "log_sha256", "traffic_hash", "machine", "date")
RESULTS = ("results.csv", "results.md", "summary.txt", "report.html")
Point = tuple[str, float, int]
"""A metric's name, its value, and the step of the training."""


def check_tracking(settings: Settings) -> None:
    """Raise InputError where tracking is asked for and MLflow is not installed: before hours of work, not after."""
    if settings.mlflow is not None and find_spec("mlflow") is None:
        raise InputError("mlflow is set and MLflow is not installed; pip install 'bidpilot[mlflow]', or leave it out")


def track_training(run: Run) -> str:
    """Begin an MLflow run with the settings and the learning curve (learning/...); return a sentence, "" if untracked.

    Raises InputError where the tracking server cannot be reached or refuses; the run's own files are not touched.
    """
    if run.settings.mlflow is None:
        return ""
    run.note(**{FACT: None})
    return _write(run, _curve_points(pd.read_csv(run.folder / "learning.csv")), ("run.yaml", "learning.csv"))


def track_comparison(run: Run) -> str:
    """Add the results, <metric>/<policy>/<budget>, and the report to the training's MLflow run; likewise."""
    if run.settings.mlflow is None:
        return ""
    return _write(run, _result_points(pd.read_csv(run.folder / "results.csv")), RESULTS)


def parameters(settings: Settings) -> dict[str, str]:
    """Return the resolved settings by dotted name, as --set takes them."""
    return dict(_flat(settings.model_dump(mode="json", by_alias=True)))


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def _curve_points(curve: pd.DataFrame) -> list[Point]:
    steps = curve["steps"].astype(int)
    numbers = curve.drop(columns="steps").select_dtypes("number")
    return [
        (f"learning/{name}", float(value), step)
        for name in numbers
        for step, value in zip(steps, numbers[name], strict=True)
    ]


def _result_points(results: pd.DataFrame) -> list[Point]:
    return [
        (f"{metric.name}/{row['policy']}/{row['budget']:.4g}", float(row[metric.name]), 0)
        for row in results.to_dict("records")
        for metric in METRICS
    ]


def _write(run: Run, points: list[Point], files: tuple[str, ...]) -> str:
    """Write points, settings and files to the MLflow run, made if there is none."""
    client, error = _client(str(run.settings.mlflow))
    try:
        name = run.facts.get(FACT) or _begin(client, run)
        _log(client, name, points)
        for tag in TAGS:
            client.set_tag(name, tag, run.facts.get(tag, ""))
        for file in files:
            client.log_artifact(name, str(run.folder / file))
        client.set_terminated(name)
    except (error, OSError) as problem:
        kept = f"the results are in {run.folder}"
        raise InputError(
            f"mlflow={run.settings.mlflow}: could not be written to ({_line(problem)}); {kept}"
        ) from problem
    run.note(**{FACT: name})
    return f"mlflow: run {name} of experiment {EXPERIMENT} in {run.settings.mlflow}"


def _begin(client: Any, run: Run) -> str:  # noqa: ANN401 - MLflow has no types
    """Make an MLflow run named after the folder, with the settings as parameters; return its id."""
    known = client.get_experiment_by_name(EXPERIMENT)
    made = known.experiment_id if known else client.create_experiment(EXPERIMENT, _artifacts(str(run.settings.mlflow)))
    name = str(client.create_run(made, run_name=run.folder.name).info.run_id)
    for key, value in parameters(run.settings).items():
        client.log_param(name, key, value)
    return name


def _log(client: Any, name: str, points: list[Point]) -> None:  # noqa: ANN401 - MLflow has no types
    """Write points in batches; what is no number is left out."""
    metric, now = importlib.import_module("mlflow.entities").Metric, int(1000 * time.time())
    rows = [metric(key, value, now, step) for key, value, step in points if np.isfinite(value)]
    for start in range(0, len(rows), BATCH):
        client.log_batch(name, metrics=rows[start : start + BATCH])


def _client(where: str) -> tuple[Any, type[Exception]]:
    """Return MLflow's client for a URI or folder, and the class of its errors. It reports to nobody else."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    folder = _folder(where)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    uri = where if folder is None else f"sqlite:///{folder / 'mlflow.db'}"
    error: type[Exception] = importlib.import_module("mlflow.exceptions").MlflowException
    try:
        return importlib.import_module("mlflow.tracking").MlflowClient(tracking_uri=uri), error
    except error as problem:
        raise InputError(f"mlflow={where}: cannot be opened ({_line(problem)})") from problem


def _folder(where: str) -> Path | None:
    """Return the folder, if where is one and no URI."""
    return None if "://" in where or where == DATABRICKS else Path(where).absolute()


def _artifacts(where: str) -> str | None:
    folder = _folder(where)
    return None if folder is None else (folder / "artifacts").as_uri()


def _line(problem: Exception) -> str:
    return str(problem).partition("\n")[0]

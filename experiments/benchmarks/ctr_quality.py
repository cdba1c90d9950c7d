"""How good response models are: every model on the same logs, each judged on rows that come later.

Run: python -m bidpilot.experiments.benchmarks.ctr_quality [--data DIR] [--impressions N] [--models a,b] [--markdown].
Always: the synthetic exchange, where the truth is known. With --data (or BIDPILOT_DATA): Avazu's first 9,999 rows and
the Open Bandit sample, in the folders ctr_samples and open_bandit; or, where DIR holds train.csv, valid.csv and
test.csv, the BARS protocol on Criteo_x4 or Avazu_x4. All models are fitted as bidpilot fit does it: early stopping and
calibration on the last training rows, then again on all.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from bidpilot.ctr.bars import NO_CLOCK, PARTS, read_bars
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fitting import ResponseConfig
from bidpilot.ctr.metrics import auc, log_loss, reliability
from bidpilot.experiments.benchmarks.ctr_logs import Task, avazu, exchange, open_bandit
from bidpilot.experiments.candidates import candidate_models, candidate_table, fit_candidates
from bidpilot.experiments.config import ALL, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bidpilot.experiments.candidates import Candidate
    from bidpilot.experiments.config import Settings

DECILES = 10
BARS_SETTINGS = {"batch_size": 4_096, "patience": 2, "epochs": 20, "fields": NO_CLOCK}


def main() -> None:
    """Fit and judge every model on every log there is, and print a table for each."""
    given = _arguments()
    try:
        if given.data is not None and all((given.data / f"{part}.csv").is_file() for part in PARTS):
            _print("BARS protocol", bars_table(given.data, given.models), _bars_cells, markdown=given.markdown)
            return
        for task in tasks(given.data, given.impressions):
            _print(task.name, quality_table(task, given.models), _cells, markdown=given.markdown)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


def tasks(data: Path | None, impressions: int) -> Iterable[Task]:
    """Yield the logs to judge models on; data: folder of the real ones."""
    yield exchange(impressions)
    if data is not None:
        yield avazu(data)
        yield open_bandit(data, "random", "all")
        yield open_bandit(data, "bts", "all")


def quality_table(task: Task, models: str) -> pd.DataFrame:
    """Return candidate_table for every model, the best on the training rows first.

    Beside it: excess, log loss above the truth's in percent (NaN where no truth is known), and the lowest and highest
    predicted rate over the actual one in the deciles of the prediction: over the true one, where it is known.
    """
    settings: Settings = load_settings(None, {"model.kind": models})
    found: list[Candidate] = []
    for name in tqdm(candidate_models(settings, task.train), desc=task.name, unit="model", disable=None):
        one = load_settings(None, {"model.kind": name})
        found += fit_candidates(one, task.train, np.random.default_rng(0))
    found.sort(key=lambda each: each.loss)
    table = candidate_table(found, task.test, np.random.default_rng(1))
    extra = [_beside(each, task) for each in found]
    return pd.concat([table, pd.DataFrame(extra)], axis=1)


def _beside(each: Candidate, task: Task) -> dict[str, float]:
    y, p = task.test.frame["click"].to_numpy(np.float64), each.response.click.predict(task.test)
    curve = reliability(y if task.truth is None else task.truth, p, DECILES)
    ratio = curve["predicted"] / curve["actual"].where(curve["actual"] > 0)
    best = float("nan") if task.truth is None else log_loss(y, task.truth)
    return {
        "excess": 100.0 * (log_loss(y, p) / best - 1.0),
        "decile_low": float(ratio.min()),
        "decile_high": float(ratio.max()),
    }


def bars_table(folder: Path, models: str) -> pd.DataFrame:
    """Return AUC and log loss on the test split: fitted on train, stopped early on valid, nothing calibrated."""
    splits = read_bars(folder)
    settings = load_settings(None, {"model.kind": models})
    rows = []
    for name in tqdm(candidate_models(settings, splits.train), desc=str(folder), unit="model", disable=None):
        config: Any = ResponseConfig().settings(name)
        config = replace(config, **{key: v for key, v in BARS_SETTINGS.items() if hasattr(config, key)})
        predictor, curve = config.fit(splits.train, splits.valid, "click", np.random.default_rng(0))
        p, y = predictor.predict(splits.test), splits.test.frame["click"].to_numpy(np.float64)
        rows.append({"model": name, "auc": auc(y, p), "log_loss": log_loss(y, p), "epochs": curve.best})
    return pd.DataFrame(rows)


def _cells(row: Any) -> dict[str, str]:  # noqa: ANN401 - a row of a frame
    return {
        "model": row["model"],
        "AUC": f"{row['auc']:.4f} [{row['auc_low']:.4f}, {row['auc_high']:.4f}]",
        "log loss": f"{row['log_loss']:.5f}",
        "above the first": f"{row['worse']:+.5f} [{row['worse_low']:+.5f}, {row['worse_high']:+.5f}]",
        "above the truth": "-" if np.isnan(row["excess"]) else f"{row['excess']:.2f} %",
        "ECE (perfect, bound)": f"{row['ece']:.4f} ({row['ece_floor']:.4f}, {row['ece_bound']:.4f})",
        "predicted/actual": f"{row['ratio']:.3f} [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]",
        "of deciles": f"{row['decile_low']:.2f}..{row['decile_high']:.2f}",
        "CPU s": f"{row['seconds']:.1f}",
    }


def _bars_cells(row: Any) -> dict[str, str]:  # noqa: ANN401 - a row of a frame
    return {
        "model": row["model"],
        "AUC": f"{row['auc']:.4f}",
        "log loss": f"{row['log_loss']:.4f}",
        "epochs": f"{row['epochs']}",
    }


def _print(name: str, table: pd.DataFrame, cells: Callable[[Any], dict[str, str]], *, markdown: bool) -> None:
    """Print a table: for people to read, or as Markdown."""
    rows = [cells(row) for _, row in table.iterrows()]
    heads = list(rows[0])
    if markdown:
        lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
        lines += [f"| {' | '.join(row.values())} |" for row in rows]
        sys.stdout.write("\n".join([f"**{name}**", "", *lines, "", ""]))
    else:
        sys.stdout.write(f"{name}\n{pd.DataFrame(rows).to_string(index=False)}\n\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ctr_quality", description=__doc__)
    known = os.environ.get("BIDPILOT_DATA")
    parser.add_argument(
        "--data", type=Path, default=Path(known) if known else None, help="folder of real logs, or BARS"
    )
    parser.add_argument("--impressions", type=int, default=1_000_000, help="of the synthetic exchange [1000000]")
    parser.add_argument("--models", default=ALL, help="names with commas, or all [all]")
    parser.add_argument("--markdown", action="store_true", help="print as the README has it")
    return parser.parse_args()


if __name__ == "__main__":
    main()

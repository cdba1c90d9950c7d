"""The page of a run: what it shows, what it leaves out, and what it refuses. The run folder is invented."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.experiments.plots_style import looks
from bidpilot.experiments.report import render, write_report
from bidpilot.experiments.report_input import CALIBRATION, FIT, LEARNING, RESULTS, TICKS, read_run

if TYPE_CHECKING:
    from pathlib import Path

BUDGETS = {"1/32": 1 / 32, "1/16": 1 / 16, "1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2}
BETTER = {"oracle": 1.0, "ppo": 0.978, "pid": 0.962, "dual": 0.958, "incremental": 0.955, "resolve": 0.949}
MIDDLE = {"linear": 0.931, "ortb": 0.926, "ucb1": 0.905, "thompson": 0.912, "discounted_thompson": 0.917}
SHARES = BETTER | MIDDLE | {"shading": 0.884, "constant": 0.861, "random_multiplier": 0.74}
"""Invented shares of R*, one for each of fourteen policies."""


def invented_results(rng: np.random.Generator) -> pd.DataFrame:
    """Make a results table with the right columns and plausible sizes; the numbers mean nothing."""
    rows = []
    for label, budget in BUDGETS.items():
        tilt = 0.05 * np.log2(budget * 8) / 4
        shares = {name: min(1.0, s + (1 - s) * tilt * 4 + 0.004 * rng.standard_normal()) for name, s in SHARES.items()}
        shares["oracle"] = 1.0
        best = max((name for name in shares if name not in {"oracle", "ppo"}), key=shares.__getitem__)
        rows += [_invented_row(name, label, budget, share, shares[best], best) for name, share in shares.items()]
    return pd.DataFrame(rows)


def _invented_row(name: str, label: str, budget: float, share: float, rival: float, best: str) -> dict[str, object]:
    money = 45_000 * budget
    value = 98_000 * budget**0.62 * share
    spend = money * (0.62 if name == "constant" else 0.993)
    wins = 2_400_000 * budget**0.8 * share
    clicks = wins * 0.0008 * (name != "random_multiplier" or budget > 0.04)
    middle = {
        "spend": spend,
        "utilisation": spend / money,
        "wins": wins,
        "win_rate": wins / 2_900_000,
        "clicks": clicks,
        "predicted_clicks": clicks * 1.02,
        "conversions": clicks * 0.03,
        "value": value,
        "expected_value": value * 1.01,
        "roi": value / spend - 1,
        "roas": value / spend,
        "cpa": spend / (clicks * 0.03) if clicks else np.nan,
        "ecpc": spend / clicks if clicks else np.nan,
        "pacing_error": 0.15 * (1.01 - share),
        "r_over_rstar": share,
    }
    role = {"oracle": "oracle", "ppo": "learner"}.get(name, "baseline")
    row: dict[str, object] = {"policy": name, "role": role} | {
        "budget": budget,
        "budget_label": label,
        "budget_currency": money,
        "best_baseline": best,
    }
    for metric, at in middle.items():
        half = 0.0 if name == "oracle" and metric == "r_over_rstar" else 0.012 * abs(at)
        top = 1.0 if metric == "utilisation" else np.inf
        row |= {metric: at, f"{metric}_low": at - half, f"{metric}_high": min(at + half, top)}
    gap = 0.0 if name == best else share - rival
    width = np.nan if name == best else 0.006 + 0.1 * abs(gap)
    return row | {"difference": gap, "difference_low": gap - width, "difference_high": gap + width}


def invented_ticks(rng: np.random.Generator) -> pd.DataFrame:
    """Make spend curves: a diurnal plan, and policies that stray from it."""
    hours = np.arange(1, 97) / 4
    plan = np.cumsum(1.1 - np.cos((hours - 4) * np.pi / 12))
    plan /= plan[-1]
    parts = []
    for label, budget in BUDGETS.items():
        for name, share in SHARES.items():
            spent = np.clip(plan ** (1 + 4 * (1 - share) * rng.standard_normal()), 0, 0.997)
            spent = 0.62 * plan if name == "constant" else plan if name == "oracle" else spent
            columns = {"policy": name, "budget": budget, "budget_label": label, "tick": np.arange(96)}
            parts.append(pd.DataFrame(columns | {"hour": hours, "spent": spent, "planned": plan}))
    return pd.concat(parts, ignore_index=True)


def invented_calibration(rng: np.random.Generator) -> pd.DataFrame:
    """Make calibration bins of clicks and conversions, the last bin of few rows."""
    parts = []
    for event, top, rows in (("click", 0.006, 4000), ("conversion", 0.4, 180)):
        predicted = top * np.geomspace(0.02, 1, 12)
        count = np.r_[np.full(11, rows), 30]
        actual = rng.binomial(count, predicted) / count
        half = 1.96 * np.sqrt(np.maximum(actual * (1 - actual), 0.5 / count) / count)
        columns = {"event": event, "bin": np.arange(12), "predicted": predicted, "actual": actual}
        parts.append(
            pd.DataFrame(columns | {"low": np.maximum(actual - half, 0), "high": actual + half, "count": count})
        )
    return pd.concat(parts, ignore_index=True)


def invented_fit() -> pd.DataFrame:
    """Make a fit table: the truth is known for clicks and not for conversions."""
    rows = [
        ("click", "logistic", 0.7312, 0.00617, 0.00021, 0.00012, 0.00031, 1.013, 0.962, 1.067, 60213, 51, 0.0061, 1.2),
        ("click", "deepfm", 0.7433, 0.00613, 0.00017, 0.00012, 0.0003, 0.994, 0.943, 1.046, 60213, 51, 0.0061, 0.5),
        ("conversion", "logistic", 0.61, 0.1312, 0.0121, np.nan, np.nan, 1.21, 0.71, 1.93, 51, 2, np.nan, np.nan),
    ]
    return pd.DataFrame(rows, columns=[*FIT.text, *FIT.numbers])


LOG = {"source": "an invented log", "rows": 200_000, "currency": "EUR"}
METADATA = {"seed": 7, "date": "2026-01-31", "traffic_hash": "c0ffee", "versions": {"numpy": "2.4.6"}, "log": LOG}
SUMMARY = (
    "At budget 1/8 the agent earns 1.7 % more than PID, the best baseline, between 0.9 and 2.5.\n"
    "It reaches 97.8 % of the best that was possible in hindsight.\n"
    "Models: clicks are predicted within 1 % of what happened; conversions are too few to tell.\n"
)


def fill(folder: Path) -> None:
    """Write a whole invented run folder."""
    rng = np.random.default_rng(3)
    invented_results(rng).to_csv(folder / RESULTS.file, index=False)
    invented_ticks(rng).to_csv(folder / TICKS.file, index=False)
    invented_calibration(rng).to_csv(folder / CALIBRATION.file, index=False)
    invented_fit().to_csv(folder / FIT.file, index=False)
    steps = np.arange(0, 110_000, 10_000)
    score = 0.962 + 0.016 * (1 - np.exp(-steps / 30_000)) + 0.001 * rng.standard_normal(len(steps))
    curve = {"steps": steps, "score": score, "low": score - 0.005, "high": score + 0.004, "reference": 0.962}
    pd.DataFrame(curve).to_csv(folder / LEARNING.file, index=False)
    (folder / "summary.txt").write_text(SUMMARY, encoding="utf-8")
    (folder / "run.yaml").write_text("seed: 7\nagent:\n  name: ppo\n  steps: 100000\n", encoding="utf-8")
    (folder / "metadata.json").write_text(json.dumps(METADATA), encoding="utf-8")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a whole invented run folder with its report, to be looked at and not changed."""
    folder = tmp_path_factory.mktemp("written") / "run"
    folder.mkdir()
    fill(folder)
    write_report(folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """Return a whole invented run folder without a report, to be changed."""
    return shutil.copytree(written, tmp_path / "run", ignore=shutil.ignore_patterns("figures", "report.html"))


def only_results(folder: Path) -> None:
    """Remove everything from a run folder that need not be there."""
    for path in folder.iterdir():
        if path.name != RESULTS.file:
            path.unlink()


def tables(folder: Path) -> str:
    """Return the page without its figures, which take longest."""
    run = read_run(folder)
    return render("run", run, [], looks(run.results))


def change(path: Path, column: str, value: object, row: int = 0) -> None:
    """Overwrite one cell of a CSV file."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[row, column] = str(value)
    frame.to_csv(path, index=False)


def test_whole_page_shows_every_section_and_links_every_figures_data(written: Path) -> None:
    """Summary first, then results, figures with their data, models, provenance."""
    html = (written / "report.html").read_text(encoding="utf-8")
    marks = ["earns 1.7", 'id="results"', 'id="earned"', 'id="models"', 'id="made"']
    assert [html.index(mark) for mark in marks] == sorted(html.index(mark) for mark in marks)
    names = {re.search(r'id="(\w+)"', tag)[1] for tag in re.findall(r"<figure[^>]*>", html)}  # type: ignore[index]
    calibrations = {"calibration_click", "calibration_conversion"}
    assert names == {
        *("r_over_rstar", "roi", "value", "differences", "pacing", "pacing_error", "learning"),
        *calibrations,
    }
    assert html.count("<svg") == html.count("data:text/csv") == len(names)
    assert {file.stem for file in (written / "figures").iterdir()} == names
    assert all((written / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in names)
    assert not [path for path in written.rglob("*") if path.name.startswith(".")]


def test_page_reaches_for_nothing_outside_itself(written: Path) -> None:
    """No address of any network, no script, nothing that loads a file; the policy says so to the browser too."""
    html = (written / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:https?:)?//\w|@import|<script|<link|<img|url\((?!#)|\bsrc=", html)
    assert "default-src 'none'" in html


def test_same_folder_gives_same_bytes(written: Path, folder: Path) -> None:
    """Nothing of the clock, of memory addresses or of dictionary order gets into the page or the figures."""
    assert write_report(folder) == folder / "report.html"
    files = [path.relative_to(written) for path in written.rglob("*.*")]
    assert {path: (written / path).read_bytes() for path in files} == {
        path: (folder / path).read_bytes() for path in files
    }


def test_only_results_are_needed(folder: Path) -> None:
    """Each absent file leaves out its section and nothing else."""
    only_results(folder)
    results = pd.read_csv(folder / RESULTS.file)
    results[results["policy"].isin(["ppo", "pid", "oracle"])].to_csv(folder / RESULTS.file, index=False)
    html = write_report(folder).read_text(encoding="utf-8")
    assert html.count("<figure") == 5
    assert 'id="results"' in html
    assert not re.search(r'class="summary"|id="(models|made|pacing"|learning|calibration)', html)


@pytest.mark.parametrize("kept", [["pid"], ["oracle"], ["constant", "ppo"]])
def test_few_policies_at_one_budget(folder: Path, kept: list[str]) -> None:
    """A run without oracle, learner, rival or a second budget is drawn too."""
    only_results(folder)
    results = pd.read_csv(folder / RESULTS.file)
    chosen = results[results["policy"].isin(kept) & (results["budget_label"] == "1/8")]
    chosen.assign(best_baseline=kept[0], conversions=np.nan, roi=np.nan).to_csv(folder / RESULTS.file, index=False)
    html = write_report(folder).read_text(encoding="utf-8")
    assert 'title="undefined"' in html
    assert not re.search(r"\bnan\b", re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL), flags=re.IGNORECASE)


def test_names_are_text_and_never_markup(folder: Path) -> None:
    """A policy, a summary, settings and metadata full of markup and mathematics are shown as they are."""
    evil = '<script>alert("x")</script>$\\frac{'
    for file in (RESULTS.file, TICKS.file):
        frame = pd.read_csv(folder / file).query("policy in ('ppo', 'pid') and budget_label == '1/8'")
        frame.replace("ppo", evil).replace("1/8", "<b>$").to_csv(folder / file, index=False)
    (folder / CALIBRATION.file).unlink()
    (folder / "summary.txt").write_text(f"{evil} {{{{ 7 * 7 }}}}, -0.25 in 2026-01-02\n", encoding="utf-8")
    (folder / "run.yaml").write_text("a: </pre><script>\n", encoding="utf-8")
    (folder / "metadata.json").write_text(json.dumps({"date": "<i>", "log": {"currency": "<u>$"}}), encoding="utf-8")
    html = write_report(folder).read_text(encoding="utf-8")
    assert not re.search(r"<script|<b>\$|<i>|<u>", html)
    assert "&lt;script&gt;" in html
    assert "{{ 7 * 7 }}, \N{MINUS SIGN}0.25 in 2026-01-02" in html


def test_table_shows_numbers_as_people_write_them(folder: Path) -> None:
    """Thousands are separated, ratios are per cent, an undefined number is a dash that says so, the best is marked."""
    at = pd.read_csv(folder / RESULTS.file).query("policy == 'ppo' and budget_label == '1/8'").index[0]
    change(folder / RESULTS.file, "value", 1_234_567.8, at)
    change(folder / RESULTS.file, "utilisation", 0.4117, at)
    change(folder / RESULTS.file, "cpa", "nan", at)
    html = tables(folder)
    table = html[html.index("results at budget 1/8") :]
    row = table[table.index("</span>ppo") :].partition("</tr>")[0]
    assert "<b>1,234,568</b>" in row
    assert "41.2\u202f%" in row
    assert '<abbr title="undefined">\N{EN DASH}</abbr>' in row


def test_oracle_is_never_marked_as_best(folder: Path) -> None:
    """The oracle has the highest R/R* in every table, and no mark."""
    rows = re.findall(r'<tr class="(\w+)">(.*?)</tr>', tables(folder), flags=re.DOTALL)
    assert len(rows) == len(SHARES) * len(BUDGETS)
    assert all("<b>" not in cells for role, cells in rows if role == "oracle")
    assert any("<b>" in cells for role, cells in rows if role == "learner")

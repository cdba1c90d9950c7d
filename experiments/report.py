"""The page of a run: one self-contained report.html, and its figures and their data as files beside it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bidpilot.ctr.files import write_atomically
from bidpilot.experiments import plots
from bidpilot.experiments.plots_style import THEME, Look, inline_svg, looks, save, shorten
from bidpilot.experiments.report_format import COLUMNS, budget_tables, fit_table, flatten
from bidpilot.experiments.report_input import EVENTS, Run, read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from matplotlib.figure import Figure

_RESULT_KEYS = ["policy", "role", "budget", "budget_label"]
_NO_CURRENCY = "currency units"


@dataclass(frozen=True)
class Exhibit:
    """One figure of the page: what it is called, what it says, how it is drawn, and the numbers it is drawn from."""

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]
    data: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Panel:
    """An exhibit ready for the page: the figure as SVG and PNG, the data as CSV."""

    name: str
    title: str
    caption: str
    svg: Markup
    png: bytes
    csv: bytes

    @property
    def link(self) -> str:
        """The data as a link that needs no network."""
        return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(self.csv).decode()}"


def write_report(folder: Path) -> Path:
    """Write folder/report.html, and each figure as PNG and its data as CSV in folder/figures/; return the page's path.

    Reads results.csv and whatever else of a run the folder holds (`bidpilot.experiments.report_input`); a section
    whose file is absent is left out. Nothing is written unless everything could be read and drawn.
    Raises InputError naming the file, column and row that cannot be used.
    """
    run = read_run(folder)
    styles = looks(run.results)
    panels = [_panel(exhibit) for exhibit in exhibits(run, styles)]
    page = render(folder.resolve().name, run, panels, styles)
    for panel in panels:
        write_atomically(folder / "figures" / f"{panel.name}.png", panel.png)
        write_atomically(folder / "figures" / f"{panel.name}.csv", panel.csv)
    write_atomically(folder / "report.html", page)
    return folder / "report.html"


def exhibits(run: Run, styles: dict[str, Look]) -> Iterator[Exhibit]:
    """Yield the figures that a run has the tables for, in the order of the page."""
    yield from _frontiers(run, styles)
    if run.results["difference"].notna().any():
        yield Exhibit(
            "differences",
            "Better than the best baseline?",
            "Each policy met the same days and people as the best baseline of that budget; the point is the mean "
            "difference in R/R*, the bar its 95 % interval. Right of the line is better, and a bar that crosses the "
            f"line settles nothing. Shown: learners, the oracle, and the {plots.NEAREST} nearest other baselines.",
            partial(plots.differences, run.results, styles),
            run.results[[*_RESULT_KEYS, "best_baseline", "difference", "difference_low", "difference_high"]],
        )
    if run.ticks is not None:
        yield Exhibit(
            "pacing",
            "Spend against plan",
            "Mean spend so far as a share of the budget. The dashed line is the ideal plan: what the best single "
            "bid multiplier, chosen in hindsight, would have spent by then.",
            partial(plots.pacing, run.ticks, styles),
            run.ticks,
        )
    if run.learning is not None:
        yield Exhibit(
            "learning",
            "How the agent learned",
            "Mean R/R* on validation days that training never touched, with its 95 % interval. The dashed line is the "
            "controller that the agent corrects, left alone (zero action) on the same days.",
            partial(plots.learning, run.learning),
            run.learning,
        )
    if run.calibration is not None:
        yield from _calibrations(run.calibration)


def _frontiers(run: Run, styles: dict[str, Look]) -> Iterator[Exhibit]:
    money = _currency(run)
    bands = (
        "Bands: 95 % intervals of the highlighted policies. Grey: the other baselines. Dashed: the oracle, the best "
        "single multiplier in hindsight."
    )
    captions = {
        "r_over_rstar": (
            "Share of the best possible value",
            "R/R* [%]",
            f"R* is the most expected worth that the budget could have bought, knowing every price beforehand. {bands}",
        ),
        "roi": ("Return on investment", "ROI [%]", f"(Value - spend) / spend. {bands}"),
        "value": (
            "Value won",
            f"Value [{shorten(money)}]",
            f"Both axes are logarithmic. {bands}",
        ),
    }
    for metric, (title, axis, caption) in captions.items():
        draw = partial(plots.frontier, run.results, metric, axis, styles, money=metric == "value")
        columns = [*_RESULT_KEYS, metric, f"{metric}_low", f"{metric}_high"]
        yield Exhibit(metric, title, caption, draw, run.results[columns])


def _calibrations(bins: pd.DataFrame) -> Iterator[Exhibit]:
    for event in EVENTS:
        own = bins[(bins["event"] == event) & (bins["count"] > 0)]
        if own.empty:
            continue
        yield Exhibit(
            f"calibration_{event}",
            f"Are {event} predictions true?",
            f"Held-out rows in bins of predicted {event} probability: on the dashed line, what was predicted happened. "
            "Bars: 95 % intervals; a point on the lower edge never happened. Below: how many rows each bin holds.",
            partial(plots.calibration, own, event),
            own,
        )


def _panel(exhibit: Exhibit) -> Panel:
    figure = exhibit.draw()
    svg = inline_svg(figure)
    return Panel(
        exhibit.name,
        exhibit.title,
        exhibit.caption,
        Markup(svg),  # noqa: S704 - drawn here; matplotlib escapes the text inside
        save(figure, "png"),
        exhibit.data.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode(),
    )


def render(name: str, run: Run, panels: list[Panel], styles: dict[str, Look]) -> str:
    """Return the page as HTML; every text that came with the run is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tables = list(budget_tables(run.results, _currency(run)))
    return environment.get_template("report.html.j2").render(
        name=name,
        summary=run.summary,
        facts=_facts(run),
        columns=COLUMNS,
        currency=_currency(run),
        tables=tables,
        opened=len(tables) // 2,
        panels=panels,
        colours={policy: THEME[look.colour] for policy, look in styles.items()},
        fit=None if run.fit is None else fit_table(run.fit),
        settings=run.settings,
        metadata=list(flatten(run.metadata)),
    )


def _log(run: Run) -> dict[str, object]:
    log = run.metadata.get("log")
    return log if isinstance(log, dict) else {}


def _currency(run: Run) -> str:
    return str(_log(run).get("currency") or _NO_CURRENCY)


def _facts(run: Run) -> list[str]:
    facts = [str(_log(run).get("source") or "")]
    rows = _log(run).get("rows")
    facts.append(f"{rows:,} rows" if isinstance(rows, int) else "")
    facts.append(f"{run.results['policy'].nunique()} policies")
    facts.append(f"seed {run.metadata['seed']}" if "seed" in run.metadata else "")
    facts.append(str(run.metadata.get("date") or ""))
    return [fact for fact in facts if fact]

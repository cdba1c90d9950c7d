"""The page of a run: one self-contained report.html, and its figures and their data as files beside it."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bidpilot.ctr.files import write_atomically
from bidpilot.experiments.plots_style import THEME, Look, inline_svg, looks, save
from bidpilot.experiments.report_exhibits import SECTIONS, Exhibit, exhibits
from bidpilot.experiments.report_format import COLUMNS, budget_tables, fit_table, flatten, limit_table
from bidpilot.experiments.report_input import OPTIONAL, Run, read_run

_NO_CURRENCY = "currency units"
_HYPHEN = re.compile(r"(?<![\w.])-(?=\d)")
"""The sign of a negative number, as keyboards write it."""


@dataclass(frozen=True, slots=True)
class Panel:
    """An exhibit ready for the page: the figure as SVG and PNG, the data as CSV."""

    section: str
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
    panels = [_panel(exhibit) for exhibit in exhibits(run, styles, _currency(run))]
    page = render(folder.resolve().name, run, panels, styles)
    for panel in panels:
        write_atomically(folder / "figures" / f"{panel.name}.png", panel.png)
        write_atomically(folder / "figures" / f"{panel.name}.csv", panel.csv)
    write_atomically(folder / "report.html", page)
    return folder / "report.html"


def _panel(exhibit: Exhibit) -> Panel:
    figure = exhibit.draw()
    svg = inline_svg(figure, exhibit.name)
    return Panel(
        exhibit.section,
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
        summary=[_HYPHEN.sub("\N{MINUS SIGN}", line) for line in run.summary],
        facts=_facts(run),
        columns=COLUMNS,
        currency=_currency(run),
        tables=tables,
        opened=len(tables) // 2,
        sections={name: (title, [p for p in panels if p.section == name]) for name, title in SECTIONS.items()},
        colours={policy: THEME[look.colour] for policy, look in styles.items()},
        fit=None if run.fit is None else fit_table(run.fit),
        limits=None if run.limits is None else limit_table(run.limits),
        absent=[table.file for name, table in OPTIONAL.items() if getattr(run, name) is None],
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

"""The whole page, read as a browser reads it: well-formed, self-contained, and every figure with words and data."""

from __future__ import annotations

import base64
import io
import re
import shutil
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bidpilot.experiments.plots_style import looks
from bidpilot.experiments.report import render, write_report
from bidpilot.experiments.report_exhibits import SECTIONS, exhibits
from bidpilot.experiments.report_input import OPTIONAL, RESULTS, read_run

if TYPE_CHECKING:
    from pathlib import Path

VOID = {"meta", "input", "br", "wbr", "link", "img", "hr", "source"}
FIGURES = {
    "earned": ("r_over_rstar", "roi", "value", "differences", "improvement", "profile"),
    "money": ("pacing", "pacing_error", "segments", "hours"),
    "agent": ("learning", "moves", "answers"),
    "market": ("landscape", "calibration_click", "slices_click", "calibration_conversion", "slices_conversion"),
}


def invented(folder: Path) -> None:
    """Write a run folder that has every table: three policies at two budgets, two segments, six hours."""
    who = {"policy": ["oracle", "ppo", "pid"], "role": ["oracle", "learner", "baseline"]}
    results = [
        pd.DataFrame(who | dict.fromkeys(RESULTS.numbers, 0.5)).assign(
            budget=budget, budget_label=label, best_baseline="pid", difference=[0.02, 0.01, 0.0]
        )
        for label, budget in (("1/4", 0.25), ("1/8", 0.125))
    ]
    pd.concat(results).to_csv(folder / RESULTS.file, index=False)
    kinds: dict[str, list[Any]] = {"event": ["click", "conversion"], "slice": ["segment", "hour"], "name": ["0", "1"]}
    kinds |= {
        "limit": ["budget"],
        "segment": ["new", "old"],
        "policy": ["ppo", "pid"],
        "learner": ["ppo"],
        "model": ["logistic"],
    }
    kinds |= {"role": [""], "budget_label": [""]}
    for table in OPTIONAL.values():
        grid = {name: kinds[name] for name in table.text}
        grid |= {name: [0.125, 0.25] for name in ("budget",) if name in table.numbers}
        steps = next((name for name in ("hour", "tick", "tau", "steps", "bid", "bin") if name in table.key), None)
        grid |= {steps: np.arange(1.0, 7.0).tolist()} if steps else {}
        grid |= {"left": [0.25, 0.75]} if "left" in table.key else {}
        frame = pd.DataFrame(index=pd.MultiIndex.from_product(list(grid.values()), names=list(grid))).reset_index()
        rest = [name for name in table.numbers if name not in frame]
        frame[rest] = 0.1 + np.arange(len(frame) * len(rest)).reshape(len(frame), -1) % 7 / 8
        if "role" in frame:
            frame["role"] = np.where(frame["policy"] == "ppo", "learner", "baseline")
            frame["budget_label"] = np.where(frame["budget"] == 0.25, "1/4", "1/8")
        frame.to_csv(folder / table.file, index=False)
    (folder / "summary.txt").write_text("At budget 1/8 ppo earns 2.0 % more than pid, between 1.0 and 3.0.\n")
    (folder / "metadata.json").write_text('{"seed": 7, "log": {"currency": "EUR", "rows": 1200}}')
    (folder / "run.yaml").write_text("seed: 7\n")


class Page(HTMLParser):
    """Reads a page: checks that tags close in order, keeps all attributes, and what is inside each figure."""

    def __init__(self, text: str) -> None:
        """Read the text."""
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.figures: dict[str, list[tuple[str, dict[str, str | None]]]] = {}
        self.words: dict[str, str] = {}
        self._figure = ""
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        found = dict(attrs)
        assert len(found) == len(attrs), f"an attribute of <{tag}> twice"
        self.tags.append((tag, found))
        if tag == "figure":
            self._figure = str(found["id"])
            self.figures[self._figure], self.words[self._figure] = [], ""
        elif self._figure:
            self.figures[self._figure].append((tag, found))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag that closes itself, as in SVG."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the tag opened last."""
        assert self.open.pop() == tag, f"</{tag}> closes another tag"
        self._figure = "" if tag == "figure" else self._figure

    def handle_data(self, data: str) -> None:
        """Keep the words of captions."""
        if self._figure and "figcaption" in self.open:
            self.words[self._figure] += data


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of an invented run that has every table."""
    folder = tmp_path_factory.mktemp("page") / "run"
    folder.mkdir()
    invented(folder)
    return write_report(folder)


@pytest.fixture(scope="module")
def page(path: Path) -> Page:
    """Return the page, read."""
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_is_well_formed_and_its_ids_are_its_own(page: Page) -> None:
    """Tags close in order (the reader checks that), no id is given twice, and what is referred to is there."""
    ids = [str(found["id"]) for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))
    referred = [str(found[name]) for _, found in page.tags for name in ("href", "xlink:href", "for") if name in found]
    inner = [name.removeprefix("#") for name in referred if name.startswith("#")]
    described = [str(found["aria-describedby"]) for _, found in page.tags if "aria-describedby" in found]
    clips = [name for _, found in page.tags for name in re.findall(r"url\(#(\w+)\)", str(found.get("clip-path", "")))]
    assert set(inner + described + clips) <= set(ids)
    assert len(described) == len(page.figures)


def test_nothing_comes_from_elsewhere(page: Page, path: Path) -> None:
    """Links lead inside the page or are data; no tag loads anything; the policy forbids it to the browser, too."""
    for tag, found in page.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed"}
        assert not {"src", "srcset", "action", "onclick"} & set(found)
        for name in ("href", "xlink:href"):
            assert str(found.get(name, "#")).startswith(("#", "data:text/csv"))
    assert not re.search(r"https?://|@import|url\((?!#)", path.read_text(encoding="utf-8"))
    policies = [found["content"] for _, found in page.tags if found.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_every_figure_has_its_place_its_words_and_its_data(page: Page, path: Path) -> None:
    """In the order of the sections: an image with a name, a caption, and the CSV that lies beside the page, too."""
    assert list(page.figures) == [name for names in FIGURES.values() for name in names]
    assert list(FIGURES) == list(SECTIONS)
    for name, tags in page.figures.items():
        image = next(found for tag, found in tags if found.get("role") == "img")
        assert image["aria-label"]
        assert sum(tag == "svg" for tag, _ in tags) == 1
        assert len(page.words[name].split()) > 12, name
        link = next(found for tag, found in tags if tag == "a")
        assert link["download"] == f"{name}.csv"
        data = base64.b64decode(str(link["href"]).partition(",")[2])
        assert data == (path.parent / "figures" / f"{name}.csv").read_bytes()
        assert len(pd.read_csv(io.BytesIO(data))) > 0


def test_axes_have_units(path: Path) -> None:
    """What is a share says per cent, money says its currency, time says hours."""
    html = path.read_text(encoding="utf-8")
    units = ("R/R* [%]", "Value [EUR]", "Spent [% of budget]", "Hours since the start", "Bid [EUR]", "Budget left [%]")
    assert [
        unit for unit in (*units, "Share of spend [%]", "Hour of day", "Chance on a day [%]") if unit not in html
    ] == []


def test_it_fits_a_phone_a_dark_room_and_paper(page: Page, path: Path) -> None:
    """Viewport, a dark scheme that gives every colour of the light one anew, and rules for print."""
    metas = {str(found.get("name")): found.get("content") for tag, found in page.tags if tag == "meta"}
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert metas["color-scheme"] == "light dark"
    css = path.read_text(encoding="utf-8").partition("</style>")[0]
    light, dark = (
        css[css.index(mark) :].partition("}")[0] for mark in (":root {", "@media screen and (prefers-color-scheme")
    )
    names = set(re.findall(r"--[\w-]+(?=:)", light))
    assert {"--ink", "--card", "--c0", "--c5"} <= names
    assert names == set(re.findall(r"--[\w-]+(?=:)", dark))
    assert "@media print" in css
    assert "@media (max-width: 600px)" in css


def shown(folder: Path) -> list[str]:
    """Return the names of the figures that a run folder has the tables for."""
    run = read_run(folder)
    return [exhibit.name for exhibit in exhibits(run, looks(run.results), "EUR")]


@pytest.mark.parametrize(
    ("absent", "gone"),
    [
        ("comparison", {"improvement"}),
        ("profile", {"profile"}),
        ("money", {"segments", "hours"}),
        ("moves", {"moves", "answers"}),
        ("slices", {"slices_click", "slices_conversion"}),
        ("landscape", {"landscape"}),
    ],
)
def test_a_missing_table_leaves_out_its_figures_and_says_so(
    absent: str, gone: set[str], path: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(path.parent, tmp_path / "run")
    (folder / OPTIONAL[absent].file).unlink()
    assert shown(folder) == [name for names in FIGURES.values() for name in names if name not in gone]
    run = read_run(folder)
    said = render("run", run, [], looks(run.results))
    assert f"for want of their files in the run folder: {OPTIONAL[absent].file}." in said


def test_a_comparison_of_nobody_is_left_out(path: Path, tmp_path: Path) -> None:
    """Without a learner comparison.csv has a header and no rows."""
    folder = shutil.copytree(path.parent, tmp_path / "run")
    file = folder / OPTIONAL["comparison"].file
    file.write_text(file.read_text().splitlines()[0] + "\n")
    assert "improvement" not in shown(folder)

"""The README and the pages of experiments/docs do what they say: every block of code is run.

The blocks of a page are run in order, in one folder and one namespace. A comment on the line before a block says that
it is a file's content (file: NAME), or why it is not run (not run: REASON); the latter are listed here.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.mapping import load_mapping
from bidpilot.ctr.synthetic import Exchange, ExchangeConfig
from bidpilot.experiments.cli import main
from bidpilot.experiments.config import load_settings
from bidpilot.experiments.notebook import Part, notebook, parts

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "experiments" / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
NOT_RUN = {"README.md": ["it installs bidpilot, and runs these tests"]}
SMALL = (
    *("days.train=4", "days.validate=2", "days.tune=2", "days.opportunities=2000", "days.replicates=20"),
    *("learner.steps=1000", "learner.envs=2", "learner.evaluations=1", "model.epochs=1", "budgets=[1/8]"),
)
SHELL = {"source"}
"""Commands of a page that prepare the reader's shell, and are nothing to run here."""


@dataclass
class Reader:
    """Somebody who does what a page says, with small settings where a block leaves them open."""

    folder: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})

    def read(self, part: Part) -> None:
        """Do what a block says."""
        if part.file:
            path = self.folder / part.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(part.text)
        elif part.language == "python":
            exec(compile(part.text, f"line {part.line}", "exec"), self.names)  # noqa: S102 - that is the point
        elif part.language == "sh":
            for line in part.text.splitlines():
                self.type(line)
        if part.language == "yaml":
            self.load(part)

    def type(self, line: str) -> None:
        """Run a command in this process, as the console script would; variables before it are the shell's."""
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z]+=.*", words[0]):
            words.pop(0)
        if not words or words[0] in SHELL:
            return
        assert words[0] == "bidpilot", f"nothing is known of the command: {line}"
        with pytest.raises(SystemExit) as stop:
            main(*words[1:], *_small(words))
        assert not stop.value.code, f"exit code {stop.value.code} of: {line}"

    def load(self, part: Part) -> None:
        """Load YAML by what it is for: a mapping has time, settings have not."""
        path = self.folder / (part.file or "block.yaml")
        path.write_text(part.text)
        if re.search("^time:", part.text, re.MULTILINE):
            load_mapping(path)
        else:
            load_settings(path, {})


def _small(words: list[str]) -> list[str]:
    """Return small settings for a command that begins a run and names no file of settings."""
    if words[1] not in {"fit", "compare"} or "--log" not in words:
        return []
    given = {word.partition("=")[0] for word in words}
    pairs = [*SMALL, *(["baselines=[linear, incremental]"] if words[1] == "compare" else [])]
    return [part for pair in pairs if pair.partition("=")[0] not in given for part in ("--set", pair)]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Return a reader in an empty folder, which Python looks for modules in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bidpilot"])
    return Reader(tmp_path)


LONG = {"tutorial.md"}
"""Pages that take more than a minute."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page.name in LONG), id=page.name) for page in PAGES]
)
def test_a_page_does_what_it_says(page: Path, reader: Reader) -> None:
    if page.name == "README.md":
        _own_log(reader.folder / "mine.csv")
    for part in parts(page.read_text()):
        if part.language and not part.not_run:
            try:
                reader.read(part)
            except BaseException as error:
                error.add_note(f"{page.name}, line {part.line}")
                raise
    if page.name == "README.md":
        again, first = (reader.folder / "runs" / name / "results.csv" for name in ("again", "mine"))
        assert again.read_bytes() == first.read_bytes()


def test_what_is_not_run_is_listed_here() -> None:
    for page in PAGES:
        kept = [part for part in parts(page.read_text()) if part.language]
        assert [part.not_run for part in kept if part.not_run] == NOT_RUN.get(page.name, [])
        assert {part.language for part in kept} <= {"python", "sh", "yaml"}
        assert all(part.file or part.not_run for part in kept if part.note), "a comment that means nothing"


def test_every_option_of_the_pages_exists(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Options in prose, too: the command that a page names has them."""
    monkeypatch.setattr(sys, "argv", ["bidpilot"])
    text = "\n".join(page.read_text() for page in PAGES)
    for line in re.findall(r"bidpilot (?:[a-z]+)(?: [^`\n]*)?", text):
        command, *words = line.split()[1:] or [""]
        with contextlib.suppress(SystemExit):
            main(command, "--help")
        shown = capsys.readouterr()
        options = {word.rstrip(",.;:)") for word in words if re.match("--[a-z]", word)}
        assert not options or options <= set(re.findall(r"--[a-z-]+", shown.out)), line


def test_the_notebook_is_the_page() -> None:
    page = DOCS / "tutorial.md"
    made = json.loads(page.with_suffix(".ipynb").read_text())
    again = "python -m bidpilot.experiments.notebook experiments/docs/tutorial.md"
    assert made == notebook(page.read_text()), f"the page has changed; make the notebook again: {again}"
    kinds = [cell["cell_type"] for cell in made["cells"]]
    assert {"markdown", "code"} == set(kinds)
    assert len({cell["id"] for cell in made["cells"]}) == len(kinds)


def test_parts_of_a_page() -> None:
    page = "# A\n\n<!-- file: a.yaml -->\n```yaml\nb: 1\n```\nmore\n<!-- not run: long -->\n```sh\nsleep 9\n```\n"
    found = parts(page)
    assert [(part.language, part.line, part.file, part.not_run) for part in found] == [
        ("", 1, "", ""),
        ("yaml", 4, "a.yaml", ""),
        ("", 7, "", ""),
        ("sh", 9, "", "long"),
    ]
    cells = notebook(page)["cells"]
    assert ["".join(cell["source"]) for cell in cells][1::2] == ["%%writefile a.yaml\nb: 1", "```sh\nsleep 9\n```"]
    assert cells[3]["cell_type"] == "markdown"
    for broken in ("```\nx\n```\n", "```sh\nx\n"):
        with pytest.raises(InputError, match="fence"):
            parts(broken)


def _own_log(path: Path) -> None:
    """Write a log with the columns of the README's mapping."""
    log, _ = Exchange(ExchangeConfig(opportunities=1500.0)).logged(5, np.random.default_rng(3))
    frame = log.frame
    table = {
        "ts": (pd.Timestamp("2026-03-02") + pd.to_timedelta(frame["time"].round(3), unit="s")).astype(str),
        "won": frame["won"].astype(int),
        "paid_cpm": np.where(frame["won"], (frame["price"] / 1000).astype(str), ""),
        "bid_cpm": frame["bid"] / 1000,
        "clicked": frame["click"],
        "bought": frame["conversion"],
        "margin": frame["value"].round(4),
        "audience": frame["segment"],
        "site": frame["site"],
        "device": frame["device"],
        "age": 20 + np.arange(len(frame)) % 50,
        "auction_id": np.arange(len(frame)),
    }
    pd.DataFrame(table).to_csv(path, index=False)

"""The stages in a row, with what each tells a person; the command line and the demo call these."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import pandas as pd
import torch
from rich.console import Console

from bidpilot.agents.registry import find_policy, named
from bidpilot.ctr.files import write_atomically
from bidpilot.experiments.compare import compare, judge
from bidpilot.experiments.export import export
from bidpilot.experiments.fidelity import FIGURES, POLICY_TABLES, TABLES, fidelity, printed
from bidpilot.experiments.fit import fit
from bidpilot.experiments.prepare import prepare
from bidpilot.experiments.report import write_report
from bidpilot.experiments.run import Run
from bidpilot.experiments.source import load_source
from bidpilot.experiments.tables import markdown_table, model_table, terminal_tables
from bidpilot.experiments.tracking import check_tracking, track_comparison, track_training
from bidpilot.experiments.train import PLAIN, checkpoints, train
from bidpilot.experiments.tune import tune_run
from bidpilot.experiments.tune_words import gain_table, gain_words
from bidpilot.experiments.tuned import FILE
from bidpilot.experiments.where import where
from bidpilot.experiments.words import summary

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.experiments.evaluate import Contender
    from bidpilot.experiments.prepare import Arena
    from bidpilot.experiments.source import Source
    from bidpilot.experiments.train import Session
    from bidpilot.experiments.tune import Task

WIDE = 150
"""Columns of text where the output is not a terminal."""


def readable_console() -> Console:
    """Return a console as wide as the terminal; where output goes to a file, wide enough for most columns."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)


class Stages:
    """One run's stages, reporting to a console. The log is read once; a stage that is done is not done again."""

    def __init__(self, run: Run, console: Console | None = None) -> None:
        """Set the number of threads (1 by default: more is many times slower on a busy machine)."""
        torch.set_num_threads(run.settings.threads)
        self.run = run
        self.console = console or readable_console()
        self._source: Source | None = None

    @property
    def source(self) -> Source:
        """The run's log, read on first use."""
        if self._source is None:
            self._source = load_source(self.run.settings)
            facts = self._source.facts
            self.say(
                f"log: {facts['source']}, {facts['rows']:,} opportunities, {len(self._source.train):,} to train on"
            )
            for rule, count in facts.get("rows_set_aside", {}).items():
                self.say(f"  set aside (quarantine.csv): {count:,} rows: {rule}")
            for note in facts.get("notes", []):
                self.say(f"  {note}")
        return self._source

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def fit(self, *, again: bool = False, resume: bool = False) -> None:
        """Fit the models, if that was not done; print their quality. resume: go on where a fit was killed."""
        if self.run.done("fit") and not again:
            return
        clock = time.monotonic()
        quality = fit(self.run, self.source, resume=resume)
        self.say(f"models fitted in {time.monotonic() - clock:.0f} s; on held-out rows:")
        self._print_quality(quality)
        self._print_models()
        for note in self.run.facts["model_notes"]:
            self.say(f"  {note}")

    def fidelity(self) -> None:
        """Compare the fitted market with the held-out rows; print in words what that shows, then the tables."""
        fidelity(self.run, self._source, self.say)
        folder = self.run.folder
        for line in (folder / "fidelity.txt").read_text().splitlines():
            self.say(line)
        for table in printed(folder):
            self.console.print(table)
        self.say(f"tables: {', '.join(str(folder / name) for name in (*TABLES, *POLICY_TABLES))}")
        self.say(f"figures: {', '.join(str(folder / name) for name in FIGURES)}")

    def train(self, session: Session = PLAIN, *, again: bool = False) -> None:
        """Train the learner, if that was not done; print what training brought. session: what is asked of this call."""
        check_tracking(self.run.settings)
        self.fit()
        if self.run.done("train") and not again:
            if not session.resume:
                return
            if not checkpoints(self.run).some:
                self.say("the training is done and left nothing to go on with; --again trains anew")
                return
        clock = time.monotonic()
        _ = self.source
        curve = train(self.run, self._source, session)
        for sentence in self.run.facts["training"]:
            self.say(sentence)
        best = curve["score"].max()
        if curve["score"].idxmax() == 0:
            self.say(
                "training brought nothing on the validation days: the policy before training, its controller, is kept"
            )
        if "segment" in self.source.log and self.run.settings.scenario == "bidpilot/Pacing-v0":
            self.say("one multiplier for all segments; --scenario bidpilot/Targeting-v0 trains one for each")
        self.say(
            f"{self.run.settings.learner.algorithm} trained in {time.monotonic() - clock:.0f} s: {best:.4f} of the "
            f"possible on simulated validation days, the controller alone {curve['reference'].iloc[0]:.4f}"
        )
        self._tell(track_training(self.run))

    def tune(self, task: Task) -> pd.DataFrame:
        """Fit what is missing, search the baselines' settings, print what that brings on days that no trial saw."""
        self.fit()
        found = tune_run(self.run, prepare(self.run, self.source), task, self.say)
        self.console.print(gain_table(found))
        for line in gain_words(found):
            self.say(line)
        self.say(f"settings: {self.run.folder / FILE} (bidpilot compare takes them), trials: trials.csv beside it")
        return found

    def compare(self) -> pd.DataFrame:
        """Fit and train what is missing, compare everything, write and print the results."""
        for name in named(self.run.settings.baselines, self.run.settings.auction):
            find_policy(name)  # a wrong name should not cost the time to train
        self.train()
        arena = prepare(self.run, self.source)
        results = compare(self.run, self.source, arena, self.say)
        self._finish(results, arena, self.run)
        self._tell(track_comparison(self.run))
        return results

    def evaluate(self, contenders: list[Contender]) -> pd.DataFrame:
        """Evaluate these policies only, into the folder evaluate of the run."""
        target = Run.create(self.run.folder / "evaluate", self.run.settings)
        target.begin()
        target.note(**self.run.facts)
        arena = prepare(self.run, self.source)
        results = judge(self.run, self.source, contenders, arena, target)
        self._finish(results, arena, target)
        return results

    def export(self, path: Path | None = None) -> Path:
        """Export the trained policy, checked against its probes."""
        written = export(self.run, path)
        self.say(f"policy: {written} ({written.stat().st_size / 1024:.0f} KiB, checked against its probes)")
        return written

    def _tell(self, sentence: str) -> None:
        """Print a sentence, if there is one."""
        if sentence:
            self.say(sentence)

    def _finish(self, results: pd.DataFrame, arena: Arena, run: Run) -> None:
        currency = str(run.facts["log"]["currency"])
        for table in terminal_tables(results, currency, self.console.width):
            self.console.print(table)
        write_atomically(run.folder / "results.md", markdown_table(results, currency) + "\n")
        lines = summary(results, run.facts)
        write_atomically(run.folder / "summary.txt", "\n".join(lines) + "\n")
        for line in lines:
            self.say(line)
        self.say(f"intervals: {run.facts['intervals']}")
        where(self.run, self.source, arena, results, run)
        self.say(f"table:  {run.folder / 'results.csv'} (for people: results.md)")
        self.say(f"report: {write_report(run.folder)}")

    def _print_models(self) -> None:
        """Print the candidates side by side, where there are several, and which to use."""
        table = pd.read_csv(self.run.folder / "models.csv")
        if len(table) > 1:
            self.console.print(model_table(table))
        self.say(f"  {self.run.facts['model_advice']}")

    def _print_quality(self, quality: pd.DataFrame) -> None:
        for row in quality.to_dict("records"):
            line = f"  {row['event']} ({row['model']}): AUC {row['auc']:.3f}, log loss {row['log_loss']:.5f}, "
            line += f"ECE {row['ece']:.5f} (a perfect model: {row['ece_floor']:.5f}, at most {row['ece_bound']:.5f}), "
            line += (
                f"predicted/actual {row['predicted_over_actual']:.3f} [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]"
            )
            if not math.isnan(row["excess_log_loss_percent"]):
                line += f", log loss {row['excess_log_loss_percent']:.2f} % above the truth's"
            self.say(line)

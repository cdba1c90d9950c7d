"""The figures of a page: which a run has the tables for, under which heading, and what each says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bidpilot.experiments import plots, plots_agent, plots_comparison, plots_models, plots_money
from bidpilot.experiments.plots_axes import shown_budget
from bidpilot.experiments.plots_style import Look, shorten
from bidpilot.experiments.report_input import EVENTS, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from matplotlib.figure import Figure

RESULT_KEYS = ["policy", "role", "budget", "budget_label"]

SECTIONS = {
    "earned": "What it earned",
    "money": "Where the money went",
    "agent": "What the agent does",
    "market": "The market and its models",
}
"""The headings that figures stand under, by id."""


@dataclass(frozen=True)
class Exhibit:
    """One figure of the page: its section and name, what it says, how it is drawn, and the numbers it is drawn from."""

    section: str
    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]
    data: pd.DataFrame


def exhibits(run: Run, styles: dict[str, Look], money: str) -> Iterator[Exhibit]:
    """Yield the figures that a run has the tables for, in the order of the page. money: name of the currency."""
    yield from _earned(run, styles, money)
    yield from _spent(run, styles)
    yield from _agent(run, styles)
    yield from _market(run, money)


def _earned(run: Run, styles: dict[str, Look], money: str) -> Iterator[Exhibit]:
    yield from _frontiers(run.results, styles, money)
    if run.results["difference"].notna().any():
        yield Exhibit(
            "earned",
            "differences",
            "Better than the best baseline?",
            "Each policy met the same days and people as the best baseline of that budget; the point is the mean "
            "difference in R/R*, the bar its 95 % interval. Right of the line is better, and a bar that crosses the "
            f"line settles nothing. Shown: learners, the oracle, and the {plots_comparison.NEAREST} nearest other "
            "baselines.",
            partial(plots_comparison.differences, run.results, styles),
            run.results[[*RESULT_KEYS, "best_baseline", "difference", "difference_low", "difference_high"]],
        )
    if run.comparison is not None:
        labels = run.results.drop_duplicates("budget").set_index("budget")["budget_label"]
        chances = run.comparison.assign(budget_label=run.comparison["budget"].map(labels).fillna("?"))
        yield Exhibit(
            "earned",
            "improvement",
            "How often does it win?",
            "On what share of days the learner earned a larger part of R* than each rival, ties counted half, with "
            f"95 % intervals. At the line it is a coin toss. Shown: the {plots_comparison.RIVALS} rivals that are "
            "hardest to beat; the data holds all, with p-values, also adjusted for their number (Holm).",
            partial(plots_comparison.improvement, chances, styles),
            chances,
        )
    if run.profile is not None:
        yield Exhibit(
            "earned",
            "profile",
            "How good are its bad days?",
            "Performance profile: the share of days and budgets on which a policy earned more than so much of R*. "
            "Further right is better; a long slope to the left means some bad days. Bands: 95 % intervals.",
            partial(plots_comparison.profile, run.profile, styles),
            run.profile,
        )


def _frontiers(results: pd.DataFrame, styles: dict[str, Look], money: str) -> Iterator[Exhibit]:
    one = len(results["budget"].unique()) == 1
    oracle = "the oracle, the best single multiplier in hindsight"
    bands = (
        f"Bars: 95 % intervals. Black: {oracle}."
        if one
        else f"Bands: 95 % intervals of the highlighted policies. Grey: the other baselines. Dashed: {oracle}."
    )
    captions = {
        "r_over_rstar": (
            "Share of the best possible value",
            "R/R* [%]",
            f"R* is the most expected worth that the budget could have bought, knowing every price beforehand. {bands}",
        ),
        "roi": ("Return on investment", "ROI [%]", f"(Value - spend) / spend. {bands}"),
        "value": ("Value won", f"Value [{shorten(money)}]", f"{'' if one else 'Both axes are logarithmic. '}{bands}"),
    }
    for metric, (title, axis, caption) in captions.items():
        yield _frontier("earned", results, metric, (title, axis, caption), styles)


def _frontier(
    section: str, results: pd.DataFrame, metric: str, words: tuple[str, str, str], styles: dict[str, Look]
) -> Exhibit:
    title, axis, caption = words
    draw = partial(plots.frontier, results, metric, axis, styles, money=metric == "value")
    data = results[[*RESULT_KEYS, metric, f"{metric}_low", f"{metric}_high"]]
    return Exhibit(section, metric, title, caption, draw, data)


def _spent(run: Run, styles: dict[str, Look]) -> Iterator[Exhibit]:
    if run.ticks is not None:
        yield Exhibit(
            "money",
            "pacing",
            "Spend against plan",
            "Mean spend so far as a share of the budget. The dashed line is the ideal plan: what the best single "
            "bid multiplier, chosen in hindsight, would have spent by then.",
            partial(plots.pacing, run.ticks, styles),
            run.ticks,
        )
    caption = (
        "Mean distance of the spend so far from that plan, in per cent of the budget: 0 is on plan all day. "
        "Lower is steadier, not always better: who knows more than the plan may leave it. Bands and bars: 95 %."
    )
    words = ("Pacing error", "Pacing error [%]", caption)
    played = run.results[run.results["role"] != "oracle"]
    if len(played):
        yield _frontier("money", played, "pacing_error", words, styles)
    if run.money is None:
        return
    shown = run.money[run.money["budget"] == shown_budget(run.money["budget"])]
    where = f"budget {shown['budget_label'].iloc[0]}"
    yield Exhibit(
        "money",
        "segments",
        f"Where the money went, {where}",
        "Left: each segment's share of the spend; the tick is its share of the predicted worth that was offered. "
        "Right: expected worth won per unit of money. Money is best spent where the last unit brings as much in each "
        f"segment. Mean of the evaluation days; the data also holds {_other_budgets(run.money)}.",
        partial(plots_money.by_segment, shown),
        run.money,
    )
    yield Exhibit(
        "money",
        "hours",
        f"When the money went, {where}",
        "Spend by segment and hour since the start, in per cent of the policy's whole spend, the strongest colour for "
        "the largest. Below: the difference, where the first spent more and where less than the second, in "
        "percentage points.",
        partial(plots_money.by_hour, shown),
        shown,
    )


def _other_budgets(table: pd.DataFrame) -> str:
    return "the other budgets" if len(table["budget"].unique()) > 1 else "the hours"


def _agent(run: Run, styles: dict[str, Look]) -> Iterator[Exhibit]:
    if run.learning is not None:
        yield Exhibit(
            "agent",
            "learning",
            "How the agent learned",
            "Mean R/R* on validation days that training never touched, with its 95 % interval. The dashed line is the "
            "controller that the agent corrects, left alone (zero action) on the same days.",
            partial(plots_agent.learning, run.learning),
            run.learning,
        )
    if run.moves is not None:
        yield Exhibit(
            "agent",
            "moves",
            "What it bids over the day",
            "Bid multiplier: bid per unit of predicted worth, the mean over segments by the worth offered there. "
            "Line: median of the evaluation days; band: 80 % of them. Played, not asked. Logarithmic.",
            partial(plots_agent.moves, run.moves, styles),
            run.moves,
        )
    if run.answers is not None and run.moves is not None:
        budget = shown_budget(run.answers["budget"])
        asked = run.answers[run.answers["budget"] == budget]
        policy = asked["policy"].iloc[0]
        asked = asked[asked["policy"] == policy]
        played = run.moves[(run.moves["budget"] == budget) & (run.moves["policy"] == policy)]
        yield Exhibit(
            "agent",
            "answers",
            f"With more or less left, budget {asked['budget_label'].iloc[0]}",
            f"How {shorten(str(policy))} would change its next bid had more or less of the budget been left at that "
            "hour, all else as played; median of the first evaluation days. Dashed: what was left in fact, its band "
            "80 % of the days. Computed by asking copies of the policy; far from the band it is a guess of a state "
            "that never came.",
            partial(plots_agent.answers, asked, played),
            run.answers,
        )


def _market(run: Run, money: str) -> Iterator[Exhibit]:
    if run.landscape is not None:
        yield Exhibit(
            "market",
            "landscape",
            "What a bid wins and costs",
            "Above: the share of auctions that a bid wins, on the evaluation days and by the price model fitted to the "
            "training days. Below: what a win costs on average; the distance to the dashed line is what the auction's "
            "rule leaves to the winner. One bid for all impressions; logarithmic but for the shares.",
            partial(plots_models.landscape, run.landscape, shorten(money)),
            run.landscape,
        )
    for event in EVENTS:
        own = None if run.calibration is None else run.calibration[run.calibration["event"] == event]
        if own is not None and (own["count"] > 0).any():
            own = own[own["count"] > 0]
            yield Exhibit(
                "market",
                f"calibration_{event}",
                f"Are {event} predictions true?",
                f"Held-out rows in bins of predicted {event} probability: on the dashed line, what was predicted "
                "happened. Bars: 95 % intervals; a point on the lower edge never happened. Below: how many rows each "
                "bin holds.",
                partial(plots_models.calibration, own, event),
                own,
            )
        parts = None if run.slices is None else run.slices[run.slices["event"] == event]
        if parts is not None and parts["slice"].isin(["segment", "hour"]).any():
            yield Exhibit(
                "market",
                f"slices_{event}",
                f"Are {event}s true by segment and hour?",
                f"Predicted over actual {event}s on held-out rows: 1 (dashed) is right, above 1 too many were "
                f"predicted. Bars: 95 % intervals. The {plots_models.MOST} segments with the most rows. The data also "
                "holds the tenths by prediction, and the rows that bidding by worth would win.",
                partial(plots_models.slices, parts, event),
                parts,
            )

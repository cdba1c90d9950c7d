"""A log larger than memory, small: fitted from disk in pieces, sampled for all else, replayed to its last row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bidpilot.ctr import chunks, streamed_response
from bidpilot.ctr.chunks import ParquetLog
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fitting import ResponseConfig
from bidpilot.ctr.metrics import auc
from bidpilot.ctr.readers import read_log
from bidpilot.ctr.streamed_response import fit_streamed
from bidpilot.ctr.thinning import EvenLog, joined
from bidpilot.ctr.window import Window
from bidpilot.envs.timeline import split
from bidpilot.experiments.benchmarks.big_log import write_log
from bidpilot.experiments.config import load_settings
from bidpilot.experiments.fit import fit, load_beliefs
from bidpilot.experiments.prepare import evaluation_days, prepare
from bidpilot.experiments.replay_run import held_out, replay_run
from bidpilot.experiments.run import Run
from bidpilot.experiments.source import load_source

if TYPE_CHECKING:
    from pathlib import Path

ROWS, DAY = 24_000, 86_400.0
DAYS: dict[str, Any] = {"train": 2, "validate": 2, "tune": 2, "opportunities": 300}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("big") / "log.parquet"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bidpilot.experiments.benchmarks.big_log.ROW_GROUP", 1000)
        rows = write_log(file, ROWS, days=6)
    assert rows == pytest.approx(ROWS, rel=0.03)
    assert pq.ParquetFile(file).num_row_groups >= 24
    return file


@pytest.fixture(scope="module")
def disk(path: Path) -> ParquetLog:
    return ParquetLog(path, path.with_suffix(".yaml"))


@pytest.fixture(scope="module")
def whole(path: Path) -> pd.DataFrame:
    return read_log(path, mapping=path.with_suffix(".yaml")).log.frame


def settings(path: Path, **changes: object) -> dict[str, Any]:
    given: dict[str, Any] = {"log": str(path), "mapping": str(path.with_suffix(".yaml")), "days": DAYS}
    given |= {"model": {"kind": "logistic", "epochs": 2}, "stream": {"above": 1000, "sample": 6000}}
    return given | {"ticks_per_day": 24, "budgets": ["1/8"]} | changes


def test_a_window_is_the_rows_between_two_times(disk: ParquetLog, whole: pd.DataFrame) -> None:
    begin, valid, end = 2.3 * DAY, 3.7 * DAY, 4.1 * DAY
    parts = list(Window(disk, begin, valid, end).chunks())
    for train, low, high in ((True, begin, valid), (False, valid, end)):
        found = joined(part for part, told in parts if told == train).frame
        wanted = whole[(whole["time"] >= low) & (whole["time"] < high)].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, wanted)


def test_row_groups_before_the_window_are_not_read(
    disk: ParquetLog, whole: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "ROWS", 500)
    lines: list[int] = []
    texts = chunks._texts

    def watched(*given: Any) -> Any:  # noqa: ANN401 - whatever it is called with
        for cells in texts(*given):
            lines.append(int(cells.index[0]))
            yield cells

    monkeypatch.setattr(chunks, "_texts", watched)
    found = joined(part for part, _ in Window(disk, begin=4.5 * DAY).chunks())
    before = int((whole["time"] < 4.5 * DAY).sum())
    assert len(found) == len(whole) - before
    assert before - 1000 < lines[0] <= before + 1, "rows keep their numbers"


def test_every_so_many_rows(disk: ParquetLog, whole: pd.DataFrame) -> None:
    found = joined(disk.thinned(7)).frame
    pd.testing.assert_frame_equal(found, whole.iloc[::7].reset_index(drop=True))


def test_evenly_spaced_rows_of_a_log_in_pieces(disk: ParquetLog, whole: pd.DataFrame) -> None:
    kept = EvenLog(4000)
    for part, _ in disk.chunks():
        for start in range(0, len(part), 777):
            kept.add(part.rows(slice(start, start + 777)))
    assert (kept.stride, kept.seen) == (8, len(whole))
    pd.testing.assert_frame_equal(kept.log().frame, whole.iloc[::8].reset_index(drop=True))
    with pytest.raises(InputError, match="no rows"):
        joined(())


def test_disorder_is_refused_with_what_to_do(tmp_path: Path, path: Path) -> None:
    table = pq.read_table(path)
    mixed = tmp_path / "mixed.parquet"
    pq.write_table(table.take(np.random.default_rng(0).permutation(len(table))), mixed)
    with pytest.raises(InputError, match=r"earlier than in rows before it.*bidpilot sort FILE --out SORTED"):
        load_source(load_settings(None, settings(path) | {"log": str(mixed)}))


def test_clicks_are_learned_with_few_of_the_other_rows(
    disk: ParquetLog, whole: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_response, "ROOM", 3000)
    monkeypatch.setattr(streamed_response, "CLICKED", 100)
    window = Window(disk, valid=3.5 * DAY, end=4 * DAY)
    config = ResponseConfig(epochs=4)
    logistic, deepfm = fit_streamed(window, ("logistic", "deepfm"), config, np.random.default_rng(0), tmp_path)
    assert (logistic.name, deepfm.name) == ("logistic", "deepfm")
    seen = whole[(whole["time"] < 4 * DAY) & whole["won"]]
    early = seen[seen["time"] < 3.5 * DAY]
    report = logistic.report.events[0]
    assert (report.rows, report.positives) == (len(early), int(early["click"].sum()))
    share = 3000 / (len(early) - early["click"].sum())
    assert f"{share:.1%} of the other" in report.note
    assert f"every 4th of {int(seen['click'].sum())} clicks" in logistic.report.events[1].note
    later = joined(part for part, _ in Window(disk, begin=4 * DAY).chunks())
    shown = later.rows(later.frame["won"].to_numpy())
    y = shown.frame["click"].to_numpy(np.float64)
    for fitted in (logistic, deepfm):
        p = fitted.response.predict(shown).pctr
        assert p.mean() == pytest.approx(y.mean(), rel=0.3), "dropped rows are corrected for"
        assert auc(y, p) > 0.58


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ({"kind": "trees"}, "trees needs the whole log"),
        ({"members": 2}, "members above 1 needs the whole log"),
        ({"joint": "mmoe"}, "joint needs the whole log"),
        ({"segments": True}, "segments needs the whole log"),
        ({"selection": 5.0}, "selection needs the whole log"),
    ],
)
def test_what_needs_memory_is_refused(path: Path, tmp_path: Path, model: dict[str, Any], what: str) -> None:
    run = Run.create(tmp_path / "run", load_settings(None, settings(path, model=model)))
    with pytest.raises(InputError, match=f"{what}.*raise stream.above"):
        fit(run)


def test_a_run_goes_on_from_a_sample_and_replays_all(
    path: Path, disk: ParquetLog, whole: pd.DataFrame, tmp_path: Path
) -> None:
    run = Run.create(tmp_path / "run", load_settings(None, settings(path)))
    source = load_source(run.settings)
    assert source.streamed is not None
    stride = source.streamed.stride
    assert (stride, source.facts["rows"]) == (5 if disk.rows > 24_000 else 4, disk.rows)
    pd.testing.assert_frame_equal(source.log.frame, whole.iloc[::stride].reset_index(drop=True))
    train, held = split(read_log(path, mapping=path.with_suffix(".yaml")).log, run.settings.train_share)
    assert source.train.frame["time"].iloc[-1] <= train.frame["time"].iloc[-1]
    pd.testing.assert_frame_equal(joined(held_out(source)()).frame, held.frame)
    quality = fit(run, source)
    assert quality["event"].tolist()[0] == "click"
    assert quality["auc"].iloc[0] > 0.55
    assert load_beliefs(run).prices is not None
    arena = prepare(run, source)  # what train and compare begin with
    assert len(arena.past.days) == 2
    assert sum(map(len, evaluation_days(run, source))) == len(source.held_out)
    said: list[str] = []
    table = replay_run(run, source, ["constant"], worlds=3, say=said.append)
    assert said[0].startswith(f"{len(held):,} opportunities in 2 episodes")
    assert (run.folder / "replay.csv").is_file()
    assert table["spend"].iloc[0] <= table["budget_currency"].iloc[0]
    assert 0.0 < table["coverage_spend"].iloc[0] <= 1.0

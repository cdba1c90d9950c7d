"""Parquet files in the order of time: the same rows, ties as they were, whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments import sort
from bidpilot.experiments.sort import sort_parquet

if TYPE_CHECKING:
    from pathlib import Path


def mixed(folder: Path, rows: int = 5000) -> tuple[Path, pd.DataFrame]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"at 'n\" when": rng.integers(0, 300, rows), "row": np.arange(rows), "name": ["é"] * rows})
    path = folder / "it's mixed.parquet"
    frame.to_parquet(path, index=False, row_group_size=700)
    return path, frame


def test_rows_come_in_order_and_ties_stay(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    path, frame = mixed(tmp_path)
    out = tmp_path / "new" / "sorted.parquet"
    assert sort_parquet(path, out, "at 'n\" when", 1.0) == len(frame)
    wanted = frame.sort_values("at 'n\" when", kind="stable", ignore_index=True)
    pd.testing.assert_frame_equal(pd.read_parquet(out), wanted, check_dtype=False)
    assert [file.name for file in out.parent.iterdir()] == ["sorted.parquet"], "nothing is left beside it"


def test_mistakes_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = mixed(tmp_path)
    monkeypatch.setattr(sort, "find_spec", lambda _: object())
    with pytest.raises(InputError, match="no column 'ts'; the file has at 'n"):
        sort_parquet(path, tmp_path / "out.parquet", "ts", 1.0)
    with pytest.raises(InputError, match="is the file itself"):
        sort_parquet(path, path, "row", 1.0)
    (tmp_path / "text.csv").write_text("a,b\n")
    with pytest.raises(InputError, match="not a Parquet file"):
        sort_parquet(tmp_path / "text.csv", tmp_path / "out.parquet", "a", 1.0)


def test_without_duckdb_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sort, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'bidpilot\[duckdb\]'"):
        sort_parquet(tmp_path / "any.parquet", tmp_path / "out.parquet", "ts", 1.0)

"""Work in processes that may be killed: what is done stays done, a killed piece is done again, once."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.workers import in_processes

ACT = """
import os, signal
from pathlib import Path
from bidpilot.ctr.errors import InputError

def act(piece):
    path = Path(piece)
    with path.open("a") as file:
        file.write(f"{os.getpid()}\\n")
    if "killed" in path.name and (path.name.startswith("always") or path.read_text().count("\\n") == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if path.name == "mistake":
        raise InputError("this will not do")
"""


@pytest.fixture
def act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Give a function that other processes can import; it leaves a line for each call."""
    (tmp_path / "bidpilot_act.py").write_text(ACT)
    monkeypatch.syspath_prepend(tmp_path)
    found: Callable[[str], Any] = importlib.import_module("bidpilot_act").act
    return found


def test_a_killed_process_is_started_once_more(act: Callable[[str], Any], tmp_path: Path) -> None:
    pieces = [str(tmp_path / name) for name in ("one", "killed", "three")]
    assert sorted(in_processes(pieces, act, 2)) == sorted(pieces)
    calls = [Path(piece).read_text().split() for piece in pieces]
    assert [len(lines) for lines in calls] == [1, 2, 1]
    assert str(os.getpid()) not in {line for lines in calls for line in lines}


def test_one_that_dies_again_is_told_of_when_the_others_are_done(
    act: Callable[[str], Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pieces = [str(tmp_path / name) for name in ("always killed", "mistake", "three")]
    done = []
    finished = in_processes(pieces, act, 1)
    done.append(next(finished))
    with pytest.raises(InputError, match=r"always killed \(killed twice, by signal 9.*mistake \(it failed"):
        next(finished)
    assert done == [pieces[2]]
    assert Path(pieces[0]).read_text().count("\n") == 2
    assert Path(pieces[1]).read_text().count("\n") == 1
    said = capfd.readouterr().err
    assert "this will not do" in said
    assert "Traceback" not in said

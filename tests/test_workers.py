"""Work in processes that may be killed: what is done stays done, a killed piece is done again, once."""

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.workers import in_processes, tried

WORK = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from bidpilot.ctr.errors import InputError

@dataclass(frozen=True)
class Named:
    folder: Path
    name: str

    def __str__(self):
        return self.name

    @property
    def path(self):
        return self.folder / self.name

    @property
    def calls(self):
        return self.path.with_suffix(".calls").read_text().split()

def content(piece):
    calls = piece.path.with_suffix(".calls")
    with calls.open("a") as file:
        file.write(f"{os.getpid()}\\n")
    first = calls.read_text().count("\\n") == 1
    if piece.name == "always killed" or (piece.name == "killed" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    if piece.name == "hangs" and first:
        time.sleep(60)
    if piece.name == "mistake":
        raise InputError("this will not do")
    if piece.name == "bug":
        raise ZeroDivisionError("by zero")
    return piece.name
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give pieces and a function that other processes can import; it leaves a line for each call."""
    (tmp_path / "bidpilot_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bidpilot_work", raising=False)
    return importlib.import_module("bidpilot_work")


def test_a_killed_process_is_replaced_and_its_piece_done_again(work: ModuleType, tmp_path: Path) -> None:
    pieces = [work.Named(tmp_path, name) for name in ("one", "killed", "three", "four")]
    assert sorted(map(str, in_processes(pieces, work.content, 2))) == ["four", "killed", "one", "three"]
    assert [piece.path.read_text() for piece in pieces] == [piece.name for piece in pieces]
    assert [len(piece.calls) for piece in pieces] == [1, 2, 1, 1]
    others = {line for piece in pieces for line in piece.calls}
    assert str(os.getpid()) not in others
    assert len(others) <= 3  # two processes, and one in place of the killed one


def test_what_goes_wrong_is_told_of_when_the_others_are_done(
    work: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pieces = [work.Named(tmp_path, name) for name in ("always killed", "mistake", "bug", "fine")]
    finished = in_processes(pieces, work.content, 1, "begin again")
    done = [next(finished)]
    with pytest.raises(InputError, match=r"always killed \(killed twice, by signal 9.*mistake \(this will") as caught:
        next(finished)
    assert done == pieces[3:]
    assert str(caught.value).endswith("what is done is kept: begin again")
    assert [len(piece.calls) for piece in pieces] == [2, 1, 1, 1]
    said = capfd.readouterr().err
    assert "mistake: this will not do" in said
    assert said.count("Traceback") == 1  # of the bug


def test_a_piece_that_hangs_is_ended_and_done_again(
    work: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    piece = work.Named(tmp_path, "hangs")
    assert list(in_processes([piece], work.content, 1, seconds=2.0)) == [piece]
    assert len(piece.calls) == 2
    assert "Timeout" in capfd.readouterr().err


def test_a_piece_in_this_process_tells_what_came_of_it(work: ModuleType, tmp_path: Path) -> None:
    fine, mistake = work.Named(tmp_path, "fine"), work.Named(tmp_path, "mistake")
    assert tried(work.content, fine, 60.0) == ("fine", "")
    assert tried(work.content, mistake, None) == ("", "this will not do")
    assert not fine.path.exists()

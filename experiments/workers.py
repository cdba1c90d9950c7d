"""Pieces of work in processes of their own, so many at once; a piece whose process is killed is done once more.

Pools lose everything, or hang, when one of their processes is killed; here a piece leaves its result in a file, and
whoever is killed, the pieces that are done stay done. A process takes piece after piece: starting one costs seconds.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import deque
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.context import SpawnProcess


class Piece(Protocol):
    """A piece of work; its str() names it for people."""

    @property
    def path(self) -> Path:
        """Where its result goes."""


P = TypeVar("P", bound=Piece)
TRIES = 2
STDERR = 2


class Told(NamedTuple):
    """What came of a piece: its file's content, or what went wrong."""

    content: str
    problem: str


def tried(content: Callable[[P], str], piece: P, seconds: float | None) -> Told:
    """Do a piece of work; what goes wrong is told, not raised. A process that takes longer than this ends there."""
    if seconds is not None:  # the watch is no Python thread: it also ends work that never lets go of the interpreter
        faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)
    try:
        return Told(content(piece), "")
    except InputError as error:
        return Told("", str(error))
    except Exception as error:  # noqa: BLE001 - a mistake in one piece leaves the others alone
        traceback.print_exc()
        return Told("", repr(error))
    finally:
        if seconds is not None:
            faulthandler.cancel_dump_traceback_later()


def give_up(failed: Sequence[str], again: str) -> None:
    """Raise InputError naming what failed, if anything did. again: how to go on with what is missing."""
    if failed:
        raise InputError(f"not done: {'; '.join(failed)}; what is done is kept: {again}")


def in_processes(
    pieces: Sequence[P],
    content: Callable[[P], str],
    jobs: int,
    again: str = "go on with --resume, with fewer --jobs",
    seconds: float | None = None,
) -> Iterator[P]:
    """Yield the pieces as they get done: content(piece) is in the file piece.path. Both are pickled for the processes.

    seconds: a piece that takes longer counts as killed. Raises InputError at the end, naming the pieces whose process
    was killed twice and those that went wrong.
    """
    waiting = deque((index, 1) for index in range(len(pieces)))
    failed: list[str] = []
    with TemporaryDirectory() as folder:  # ours alone; what several pieces share is written once
        path = Path(folder) / "work.pickle"
        path.write_bytes(pickle.dumps((content, list(pieces), seconds)))
        idle: list[_Worker] = []
        busy: dict[Any, tuple[_Worker, int, int]] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < jobs:
                    worker = idle.pop() if idle else _Worker.start(path)
                    if worker.takes(waiting[0][0]):
                        busy[worker.pipe] = worker, *waiting.popleft()
                for pipe in connection.wait(list(busy)):
                    worker, index, attempt = busy.pop(pipe)
                    problem = worker.told()
                    if problem is None and attempt < TRIES:
                        waiting.appendleft((index, attempt + 1))
                        continue
                    if problem is not None:
                        idle.append(worker)
                    if problem == "":
                        yield pieces[index]
                    else:
                        failed.append(f"{pieces[index]} ({problem or worker.fate(seconds)})")
        finally:
            for worker in [*idle, *(worker for worker, _, _ in busy.values())]:
                worker.process.kill()
                worker.process.join()
    give_up(failed, again)


@dataclass(frozen=True)
class _Worker:
    """A process that does the pieces whose numbers come through the pipe, and answers what went wrong with each."""

    process: SpawnProcess
    pipe: Any

    @classmethod
    def start(cls, path: Path) -> _Worker:
        """Start a process on the work that lies there."""
        context = get_context("spawn")
        pipe, its_end = context.Pipe()
        process = context.Process(target=_serve, args=(path, its_end), daemon=True)
        process.start()
        its_end.close()  # so that the pipe ends when the process does
        return cls(process, pipe)

    def takes(self, index: int) -> bool:
        """Hand it a piece; False where the process is gone."""
        try:
            self.pipe.send(index)
        except OSError:
            self.process.join()
            return False
        return True

    def told(self) -> str | None:
        """Return what went wrong with its piece, "" for nothing; None where the process is gone."""
        try:
            return str(self.pipe.recv())
        except (EOFError, OSError):
            self.process.join()
            return None

    def fate(self, seconds: float | None) -> str:
        """Say how the process ended."""
        code = self.process.exitcode or 0
        if code < 0:
            return f"killed twice, by signal {-code}; often memory is short"
        late = f"longer than {seconds:g} s, or " if seconds else ""
        return f"its process ended twice, with code {code}: {late}see above"


def _serve(path: Path, pipe: Any) -> None:  # noqa: ANN401 - a connection, of whichever kind the system has
    """Do piece after piece, each written whole to its file, until the process that hands them out is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C stops the process that waits
    threading.Thread(target=_end_with_parent, daemon=True).start()
    content, pieces, seconds = pickle.loads(path.read_bytes())  # noqa: S301 - written by the process that waits
    while True:
        piece = pieces[pipe.recv()]
        told = tried(content, piece, seconds)
        problem = told.problem
        if not problem:
            try:
                write_atomically(piece.path, told.content)
            except InputError as error:
                problem = str(error)
        if problem:
            sys.stderr.write(f"bidpilot: {piece}: {problem}\n")
        pipe.send(problem)


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, however that was."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)

"""Pieces of work in processes of their own, so many at once; a process that is killed is started once more.

Pools lose everything, or hang, when one of their processes is killed; here a piece leaves its result in a file, and
whoever is killed, the pieces that are done stay done.
"""

from __future__ import annotations

import pickle
import signal
import sys
from collections import deque
from multiprocessing import connection, get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.context import SpawnProcess

    Piece = TypeVar("Piece")

TRIES = 2


def in_processes(pieces: Sequence[Piece], act: Callable[[Piece], object], jobs: int) -> Iterator[Piece]:
    """Yield the pieces as they get done, each by act in a fresh process; act and pieces are pickled for it.

    Raises InputError at the end, naming the pieces whose process was killed twice or failed (it has said why).
    """
    waiting = deque((index, 1) for index in range(len(pieces)))
    running: dict[Any, tuple[SpawnProcess, int, int]] = {}
    failed: list[str] = []
    with TemporaryDirectory() as folder:  # ours alone; what several pieces share is written once
        path = Path(folder) / "work.pickle"
        path.write_bytes(pickle.dumps((act, list(pieces))))
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    index, attempt = waiting.popleft()
                    process = get_context("spawn").Process(target=_run, args=(path, index), daemon=True)
                    process.start()
                    running[process.sentinel] = process, index, attempt
                for sentinel in connection.wait(list(running)):
                    process, index, attempt = running.pop(sentinel)
                    process.join()
                    code = process.exitcode or 0
                    if code == 0:
                        yield pieces[index]
                    elif code < 0 and attempt < TRIES:
                        waiting.appendleft((index, attempt + 1))
                    else:
                        failed.append(f"{pieces[index]} ({_why(code)})")
        finally:
            for process, _, _ in running.values():
                process.kill()
                process.join()
    if failed:
        raise InputError(f"not done: {'; '.join(failed)}; what is done is kept: go on with --resume, with fewer --jobs")


def _run(path: Path, index: int) -> None:
    """Do a piece of work; the process that waits for it is the one that ctrl-C stops."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    act, pieces = pickle.loads(path.read_bytes())  # noqa: S301 - written a moment ago by the process that waits
    try:
        act(pieces[index])
    except InputError as error:
        sys.exit(str(error))


def _why(code: int) -> str:
    return f"killed twice, by signal {-code}; often memory is short" if code < 0 else "it failed, see above"

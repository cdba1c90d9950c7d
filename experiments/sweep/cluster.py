"""Pieces of work on a Ray cluster; what the workers answer is written here, so they share no disk with this machine.

Ray (Moritz et al., OSDI 2018) does a piece again where its worker or its whole machine was lost. If this process is
killed, the pieces whose files are there stay done, and the same command goes on with the others.
"""

from __future__ import annotations

import os
import socket
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.experiments.workers import Piece, Told, give_up, tried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

P = TypeVar("P", bound=Piece)
LOST = 3
"""Times that a piece is done again because its worker was lost."""

AHEAD = 512
"""Pieces that are handed out at once."""

PATIENCE = 10.0
"""Seconds to wait for the head to answer."""

LOOK = 60.0
"""Seconds without an answer after which the cluster is looked at: its workers may all be gone."""

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
THREADS = {"OMP_NUM_THREADS": "1"}


def need_ray() -> Any:  # noqa: ANN401 - a module
    """Return Ray. Raises InputError where it is not installed."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise InputError("--ray needs Ray; pip install 'bidpilot[ray]'") from error
    return ray


def on_ray(
    pieces: Sequence[P], content: Callable[[P], str], address: str, again: str, seconds: float | None = None
) -> Iterator[P]:
    """Yield the pieces as they get done: content(piece), worked out on the cluster, is in the file piece.path.

    address: of the cluster's head, as 10.0.0.5:6379, or auto. seconds: a piece that takes longer counts as lost. Raises
    InputError for a cluster that cannot be reached, and at the end naming the pieces that failed.
    """
    ray = need_ray()
    _connect(ray, address)
    failed: list[str] = []
    try:
        work = ray.put((content, list(pieces), seconds))  # once, whatever the pieces share
        task = ray.remote(num_cpus=1, max_retries=LOST)(_do)
        waiting = iter(range(len(pieces)))
        running: dict[Any, int] = {}
        while True:
            running |= {task.remote(work, index): index for index in islice(waiting, AHEAD - len(running))}
            if not running:
                break
            ready, _ = ray.wait(list(running), num_returns=1, timeout=LOOK)
            if not ready:
                _look(ray, address)
                continue
            index = running.pop(ready[0])
            told = _answer(ray, ready[0])
            if told.problem:
                failed.append(f"{pieces[index]} ({told.problem})")
                continue
            write_atomically(pieces[index].path, told.content)
            yield pieces[index]
    finally:
        ray.shutdown()
    give_up(failed, again)


def _do(work: tuple[Callable[[P], str], list[P], float | None], index: int) -> Told:
    """Do a piece, on a worker."""
    content, pieces, seconds = work
    return tried(content, pieces[index], seconds)


def _answer(ray: Any, ref: Any) -> Told:  # noqa: ANN401 - Ray is not always there to name its types
    """Return what came of a piece."""
    try:
        told: Told = ray.get(ref)
    except ray.exceptions.RayError as error:
        return Told("", _line(error))
    return told


def _connect(ray: Any, address: str) -> None:  # noqa: ANN401 - as above
    """Join a cluster. Raises InputError where there is none, or none with workers."""
    _knock(address)
    try:
        ray.init(address=address, runtime_env={"env_vars": THREADS}, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"no Ray cluster at {address} (ray start --head begins one): {_line(error)}") from error
    try:
        _look(ray, address)
    except InputError:
        ray.shutdown()
        raise


def _look(ray: Any, address: str) -> None:  # noqa: ANN401 - as above
    """Raise InputError where a cluster has no workers: its tasks would wait without end."""
    if ray.cluster_resources().get("CPU", 0) < 1:
        raise InputError(f"the Ray cluster at {address} has nobody to work: ray start --address={address} joins it")


def _knock(address: str) -> None:
    """Raise InputError where nobody listens: Ray itself would wait for minutes and then end the process."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and "/" not in host):
        raise InputError(f"--ray expects auto or the address of a cluster's head, as 10.0.0.5:6379; got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"no Ray cluster at {address} (ray start --head begins one): {_line(error)}") from error


def _line(error: Exception) -> str:
    """Return the first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"

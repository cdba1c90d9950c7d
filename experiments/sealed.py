"""Test days behind a seal: they cannot be opened while anything is trained or tuned, nor be days that were.

The seal is one for the whole process, so that a thread that training starts is under it too.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bidpilot.envs.day import Day

_LOCK = threading.Lock()
_STAGES: list[str] = []
"""What is going on in this process, the last begun last."""


class SealedError(InputError):
    """Test days were asked for where nobody may see them."""


@contextmanager
def sealing(stage: str) -> Iterator[None]:
    """Keep test days shut while this lasts; also a decorator. stage: training or tuning, for the message."""
    with _LOCK:
        _STAGES.append(stage)
    try:
        yield
    finally:
        with _LOCK:
            _STAGES.remove(stage)


def refuse(what: str) -> None:
    """Raise SealedError, naming the stage, if something is being trained or tuned. what: the days asked for."""
    with _LOCK:
        stage = _STAGES[-1] if _STAGES else ""
    if stage:
        raise SealedError(
            f"{what} were asked for during {stage}: they are for the comparison alone; use training, tuning or "
            "validation days"
        )


def opened(what: str, draw: Callable[[], tuple[Day, ...]], seen: Iterable[Day] = ()) -> tuple[Day, ...]:
    """Draw test days. what: their name. seen: days that something was trained or tuned on.

    Raises SealedError during training and tuning, before anything is drawn, and where one of the days is among those
    seen.
    """
    refuse(what)
    days = draw()
    known = {day.traffic_hash for day in seen}
    again = [place for place, day in enumerate(days) if day.traffic_hash in known]
    if again:
        raise SealedError(
            f"{len(again)} of {len(days)} {what} (the first is number {again[0]}) were trained or tuned on; "
            "give every role days of its own"
        )
    return days

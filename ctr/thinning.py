"""Some rows of a log that comes in chunks, evenly spaced, in memory: as many as there is room for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bidpilot.ctr.log import AuctionLog


class EvenLog:
    """Evenly spaced rows; whenever more than limit are held, every second one goes. seen: rows that came."""

    def __init__(self, limit: int) -> None:
        """Begin without rows."""
        self.seen, self.stride = 0, 1
        self._limit, self._held = limit, 0
        self._parts: list[AuctionLog] = []

    def add(self, log: AuctionLog) -> None:
        """Take more rows, later ones."""
        kept = log.rows(np.arange(-self.seen % self.stride, len(log), self.stride))
        self.seen += len(log)
        self._parts.append(kept)
        self._held += len(kept)
        while self._held > self._limit:
            whole = self.log()
            self._parts = [whole.rows(np.arange(0, len(whole), 2))]
            self._held, self.stride = len(self._parts[0]), 2 * self.stride

    def log(self) -> AuctionLog:
        """Return the rows that are held, as one log. Raises InputError where there were none."""
        return joined(self._parts)


def joined(parts: Iterable[AuctionLog]) -> AuctionLog:
    """Return one log of several that follow each other. Raises InputError where there are none."""
    logs = list(parts)
    if not logs:
        raise InputError("there are no rows: the log is empty, or every row was set aside")
    if len(logs) == 1:
        return logs[0]
    return replace(logs[0], frame=pd.concat([log.frame for log in logs], ignore_index=True))

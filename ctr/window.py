"""The rows of a Parquet log between two times: those to learn from, and later ones to validate on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.ctr.chunks import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bidpilot.ctr.chunks import ParquetLog


@dataclass(frozen=True)
class Window:
    """Rows from begin to before end, seconds as in the log; those from valid on are to validate on."""

    log: ParquetLog
    begin: float = -np.inf
    valid: float = np.inf
    end: float = np.inf

    def __str__(self) -> str:
        """Name the files."""
        return str(self.log)

    @property
    def key(self) -> list[Any]:
        """Return what the rows depend on, as JSON has it."""
        return [*self.log.key, str(self.begin), str(self.valid), str(self.end)]

    def chunks(self) -> Iterator[Chunk]:
        """Read the rows in order, no further than they go. Raises InputError as ParquetLog.chunks."""
        for part, _ in self.log.chunks(self.begin):
            low, middle, high = np.searchsorted(part.frame["time"], [self.begin, self.valid, self.end])
            pieces = ((slice(low, min(middle, high)), True), (slice(max(low, middle), high), False))
            yield from (Chunk(part.rows(rows), train) for rows, train in pieces if rows.stop > rows.start)
            if high < len(part):
                return

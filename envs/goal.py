"""What a win is worth to the advertiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import to_micros

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray, Response


@dataclass(frozen=True, slots=True)
class Goal:
    """What a win is worth.

    kind: "clicks" (worth per click), "conversions" (worth per conversion), "value" (each conversion's own
    worth). worth: currency. Raises InputError for an unknown kind or a worth not above 0.
    """

    kind: Literal["clicks", "conversions", "value"] = "value"
    worth: float = 1.0

    def __post_init__(self) -> None:
        """Check the figures."""
        if self.kind not in {"clicks", "conversions", "value"}:
            raise InputError(f"unknown goal {self.kind!r}; known: clicks, conversions, value")
        if not self.worth > 0:
            raise InputError(f"the worth of a win (goal {self.kind}) must be above 0; got {self.worth}")

    def expected(self, response: Response) -> FloatArray:
        """Return the expected worth (n,) of impressions, currency."""
        if self.kind == "clicks":
            return response.pctr * self.worth
        worth = response.value if self.kind == "value" else self.worth
        return np.asarray(response.pctr * response.pcvr * worth)

    def realised(self, click: BoolArray, conversion: BoolArray, value: FloatArray) -> IntArray:
        """Return the worth (n,) that outcomes brought, micro-currency."""
        if self.kind == "clicks":
            return to_micros(click * self.worth)
        return to_micros(conversion * (value if self.kind == "value" else self.worth))

"""What stands in for a model where there is too little to fit one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import FloatArray


@dataclass(frozen=True)
class Constant:
    """The same rate for every row: a Predictor."""

    rate: float

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the rate, (n,)."""
        return np.full(len(log), self.rate)

    def settings(self) -> dict[str, Any]:
        """Return the rate."""
        return {"rate": self.rate}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights: none."""
        return {}

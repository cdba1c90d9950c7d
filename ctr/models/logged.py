"""The click predictions that came with the log: nothing is fitted, only calibrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.loop import Curve
from bidpilot.ctr.metrics import losses

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.journal import Journal
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import FloatArray


@dataclass(frozen=True)
class Config:
    """There is nothing to set."""

    trains: ClassVar[bool] = False

    def fit(
        self,
        train: AuctionLog,
        valid: AuctionLog,
        event: str,
        rng: np.random.Generator,  # noqa: ARG002
        weight: FloatArray | None = None,
        journal: Journal | None = None,  # noqa: ARG002
    ) -> tuple[Logged, Curve]:
        """Return the model. Raises InputError when the log came without predictions, or for conversions."""
        if event != "click":
            raise InputError(f"model 'logged' predicts clicks, not {event}s; choose another model for {event}s")
        if "pctr" not in train:
            raise InputError(
                f"{train.source}: model 'logged' needs the column pctr, which this log did not come with; "
                "map it, or choose another model"
            )
        p, y = valid.frame["pctr"].to_numpy(np.float64), valid.frame[event].to_numpy(np.float64)
        if not ((p >= 0.0) & (p <= 1.0)).all():
            return Logged(), Curve()  # predict tells which row of the whole log is wrong
        late = np.ones(len(y)) if weight is None else weight[len(train) :]
        loss = float(late @ losses(y, p) / late.sum())
        return Logged(), Curve((loss,), (loss,))

    def refit(
        self,
        log: AuctionLog,  # noqa: ARG002
        event: str,  # noqa: ARG002
        epochs: int,  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
        weight: FloatArray | None = None,  # noqa: ARG002
        journal: Journal | None = None,  # noqa: ARG002
    ) -> Logged:
        """Return the model."""
        return Logged()

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> Logged:  # noqa: ARG002
        """Rebuild what Logged.settings and .tensors returned."""
        return Logged()


@dataclass(frozen=True)
class Logged:
    """The column pctr as a Predictor."""

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the log's own predictions (n,). Raises InputError where one is missing or no probability."""
        p = log.frame["pctr"].to_numpy(np.float64)
        wrong = np.flatnonzero(~((p >= 0.0) & (p <= 1.0)))
        if len(wrong):
            raise InputError(
                f"{log.source}: column pctr must hold a probability in every row for model 'logged'; "
                f"row {wrong[0]} has {p[wrong[0]]} ({len(wrong)} such rows). Clean them, or choose another model"
            )
        return p

    def settings(self) -> dict[str, Any]:
        """Return the settings: none."""
        return {"config": {}}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights: none."""
        return {}

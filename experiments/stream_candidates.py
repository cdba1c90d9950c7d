"""The candidates of a log that is too large to be read whole, fitted from disk."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.streamed_response import fit_streamed
from bidpilot.experiments.candidates import Candidate, candidate_models, response_config

if TYPE_CHECKING:
    import numpy as np

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.experiments.config import Settings
    from bidpilot.experiments.streamed import Streamed


def stream_candidates(
    settings: Settings, sample: AuctionLog, streamed: Streamed, rng: np.random.Generator
) -> list[Candidate]:
    """Fit every candidate as fit_candidates does, on all rows before the cut; sample: rows of them.

    The encoded log takes some 40 bytes a row of a temporary folder while the fit runs. Raises InputError for settings
    that need the log in memory, and as fit_streamed.
    """
    for name in ("selection", "joint"):
        if getattr(settings.model, name) is not None:
            raise InputError(f"model.{name} needs the whole log in memory: leave it out, or raise stream.above")
    names = candidate_models(settings, sample)
    config = response_config(settings, names[0])
    with tempfile.TemporaryDirectory(prefix="bidpilot-") as cache:
        window = streamed.training(config.validation_share)
        fits = fit_streamed(window, names, config, rng, Path(cache))
    found = [Candidate(fit.name, fit.response, fit.report) for fit in fits]
    return sorted(found, key=lambda candidate: candidate.loss)

"""A fit that is killed and goes on gives the weights and the curve of one that never stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.journal import Journal
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.models import deepfm

if TYPE_CHECKING:
    from bidpilot.ctr.loop import Curve
    from bidpilot.ctr.training import TrainedNetwork


class Killer(Journal):
    """Kills its process, as the system would, after the third checkpoint."""

    def save(self, *args: object, **kwargs: object) -> None:
        """Save, count, and die."""
        super().save(*args, **kwargs)  # type: ignore[arg-type]
        self._clock["count"] = self._clock.get("count", 0) + 1
        if self._clock["count"] == 3:
            os.kill(os.getpid(), signal.SIGKILL)


def config(whole_up_to: int) -> deepfm.Config:
    return deepfm.Config(epochs=6, patience=6, whole_up_to=whole_up_to, negatives=0.7)


def fit(journal: Journal | None, whole_up_to: int) -> tuple[TrainedNetwork, Curve]:
    rng = np.random.default_rng(0)
    columns = {"time": np.arange(3_000.0), "click": (rng.random(3_000) < 0.2).astype(np.int8)}
    log = AuctionLog.from_columns(columns | {"id": rng.integers(0, 300, 3_000).astype(str)}, categorical=("id",))
    parts = log.rows(slice(0, 2_000)), log.rows(slice(2_000, 3_000))
    return config(whole_up_to).fit(*parts, "click", np.random.default_rng(1), None, journal)


def main(folder: str, whole_up_to: str) -> None:
    """Fit until killed."""
    fit(Killer(Path(folder), every=0.0), int(whole_up_to))


@pytest.mark.parametrize("whole_up_to", [10**6, 0])
def test_a_killed_fit_goes_on_as_if_it_had_not_been(tmp_path: Path, whole_up_to: int) -> None:
    script = (
        f"import importlib.util as u; s = u.spec_from_file_location('j', {__file__!r}); m = u.module_from_spec(s); "
    )
    script += f"import sys; sys.modules['j'] = m; s.loader.exec_module(m); m.main({str(tmp_path)!r}, '{whole_up_to}')"
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    journal = Journal(tmp_path, every=0.0)
    found = journal.load()
    assert found is not None
    assert found[0]["epoch"] == 3
    went_on, curve = fit(journal, whole_up_to)
    straight, whole_curve = fit(None, whole_up_to)
    assert curve == whole_curve
    assert len(curve.train) > 4
    assert [a.tobytes() for a in went_on.tensors().values()] == [a.tobytes() for a in straight.tensors().values()]


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.load() is None
    journal.path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="not a checkpoint of a fit"):
        journal.load()


def test_curves_reach_the_board(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, curve = fit(Journal(tmp_path / "checkpoints", board=tmp_path / "board"), 10**6)
    events = EventAccumulator(str(tmp_path / "board" / "fit"))
    events.Reload()
    np.testing.assert_allclose([point.value for point in events.Scalars("valid")], curve.valid[1:], rtol=1e-6)

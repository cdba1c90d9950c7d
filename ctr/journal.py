"""What a long fit leaves on disk while it runs: a checkpoint to go on from, and curves for TensorBoard.

A checkpoint is safetensors with its facts in the header, written whole or not at all; nothing is unpickled. Going on
from it gives the weights and the curve of a fit that was never stopped.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

Checkpoint = tuple[dict[str, Any], dict[str, "Tensor"]]
"""Facts that JSON holds, and tensors by name."""

FACTS = "facts"


@dataclass(frozen=True)
class Journal:
    """Where a fit keeps its checkpoint, and where its curves go.

    folder: of the checkpoints. name: of this fit's. key: what a checkpoint must have been made with. every: seconds
    between two checkpoints at least. board: folder for TensorBoard (the extra bidpilot[tb]); None: no curves.
    """

    folder: Path
    name: str = "fit"
    key: str = ""
    every: float = 5.0
    board: Path | None = None
    _clock: dict[str, float] = field(default_factory=dict, compare=False)

    def at(self, name: str) -> Journal:
        """Return the journal of a part of the work."""
        return replace(self, name=f"{self.name}-{name}", _clock={})

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self.folder / f"{self.name}.safetensors"

    def load(self) -> Checkpoint | None:
        """Return the last checkpoint; None where there is none. Raises InputError where it is of no use."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                facts = json.loads((file.metadata() or {})[FACTS])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InputError(f"{self.path}: not a checkpoint of a fit ({error}); delete it to begin anew") from error
        if facts.pop("key") != self.key:
            raise InputError(f"{self.path}: made with other settings, another log or version; fit without --resume")
        return facts, tensors

    def save(self, facts: dict[str, Any], tensors: dict[str, Tensor], *, last: bool = False) -> None:
        """Write a checkpoint, if the last one is long ago or this is the end."""
        now = time.monotonic()
        if not last and now - self._clock.setdefault("saved", now) < self.every:
            return
        self._clock["saved"] = now
        write_atomically(self.path, save(tensors, {FACTS: json.dumps(facts | {"key": self.key})}))

    def draw(self, step: int, **amounts: float) -> None:
        """Add points to the curves on the board. Raises InputError where TensorBoard is not installed."""
        if self.board is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError('TensorBoard is not installed; pip install "bidpilot[tb]"') from error
        with SummaryWriter(str(self.board / self.name)) as writer:
            for name, amount in amounts.items():
                writer.add_scalar(name, amount, step)

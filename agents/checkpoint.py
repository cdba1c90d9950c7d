"""Where a long training keeps its checkpoints: the last two, written whole or not at all, checked before use.

A checkpoint is a safetensors file with its facts in the header, and beside it a JSON file with its size and SHA-256,
written after it: a checkpoint without one does not count. Nothing is unpickled. The digest shows damage; it is no
signature.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

FACTS = "facts"
KEPT = 2
SHARE = 0.02
"""Of the time that writing checkpoints may take; where they are large, they are written less often."""


@dataclass(frozen=True)
class Saved:
    """A checkpoint: facts that JSON holds, arrays by name, and sentences on those that were passed over."""

    step: int
    facts: dict[str, Any]
    arrays: dict[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints in a folder.

    key: what they must have been made with. every: seconds between two at least.
    """

    folder: Path
    key: str = ""
    every: float = 5.0
    _clock: dict[str, float] = field(default_factory=dict, compare=False, repr=False)

    @property
    def some(self) -> bool:
        """Tell whether there are any, of use or not."""
        return bool(self._told())

    @property
    def due(self) -> bool:
        """Tell whether the last checkpoint, or the first question, is long ago."""
        now = time.monotonic()
        since = now - self._clock.setdefault("saved", now)
        return since >= max(self.every, self._clock.get("took", 0.0) / SHARE)

    def save(self, step: int, facts: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Write a checkpoint; remove all but the last two."""
        began = time.monotonic()
        data = save(arrays, {FACTS: json.dumps(facts | {"key": self.key, "step": step})})
        path = self.folder / f"step-{step:012d}.safetensors"
        write_atomically(path, data)
        told = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        write_atomically(path.with_suffix(".json"), json.dumps(told))
        kept = {path.stem for path in self._told()[:KEPT]}
        self._remove(kept)
        self._clock.update(saved=time.monotonic(), took=time.monotonic() - began)

    def load(self) -> Saved | None:
        """Return the last checkpoint that is whole; None where none was written.

        Raises InputError where all are damaged, and where one was made with something else.
        """
        notes: list[str] = []
        told = self._told()
        for path in told:
            try:
                facts, arrays = _read(path)
            except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
                notes.append(f"the checkpoint {path.stem} is damaged and was passed over ({error})")
                continue
            if facts.pop("key") != self.key:
                raise InputError(f"{path}: made with other settings, data or versions; train without --resume")
            for damaged in told[: len(notes)]:
                damaged.unlink()  # it must not count as one of the last two
            return Saved(int(facts.pop("step")), facts, arrays, tuple(notes))
        if notes:
            raise InputError(f"{self.folder}: {'; '.join(notes)}; train without --resume")
        return None

    def clear(self) -> None:
        """Remove them all."""
        self._remove(set())

    def _remove(self, kept: set[str]) -> None:
        """Remove all but the checkpoints with these stems, and what writes that were killed left behind."""
        for path in (*self.folder.glob("step-*"), *self.folder.glob(".step-*")):
            if path.stem not in kept:
                path.unlink()

    def _told(self) -> list[Path]:
        """Return what is said of each checkpoint, the last one first."""
        return sorted(self.folder.glob("step-*.json"), reverse=True)


def _read(told: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return facts and arrays of a checkpoint. Raises ValueError where it is not what is said of it, and others."""
    expected, path = json.loads(told.read_text()), told.with_suffix(".safetensors")
    size = path.stat().st_size
    if size != expected["bytes"]:
        raise ValueError(f"{size} bytes instead of {expected['bytes']}")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != expected["sha256"]:
            raise ValueError("its SHA-256 is another")
    with safe_open(path, "np") as file:
        facts = json.loads((file.metadata() or {})[FACTS])
        return facts, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping

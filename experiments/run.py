"""A run's folder: where each stage finds and leaves its files, and what every result carries."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import shutil
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.ctr.journal import Journal
from bidpilot.experiments.config import SYNTHETIC, Settings, load_settings, save_settings
from bidpilot.experiments.tuned import FILE as TUNED

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("bidpilot", "gymnasium", "stable-baselines3", "torch", "numpy", "pandas")
HASHED = 2**24
SETTINGS = "run.yaml"


@dataclass(frozen=True)
class Run:
    """A folder with the settings it was made with. after: folder of the run that it is to repeat, if it is."""

    folder: Path
    settings: Settings
    after: Path | None = field(default=None, compare=False)

    @classmethod
    def create(cls, folder: Path, settings: Settings, config: Path | None = None) -> Run:
        """Open a folder for these settings; stages already there are kept if the settings are the same.

        config: where the settings were read from; a run.yaml means that its run is repeated, with what its baselines
        were tuned to. Nothing is written yet, see begin. Raises InputError when the folder holds a run of other
        settings.
        """
        path, settings = folder / SETTINGS, settings.located()
        if path.exists() and load_settings(path, {}) != settings:
            raise InputError(f"{folder} holds a run with other settings (see {path}); choose another --out")
        run = cls(folder, settings, config.parent if config is not None and config.name == SETTINGS else None)
        run.check_log()
        return run

    def begin(self) -> None:
        """Write the settings: from now on the folder is this run's. Called when there is a first result to keep."""
        save_settings(self.settings, self.folder / SETTINGS)
        if self.after is not None and (self.after / TUNED).is_file() and not (self.folder / TUNED).exists():
            write_atomically(self.folder / TUNED, (self.after / TUNED).read_bytes())
        self.note()

    def finish(self, stage: str) -> None:
        """Mark a stage as done: the last thing that it writes, so a killed stage is done again."""
        write_atomically(self.folder / f"{stage}.done", "")

    def done(self, stage: str) -> bool:
        """Tell whether a stage was done to its end."""
        return (self.folder / f"{stage}.done").exists()

    def journal(self, *, resume: bool) -> Journal:
        """Return where long fits keep their checkpoints; resume: go on from what is there, else it is deleted."""
        folder = self.folder / "checkpoints"
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)
        board = self.folder / "tensorboard" if self.settings.tensorboard else None
        return Journal(folder, key=self._key(), board=board)

    def _key(self) -> str:
        """Return what a checkpoint must have been made with: the settings, the log and the versions."""
        made = f"{self.settings.model_dump_json()} {log_digest(self.settings)} {versions()}"
        return hashlib.sha256(made.encode()).hexdigest()

    def check_log(self) -> None:
        """Refuse to go on with a log that is not the one the run began with. Raises InputError."""
        began, now = self.facts.get("log_sha256", ""), log_digest(self.settings)
        if began and began != now:
            state = "has changed" if now else "is gone"
            what = f"{self.settings.log} (or its mapping) {state}"
            raise InputError(f"{what} since the run in {self.folder} began; choose another --out")

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open the folder of an earlier stage. Raises InputError when it is not one."""
        path = folder / SETTINGS
        if not path.is_file():
            raise InputError(f"{folder} holds no run (no run.yaml); make one with: bidpilot fit --out {folder}")
        run = cls(folder, load_settings(path, {}))
        run.check_log()
        return run

    @property
    def model(self) -> Path:
        """Folder of the fitted models."""
        return self.folder / "model"

    @property
    def policy(self) -> Path:
        """Folder of the trained policy."""
        return self.folder / "policy"

    @property
    def bundle(self) -> Path:
        """The exported policy."""
        return self.folder / "policy.zip"

    def write_table(self, name: str, table: pd.DataFrame) -> Path:
        """Write a tidy table as CSV, atomically."""
        path = self.folder / name
        write_atomically(path, table.to_csv(index=False))
        return path

    def note(self, **facts: object) -> None:
        """Add facts to metadata.json."""
        path = self.folder / "metadata.json"
        known = json.loads(path.read_text()) if path.exists() else provenance(self.settings)
        write_atomically(path, json.dumps(known | facts, indent=1, sort_keys=True, default=str))

    @property
    def facts(self) -> dict[str, Any]:
        """What metadata.json holds."""
        path = self.folder / "metadata.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}


def provenance(settings: Settings) -> dict[str, Any]:
    """Return seed, versions, code state, machine and day: what a result must carry to be believed."""
    return {
        "seed": settings.seed,
        "versions": versions(),
        "git_commit": _git_commit(),
        "machine": f"{platform.machine()}, {platform.system()} {platform.release()}",
        "threads": settings.threads,
        "date": datetime.now(UTC).date().isoformat(),
        "log_sha256": log_digest(settings),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def log_digest(settings: Settings) -> str:
    """Return the SHA-256 of the log file and its mapping; empty for the synthetic exchange or a file that is gone."""
    paths = [Path(settings.log), *([settings.mapping] if settings.mapping else [])]
    if settings.log == SYNTHETIC or not all(path.is_file() for path in paths):
        return ""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(HASHED):
                digest.update(block)
    return digest.hexdigest()


def _git_commit() -> str:
    here = Path(__file__).resolve().parent
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607 - whichever git is there
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        return done.stdout.strip()
    return ""

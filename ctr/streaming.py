"""Training from logs larger than memory: count, encode into arrays on disk, and let the fit loop read those.

Two passes over the Parquet files. The first counts words and samples numbers of the training rows, the second writes
4 bytes for every id and number of a row. Memory holds a chunk of rows, the words that are counted, and the network.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldCount, FieldEncoder, Fields, FieldSettings
from bidpilot.ctr.loop import Curve, Rows, fit_network, torch_generator
from bidpilot.ctr.scale import EvenRows
from bidpilot.ctr.training import NetworkConfig, TrainedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from bidpilot.ctr.chunks import Chunk
    from bidpilot.ctr.log import AuctionLog

FORMAT = 1
"""Of the cache; another one is written afresh."""

WORDS = 1_000_000
"""Distinct words of a field that are counted exactly, see WordCount; with hashing, as many as there are buckets."""

SAMPLE = 200_000
"""Rows at most that scales are learned from, evenly spaced: a median of all would need all of them at once."""

ARRAYS = ("ids", "bags", "numbers", "label")
HEAD = "encoder.json"


class ChunkedLog(Protocol):
    """A log that is read in pieces, in the order of time: a ParquetLog, or a Window of one."""

    @property
    def key(self) -> list[Any]:
        """Return what the rows depend on, as JSON has it."""

    def chunks(self) -> Iterator[Chunk]:
        """Read all rows in order."""


class Encoded(NamedTuple):
    """An encoded log: its arrays lie on disk and are read when they are used."""

    encoder: FieldEncoder
    train: Rows
    valid: Rows


def fit_parquet(
    log: ChunkedLog, config: NetworkConfig, event: str, rng: np.random.Generator, cache: Path
) -> tuple[TrainedNetwork, Curve]:
    """Fit the probability of an event, click or conversion, as config.fit does in memory.

    cache: folder for the encoded log, see encode_parquet. With config.negatives below 1 the rows that are kept are held
    in memory. Raises InputError where the log lacks the event or cannot be read.
    """
    encoder, train, valid = encode_parquet(log, config.fields, event, cache)
    rate = float((train.label.sum(dtype=np.float64) + 0.5) / (len(train.label) + 1.0))
    fitted = TrainedNetwork(config, encoder, config.build(encoder, rate, torch_generator(rng)))
    seen = config.sampled(train, fitted.network, rng)
    return fitted, fit_network(fitted.network, seen, valid, config, rng)


def encode_parquet(
    log: ChunkedLog, settings: FieldSettings, event: str, cache: Path, watch: Callable[[AuctionLog], None] | None = None
) -> Encoded:
    """Encode the rows where the event could happen: of clicks the rows that were won, of conversions the clicked.

    cache: a folder, where the arrays go into a sub-folder of their own, whole or not at all; the same files, mapping
    and settings find it again. watch: is shown the rows to learn from and to validate on, once, where they are counted.
    Raises InputError where the log lacks the event or cannot be read or written.
    """
    if event not in ("click", "conversion"):
        raise InputError(f"event must be click or conversion; got {event!r}")
    folder = cache / _digest(log, settings, event)
    if not (folder / HEAD).exists():
        learned = _learn(log, settings, event, watch)
        _write_whole(folder, log, event, learned)
    return _load(folder)


@dataclass(frozen=True)
class _Learned:
    """What the first pass finds: the encoder, and how many rows there are to learn from and to validate on."""

    encoder: FieldEncoder
    train: int
    valid: int


def _learn(
    log: ChunkedLog, settings: FieldSettings, event: str, watch: Callable[[AuctionLog], None] | None
) -> _Learned:
    """Count words and sample numbers of the training rows; count all."""
    rows = {True: 0, False: 0}
    for part, train, _ in _occasions(log, event):
        if train and not rows[True]:
            count = FieldCount(part, settings, settings.buckets or WORDS)
            sample, numeric = EvenRows(len(part.numeric), SAMPLE), part.numeric
        if train:
            count.add(part)
            sample.add(part.frame[list(numeric)].to_numpy(np.float64))
        rows[train] += len(part)
        if watch is not None:
            watch(part)
    if not (rows[True] and rows[False]):
        raise InputError(
            f"{log}: {rows[True]} rows to learn {event}s from, {rows[False]} to validate on; both need some"
        )
    return _Learned(count.encoder(sample.scales(numeric)), rows[True], rows[False])


def _occasions(log: ChunkedLog, event: str) -> Iterator[tuple[AuctionLog, bool, npt.NDArray[np.float32]]]:
    """Yield the rows where the event could happen, whether they are to be learned from, and their labels."""
    for part, train in log.chunks():
        if event not in part:
            raise InputError(f"{part.source}: the column {event} is needed to learn it; map it in the mapping file")
        keep = part.frame["won"].to_numpy()
        kept = part.rows(keep if event == "click" else keep & (part.frame["click"].to_numpy() == 1))
        if len(kept):
            yield kept, train, kept.frame[event].to_numpy(np.float32)


def _write_whole(folder: Path, log: ChunkedLog, event: str, learned: _Learned) -> None:
    """Write the arrays beside the folder, then rename: a run that is cut off leaves no half of them."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
    except OSError as error:
        raise InputError(f"{folder.parent}: cannot be written: {error.strerror}; choose another cache") from error
    try:
        _write(partial, log, event, learned)
        if not (folder / HEAD).exists():  # another run may have been faster
            partial.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}; free some space or choose another") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(folder: Path, log: ChunkedLog, event: str, learned: _Learned) -> None:
    """Write all arrays chunk by chunk through plain files: pages of a memory map would count as memory in use."""
    encoder, rows = learned.encoder, learned.train + learned.valid
    shapes = {"ids": (rows, encoder.fields), "bags": (rows, sum(encoder.bags)), "numbers": (rows, encoder.numbers)}
    written = 0
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in ARRAYS}
        for name, file in files.items():
            dtype = np.dtype(np.int32 if name in ("ids", "bags") else np.float32)
            shape = shapes.get(name, (rows,))
            head = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, head)
        for part, _, label in _occasions(log, event):
            fields = encoder.transform(part)
            for name in ARRAYS:
                files[name].write((label if name == "label" else getattr(fields, name)).tobytes())
            written += len(part)
    if written != rows:
        raise InputError(f"{log}: {rows} rows at first, {written} when read again; do not write to it meanwhile")
    known = {"encoder": encoder.to_json(), "train": learned.train}
    (folder / HEAD).write_text(json.dumps(known), encoding="utf-8")


def _load(folder: Path) -> Encoded:
    # copy on write: torch warns of arrays that it cannot write to, and the files stay as they are
    arrays: dict[str, Any] = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in ARRAYS}
    head = json.loads((folder / HEAD).read_text(encoding="utf-8"))
    fields = Fields(*(arrays[name] for name in ARRAYS[:3]))
    parts = (slice(0, head["train"]), slice(head["train"], None))
    train, valid = (Rows(fields.rows(part), arrays["label"][part]) for part in parts)
    return Encoded(FieldEncoder.from_json(head["encoder"]), train, valid)


def _digest(log: ChunkedLog, settings: FieldSettings, event: str) -> str:
    """Return a name for what the arrays depend on."""
    parts = [FORMAT, *log.key, asdict(settings), event]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]

"""Checkpoints on disk: the last two, whole, and nothing that was tampered with."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bidpilot.agents.checkpoint import Checkpoints
from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ARRAYS: dict[str, Any] = {"w": np.arange(6.0).reshape(2, 3), "n": np.array(3, dtype=np.int64), "none": np.zeros((0, 2))}


@pytest.fixture
def three(tmp_path: Path) -> Checkpoints:
    """Return checkpoints of three steps."""
    checkpoints = Checkpoints(tmp_path, "key", every=0.0)
    for step in (9, 20, 100):
        checkpoints.save(step, {"curve": [0.1, float("nan")]}, ARRAYS | {"w": ARRAYS["w"] + step})
    return checkpoints


def test_the_last_one_comes_back_bit_for_bit_and_two_are_kept(three: Checkpoints) -> None:
    saved = three.load()
    assert saved is not None
    assert (saved.step, saved.notes, saved.facts["curve"][0]) == (100, (), 0.1)
    assert np.isnan(saved.facts["curve"][1])
    assert saved.arrays["w"].tobytes() == (ARRAYS["w"] + 100).tobytes()
    assert (saved.arrays["n"].shape, saved.arrays["none"].shape) == ((), (0, 2))
    assert sorted(path.name for path in three.folder.iterdir()) == [
        f"step-{step:012d}.{kind}" for step in (20, 100) for kind in ("json", "safetensors")
    ]


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def shorten(path: Path) -> None:
    """Leave the last byte out."""
    path.write_bytes(path.read_bytes()[:-1])


def lie(path: Path) -> None:
    """Say nothing of what is there."""
    path.with_suffix(".json").write_text("[]")


def test_nothing_written_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").load() is None
    Checkpoints(tmp_path / "none").clear()


@pytest.mark.parametrize("harm", [flip, shorten, lie, lambda path: path.unlink()])
def test_a_damaged_last_one_gives_way_to_the_one_before_and_both_damaged_are_refused(
    three: Checkpoints, harm: Callable[[Path], None]
) -> None:
    last, before = (three.folder / f"step-{step:012d}.safetensors" for step in (100, 20))
    harm(last)
    saved = three.load()
    assert saved is not None
    assert saved.step == 20
    assert "step-000000000100 is damaged" in saved.notes[0]
    three.save(30, {}, ARRAYS)  # it, and the one gone on from, are now the last two
    found = three.load()
    assert found is not None
    assert (found.step, found.notes) == (30, ())
    harm(three.folder / "step-000000000030.safetensors")
    harm(before)
    with pytest.raises(InputError, match=r"step-000000000030 is damaged.*step-000000000020 is damaged.*--resume"):
        three.load()


def test_a_file_without_its_digest_does_not_count(three: Checkpoints) -> None:
    """A kill between the two writes leaves one."""
    three.folder.joinpath("step-000000000200.safetensors").write_bytes(b"half")
    three.folder.joinpath(".step-000000000200.json.x7").write_bytes(b"")
    saved = three.load()
    assert saved is not None
    assert saved.step == 100
    three.save(150, {}, ARRAYS)
    assert sorted({path.stem for path in three.folder.iterdir()}) == ["step-000000000100", "step-000000000150"]


def test_pickles_are_data_and_nothing_more(three: Checkpoints) -> None:
    """Bytes that would run code when unpickled are no safetensors, even with the right digest."""
    import hashlib

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (three.folder.joinpath("run").touch, ())

    data = pickle.dumps(Evil())
    for step in (20, 100):
        path = three.folder / f"step-{step:012d}.safetensors"
        path.write_bytes(data)
        told = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        path.with_suffix(".json").write_text(json.dumps(told))
    with pytest.raises(InputError, match="damaged"):
        three.load()
    assert not (three.folder / "run").exists()


def test_one_of_another_training_is_refused(three: Checkpoints) -> None:
    with pytest.raises(InputError, match=r"made with other settings, data or versions; train without --resume"):
        Checkpoints(three.folder, "another").load()


def test_writing_takes_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that took 1 s is not followed by another within 50 s; a quick one by one after `every`."""
    clock = [0.0]
    monkeypatch.setattr("bidpilot.agents.checkpoint.time.monotonic", lambda: clock[0])
    checkpoints = Checkpoints(tmp_path, every=5.0)
    assert not checkpoints.due
    clock[0] = 5.0
    assert checkpoints.due
    checkpoints.save(1, {}, ARRAYS)
    clock[0] = 9.9
    assert not checkpoints.due
    clock[0] = 10.0
    assert checkpoints.due
    monkeypatch.setattr("bidpilot.agents.checkpoint.write_atomically", lambda *_: clock.__setitem__(0, clock[0] + 0.5))
    checkpoints.save(2, {}, ARRAYS)
    clock[0] = 60.9
    assert not checkpoints.due
    clock[0] = 61.0
    assert checkpoints.due

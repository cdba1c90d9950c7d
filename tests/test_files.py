"""Files appear whole or not at all."""

import os
from pathlib import Path

import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically


@pytest.mark.parametrize(("data", "found"), [("é\n", "é\n".encode()), (b"\x00\xff", b"\x00\xff"), ("", b"")])
def test_text_and_bytes(tmp_path: Path, data: str | bytes, found: bytes) -> None:
    write_atomically(tmp_path / "a.txt", data)
    assert (tmp_path / "a.txt").read_bytes() == found
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_folders_are_made_and_files_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "er" / "a.txt"
    write_atomically(path, "a long first version")
    write_atomically(path, "second")
    assert path.read_text(encoding="utf-8") == "second"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_others_may_read_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("failure", "raised", "message"),
    [
        (OSError(28, "No space left on device"), InputError, "cannot be written: No space left on device"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    raised: type[BaseException],
    message: str | None,
    step: str,
) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(step, fail)
    with pytest.raises(raised, match=message):
        write_atomically(path, "new")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a.txt", b"old")]


def test_a_folder_that_cannot_be_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.txt: cannot be written: .*; choose another --out"):
        write_atomically(tmp_path / "file" / "a.txt", "x")


def test_a_folder_in_the_files_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(InputError, match=r"a\.txt: cannot be written"):
        write_atomically(tmp_path / "a.txt", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]

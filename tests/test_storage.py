"""A model on disk: what was saved comes back to the bit, and nothing that was touched does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.storage import SETTINGS, WEIGHTS, load_model, save_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "m", "toy", {"a": 1.5, "words": ["é", "NA"]}, {"w": np.arange(6.0).reshape(2, 3).T})
    return tmp_path / "m"


def test_settings_and_tensors_come_back(folder: Path) -> None:
    settings, tensors = load_model(folder, "toy")
    assert settings == {"a": 1.5, "words": ["é", "NA"]}
    assert tensors["w"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert sorted(path.name for path in folder.iterdir()) == [SETTINGS, WEIGHTS]


@pytest.mark.parametrize("name", [SETTINGS, WEIGHTS])
def test_every_single_changed_byte_is_noticed(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    before = load_model(folder, "toy")[0]
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            settings, _ = load_model(folder, "toy")
        except InputError as error:
            assert name in str(error)  # noqa: PT017 - white space of the JSON may change without harm
        else:
            assert (name, settings) == (SETTINGS, before)


@pytest.mark.parametrize("name", [SETTINGS, WEIGHTS])
@pytest.mark.parametrize("kept", [0, 20])
def test_a_half_written_or_missing_file_is_refused(folder: Path, name: str, kept: int) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=name):
        load_model(folder, "toy")
    path.unlink()
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        load_model(folder, "toy")


def test_another_kind_or_format_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"expected a prices model of format 2, found kind 'toy'"):
        load_model(folder, "prices")
    data = json.loads((folder / SETTINGS).read_text())
    (folder / SETTINGS).write_text(json.dumps(data | {"format": 1}))
    with pytest.raises(InputError, match="format 2"):
        load_model(folder, "toy")
    (folder / SETTINGS).write_text("[]")
    with pytest.raises(InputError, match="expected a JSON object, found list"):
        load_model(folder, "toy")

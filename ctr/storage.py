"""A fitted model as a folder: weights in safetensors, all else in JSON, both checked by SHA-256; never a pickle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically

if TYPE_CHECKING:
    import numpy.typing as npt

FORMAT = 2
SETTINGS = "model.json"
WEIGHTS = "weights.safetensors"


def save_model(folder: Path, kind: str, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> None:
    """Write a model; the JSON, which names the weights' hash, comes last, so that a torn save is recognised."""
    folder = Path(folder)  # scripts may give text
    weights = save_tensors({name: np.asarray(array, order="C") for name, array in tensors.items()})
    write_atomically(folder / WEIGHTS, weights)
    head = {"format": FORMAT, "kind": kind, "weights_sha256": _sha256(weights)}
    digest = _sha256(_canonical(head | {"settings": settings}))
    write_atomically(folder / SETTINGS, json.dumps(head | {"sha256": digest, "settings": settings}, indent=1))


def load_model(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Read settings and tensors back. Raises InputError where a file is missing, altered, or of another kind."""
    folder = Path(folder)
    data = _read_json(folder / SETTINGS)
    if data.get("format") != FORMAT or data.get("kind") != kind:
        raise InputError(
            f"{folder / SETTINGS}: expected a {kind} model of format {FORMAT}, "
            f"found kind {data.get('kind')!r}, format {data.get('format')!r}; fit again with this version"
        )
    digest = data.pop("sha256", None)
    _verify(folder / SETTINGS, _canonical(data), digest)
    weights = _read(folder / WEIGHTS)
    _verify(folder / WEIGHTS, weights, data.get("weights_sha256"))
    try:
        return data["settings"], load_tensors(weights)
    except SafetensorError as error:
        raise InputError(f"{folder / WEIGHTS}: not a safetensors file ({error}); fit again") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; fit and save the model first") from error


def _read_json(path: Path) -> dict[str, Any]:
    content = _read(path)
    try:
        data = json.loads(content)
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); it was altered or half-written: fit again") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(data).__name__}; fit again")
    return data


def _verify(path: Path, content: bytes, digest: object) -> None:
    if _sha256(content) != digest:
        raise InputError(f"{path}: its SHA-256 is not the one recorded; it was altered or half-written: fit again")


def _canonical(data: dict[str, Any]) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

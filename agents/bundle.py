"""Policy bundles: one zip that holds a trained policy and proves that it still is the one that was trained.

Parts: manifest.json (what it is, with size and SHA-256 of every other part), policy.safetensors (network and
forecast), policy.onnx (the same network for other runtimes) and probes.safetensors (observations with the
actions that the trained policy gave). The zip's comment is the SHA-256 of all bytes before it, so any changed
byte is noticed. Nothing in a bundle is executed or unpickled; loading needs neither torch nor SB3.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from bidpilot.agents.learned import Actor, Floats, LearnedPolicy
from bidpilot.agents.lstm import Lstm
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.envs.features import bounds, names
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.observations import features_of
from bidpilot.envs.scenario import Scenario

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

FORMAT = 3
LARGEST = 64 * 2**20
TOLERANCE = 1e-5
DIGEST = 64
KINDS = ("activation", "head", "clip", "levels")
LSTM = ("weight", "recurrent", "bias")
DEFECTS = (
    zipfile.BadZipFile,
    SafetensorError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the standard library, safetensors and NumPy raise on parts that are not what they should be."""

TABLES = ("multipliers", "spend", "value", "volume", "shades")
"""Arrays of a forecast; shades only where bids are shaded."""

PARTS = ("manifest.json", "policy.safetensors", "policy.onnx", "probes.safetensors")


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle. manifest: as in the file. policy: ready to bid. observations, actions: the probes."""

    manifest: dict[str, Any]
    policy: LearnedPolicy
    observations: Floats
    actions: Floats


def policy_tensors(policy: LearnedPolicy) -> dict[str, Any]:
    """Return the arrays of a policy by name: network and forecast."""
    actor, forecast = policy.actor, policy.forecast
    tensors: dict[str, FloatArray | Floats] = {"mean": actor.mean, "scale": actor.scale}
    tensors |= {f"weight.{i}": weight for i, weight in enumerate(actor.weights)}
    tensors |= {f"bias.{i}": bias for i, bias in enumerate(actor.biases)}
    if actor.lstm is not None:
        tensors |= {f"lstm.{key}": getattr(actor.lstm, key) for key in LSTM}
    tensors |= _tables(forecast, "forecast.")
    for i, part in enumerate(forecast.parts):
        tensors |= _tables(part, f"part.{i}.")
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def policy_settings(policy: LearnedPolicy) -> dict[str, Any]:
    """Return the settings of a policy that are not arrays."""
    actor, forecast = policy.actor, policy.forecast
    return {
        "actor": {"layers": len(actor.weights), "memory": actor.lstm is not None}
        | {key: getattr(actor, key) for key in KINDS},
        "scenario": asdict(policy.scenario),
        "forecast": _sizes(forecast),
        "parts_of_forecast": [_sizes(part) for part in forecast.parts],
    }


def restore_policy(tensors: dict[str, Any], settings: dict[str, Any]) -> LearnedPolicy:
    """Put a policy together from its arrays and settings."""
    count, memory = settings["actor"]["layers"], settings["actor"]["memory"]
    actor = Actor(
        mean=tensors["mean"],
        scale=tensors["scale"],
        weights=tuple(tensors[f"weight.{i}"] for i in range(count)),
        biases=tuple(tensors[f"bias.{i}"] for i in range(count)),
        lstm=Lstm(**{key: tensors[f"lstm.{key}"] for key in LSTM}) if memory else None,
        **{key: settings["actor"][key] for key in KINDS},
    )
    parts = tuple(_forecast(tensors, f"part.{i}.", sizes) for i, sizes in enumerate(settings["parts_of_forecast"]))
    forecast = replace(_forecast(tensors, "forecast.", settings["forecast"]), parts=parts)
    return LearnedPolicy(actor, Scenario.of(settings["scenario"]), forecast)


def _tables(forecast: Forecast, prefix: str) -> dict[str, FloatArray]:
    """Return the arrays of a forecast, but for its parts, by name."""
    return {prefix + key: getattr(forecast, key) for key in TABLES if getattr(forecast, key) is not None}


def _sizes(forecast: Forecast) -> dict[str, float]:
    return {"full_cost": forecast.full_cost, "full_value": forecast.full_value}


def _forecast(tensors: dict[str, Any], prefix: str, sizes: dict[str, Any]) -> Forecast:
    return Forecast(**{key: tensors[prefix + key] for key in TABLES if prefix + key in tensors}, **sizes)


def write_bundle(
    path: Path, policy: LearnedPolicy, observations: Floats, actions: Floats, about: dict[str, Any]
) -> None:
    """Write a bundle, atomically. about: name, Config, seed, versions and evaluation, copied to the manifest.

    observations (n, d), actions (n, groups): the probes; of a policy with a memory better whole episodes, (ticks,
    episodes, d) and (ticks, episodes, groups).

    Raises InputError when the policy, or its ONNX form, does not give the probes' actions within 1e-5, or when
    the extra for ONNX is not installed.
    """
    from bidpilot.agents.onnx import onnx_bytes

    _replay(policy.actor, observations, actions)
    parts = {
        "policy.safetensors": save_tensors(policy_tensors(policy)),
        "policy.onnx": onnx_bytes(policy.actor, policy.scenario, observations, actions),
        "probes.safetensors": save_tensors({"observations": observations, "actions": actions}),
    }
    manifest = {
        **about,
        "format": FORMAT,
        **policy_settings(policy),
        "features": _features(policy),
        "parts": {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in parts.items()},
    }
    text = json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False)
    write_atomically(path, _zip({"manifest.json": text.encode()} | parts))


def load_bundle(path: str | Path) -> Bundle:
    """Load a bundle and replay its probes.

    Raises InputError for a missing, foreign, changed or incomplete file, another format version, features that
    this version of bidpilot does not compute, or a policy that no longer answers as it was trained to.
    """
    path = Path(path)
    try:
        return _open(_unzip(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except DEFECTS as error:
        raise InputError(f"{path}: not a complete policy bundle ({error!r}); export it again") from error


def _open(parts: dict[str, bytes]) -> Bundle:
    """Make a bundle of its parts: check each against the manifest, then the features, then the answers."""
    manifest = json.loads(parts["manifest.json"])
    if manifest["format"] != FORMAT:
        raise InputError(f"bundle format {manifest['format']!r}, this bidpilot reads {FORMAT}; export it again")
    for name in PARTS[1:]:
        entry = manifest["parts"][name]
        if len(parts[name]) != entry["bytes"] or _sha256(parts[name]) != entry["sha256"]:
            raise InputError(f"part {name} is not the one the manifest describes; get a fresh copy")
    policy = restore_policy(load_tensors(parts["policy.safetensors"]), manifest)
    probes = load_tensors(parts["probes.safetensors"])
    if manifest["features"] != _features(policy):
        raise InputError(f"the policy observes {manifest['features']}, this bidpilot computes {_features(policy)}")
    _replay(policy.actor, probes["observations"], probes["actions"])
    return Bundle(manifest, policy, probes["observations"], probes["actions"])


def _features(policy: LearnedPolicy) -> list[dict[str, Any]]:
    """Return name and bounds of every entry of the observation: what an encoder must agree on."""
    features, groups = features_of(policy.scenario), policy.actor.groups
    low, high = bounds(features, groups)
    entries = zip(names(features, groups), low.tolist(), high.tolist(), strict=True)
    return [{"name": name, "low": a, "high": b} for name, a, b in entries]


def _replay(actor: Actor, observations: Floats, actions: Floats) -> None:
    """Refuse an actor that does not give the probes' actions."""
    gap = actor.gap(observations, actions)
    if not gap <= TOLERANCE:
        raise InputError(f"the policy's actions differ from the probes by {gap:.2g} (allowed {TOLERANCE:g})")


def _zip(parts: dict[str, bytes]) -> bytes:
    """Pack the parts, uncompressed and undated, and seal the file with the digest of its bytes as comment."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in PARTS:
            archive.writestr(zipfile.ZipInfo(name), parts[name])
        archive.comment = b"0" * DIGEST
    body = buffer.getvalue()[:-DIGEST]
    return body + _sha256(body).encode()


def _unzip(path: Path) -> dict[str, bytes]:
    """Read the parts of a sealed file: only known names, no more bytes than LARGEST."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= LARGEST else b""
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}") from error
    if size > LARGEST:
        raise InputError(f"{size:,} bytes is more than a policy bundle holds ({LARGEST:,})")
    if _sha256(data[:-DIGEST]).encode() != data[-DIGEST:]:
        raise InputError("not a policy bundle, or changed since it was written (SHA-256 differs)")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if sorted(entry.filename for entry in entries) != sorted(PARTS):
            raise InputError(f"expected the parts {PARTS}, got {[e.filename for e in entries]}")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise InputError("a part is compressed; bundles are stored as they are")
        if sum(entry.file_size for entry in entries) > LARGEST:
            raise InputError(f"the parts claim more than {LARGEST:,} bytes")
        return {entry.filename: archive.read(entry) for entry in entries}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

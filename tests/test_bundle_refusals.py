"""No other file passes for a bundle: changed, cut, foreign, forged or evil, it is refused in one clear line."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from bidpilot.agents import bundle
from bidpilot.agents.bundle import PARTS, load_bundle, write_bundle
from bidpilot.agents.learned import Actor, LearnedPolicy
from bidpilot.ctr.errors import InputError
from bidpilot.envs.features import bounds
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.observations import FEATURES
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.scenarios import default_market

GROUPS = 8
ACTOR = {"layers": 3, "memory": False, "activation": "tanh", "head": "clip", "clip": 10.0, "levels": 1}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a true bundle; its graph, which loading does not read, is left out to save the seconds of its export."""
    rng = np.random.default_rng(1)
    low, high = bounds(FEATURES, GROUPS)
    shapes = ((16, len(low)), (16, 16), (GROUPS, 16))
    weights = tuple(rng.normal(0, 0.4, shape).astype(np.float32) for shape in shapes)
    biases = tuple(rng.normal(0, 0.4, shape[0]).astype(np.float32) for shape in shapes)
    actor = Actor(np.zeros(len(low)), np.ones(len(low)), weights, biases)
    observations = rng.uniform(low, high, (1_000, len(low))).astype(np.float32)
    forecast = Forecast.of(draw_days(default_market(400, 12), 1, rng))
    written = tmp_path_factory.mktemp("bundle") / "policy.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bidpilot.agents.onnx.onnx_bytes", lambda *_: b"graph")
        policy = LearnedPolicy(actor, Scenario("targeting"), forecast)
        write_bundle(written, policy, observations, actor(observations).astype(np.float32), {"seed": 3})
    assert load_bundle(written).policy.groups == GROUPS
    return written


def parts_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sealed(parts: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip of parts with the right seal: what someone who knows the format can make."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in parts:
            archive.writestr(zipfile.ZipInfo(name), data, compression)
        archive.comment = b"0" * 64
    return resealed(buffer.getvalue())


def resealed(data: bytes) -> bytes:
    return data[:-64] + hashlib.sha256(data[:-64]).hexdigest().encode()


def described(parts: dict[str, bytes]) -> bytes:
    """Return a sealed bundle whose manifest describes the other parts truly."""
    manifest = json.loads(parts["manifest.json"])
    for name in PARTS[1:]:
        digest = hashlib.sha256(parts[name]).hexdigest()
        manifest["parts"][name] = {"bytes": len(parts[name]), "sha256": digest}
    return sealed(list((parts | {"manifest.json": json.dumps(manifest).encode()}).items()))


def refusal(path: Path) -> str:
    """Return the message with which a file is refused: one line that begins with its path."""
    with pytest.raises(InputError) as caught:
        load_bundle(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_every_changed_byte_is_noticed(path: Path, tmp_path: Path) -> None:
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    changed = tmp_path / "changed.zip"
    for place in [0, len(whole) - 1, *rng.integers(len(whole), size=60)]:
        data = bytearray(whole)
        data[place] ^= int(rng.integers(1, 256))
        changed.write_bytes(data)
        assert "changed since it was written" in refusal(changed)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_file_is_refused(share: float, path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole[: int(share * len(whole))])
    assert "not a policy bundle" in refusal(cut)


def test_what_is_no_file_of_ours_is_refused(path: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.zip"
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("data.pkl", b"")
    assert "not a policy bundle" in refusal(foreign)
    assert "cannot be read" in refusal(tmp_path)
    assert "No such file" in refusal(tmp_path / "missing.zip")
    foreign.write_bytes(b"x" * 10_000)
    assert "not a policy bundle" in refusal(foreign)
    foreign.write_bytes(path.read_bytes() + b"x")
    assert "not a policy bundle" in refusal(foreign)


def test_a_file_that_is_too_large_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = tmp_path / "large.zip"
    with large.open("wb") as file:
        file.truncate(bundle.LARGEST + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read"))
    assert "more than a policy bundle holds" in refusal(large)


def test_parts_that_claim_more_than_a_bundle_holds_are_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = list(parts_of(path).items())
    size = sum(len(data) for _, data in parts)
    small = sealed(parts)
    directory = small.index(b"PK\x01\x02")
    claim = bytearray(small)
    claim[directory + 24 : directory + 28] = (2**31).to_bytes(4, "little")  # the uncompressed size of the first part
    bomb = tmp_path / "bomb.zip"
    bomb.write_bytes(resealed(bytes(claim)))
    assert "the parts claim more than" in refusal(bomb)
    monkeypatch.setattr(bundle, "LARGEST", size)
    assert "more than a policy bundle holds" in refusal(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_parts_are_refused_before_they_unfold(compression: int, path: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    parts = parts_of(path) | {"policy.onnx": bytes(2**22)}
    bomb.write_bytes(sealed(list(parts.items()), compression))
    assert "a part is compressed" in refusal(bomb)


def test_missing_extra_and_doubled_parts_are_refused(path: Path, tmp_path: Path) -> None:
    parts = list(parts_of(path).items())
    odd = tmp_path / "odd.zip"
    for chosen in (parts[1:], parts[:-1], [], [*parts, ("../evil.py", b"")], [*parts, ("x.pkl", b"")]):
        odd.write_bytes(sealed(chosen))
        assert "expected the parts" in refusal(odd)
    with pytest.warns(UserWarning, match="Duplicate name"):
        odd.write_bytes(sealed([*parts, parts[1]]))
    assert "expected the parts" in refusal(odd)


def test_a_part_swapped_for_another_is_refused(path: Path, tmp_path: Path) -> None:
    parts = parts_of(path)
    tensors = load(parts["policy.safetensors"])
    tensors["bias.0"] = tensors["bias.0"] + np.float32(1e-3)
    swapped = tmp_path / "swapped.zip"
    swapped.write_bytes(sealed(list((parts | {"policy.safetensors": save(tensors)}).items())))
    assert "part policy.safetensors is not the one the manifest describes" in refusal(swapped)


def test_a_policy_that_does_not_answer_as_its_probes_is_refused(path: Path, tmp_path: Path) -> None:
    parts = parts_of(path)
    tensors = load(parts["policy.safetensors"])
    tensors["bias.2"] = tensors["bias.2"] + np.float32(1e-3)
    changed = tmp_path / "changed.zip"
    changed.write_bytes(described(parts | {"policy.safetensors": save(tensors)}))
    assert "differ from the probes by 0.001" in refusal(changed)
    empty = {name: tensor[:0] for name, tensor in load(parts["probes.safetensors"]).items()}
    changed.write_bytes(described(parts | {"probes.safetensors": save(empty)}))
    assert "differ from the probes by inf" in refusal(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "bundle format 2, this bidpilot reads 3; export it again"),
        ({"format": "3\n"}, "bundle format"),
        ({"features": []}, "the policy observes"),
        ({"actor": {"layers": 0}}, "not a complete policy bundle"),
        ({"actor": ACTOR | {"layers": 4}}, "not a complete policy bundle"),
        ({"actor": ACTOR | {"layers": 2}}, "the policy observes"),
        ({"actor": ACTOR | {"activation": "relu"}}, "differ from the probes"),
        ({"actor": ACTOR | {"activation": "gelu"}}, "'gelu'"),
        ({"actor": ACTOR | {"clip": "far"}}, "not a complete policy bundle"),
        ({"actor": ACTOR | {"memory": True}}, "not a complete policy bundle"),
        ({"actor": ACTOR | {"head": "level"}}, "make no actions of 1 levels"),
        ({"actor": ACTOR | {"head": "level", "levels": 4}}, "chooses of 4 levels, the scenario of 1"),
        ({"actor": ACTOR | {"head": "level", "levels": 10**12}}, "make no actions of 1000000000000 levels"),
        ({"actor": ACTOR | {"head": "level", "levels": "many"}}, "not a complete policy bundle"),
        (
            {"scenario": {"environment": "racing"}},
            "unknown environment 'racing'; known: ad_selection, allocation, pacing, shading, targeting",
        ),
        ({"scenario": {"colour": 1}}, "not a complete policy bundle"),
        ({"parts": []}, "not a complete policy bundle"),
        ({"parts": {}}, "not a complete policy bundle"),
        ({"forecast": None}, "not a complete policy bundle"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    change: dict[str, Any], message: str, path: Path, tmp_path: Path
) -> None:
    parts = parts_of(path)
    manifest = json.loads(parts["manifest.json"]) | change
    parts["manifest.json"] = json.dumps(manifest).encode()
    odd = tmp_path / "odd.zip"
    odd.write_bytes(sealed(list(parts.items())))
    assert message in refusal(odd)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "\xff", "[" * 100_000, '{"format": 3}'])
def test_a_manifest_that_is_none_is_refused(text: str, path: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.zip"
    odd.write_bytes(sealed(list((parts_of(path) | {"manifest.json": text.encode("latin-1")}).items())))
    assert "not a complete policy bundle" in refusal(odd)


places = st.tuples(st.booleans(), st.integers(0, 2**20), st.integers(0, 255))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(places, min_size=1, max_size=4))
def test_a_forged_seal_never_ends_in_another_error(
    path: Path, tmp_path: Path, changes: list[tuple[bool, int, int]]
) -> None:
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    for structure, place, byte in changes:  # anywhere, or where the zip describes itself
        data[directory + place % (len(data) - directory) if structure else place % len(data)] = byte
    forged = tmp_path / "forged.zip"
    forged.write_bytes(resealed(bytes(data)))
    with contextlib.suppress(InputError):
        load_bundle(forged)


def test_nothing_in_a_file_is_executed(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tmp_path / "executed"

    class Evil:
        """Makes a file when it is unpickled."""

        def __reduce__(self) -> tuple[object, tuple[str]]:
            """Return what unpickling runs."""
            return os.mkdir, (str(trace),)

    evil = pickle.dumps(Evil())
    monkeypatch.setattr(pickle, "Unpickler", lambda *_: pytest.fail("unpickled"))
    file = tmp_path / "evil.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("data.pkl", "policy.pth", "data"):
            archive.writestr(name, evil)
    assert "not a policy bundle" in refusal(file)
    parts = parts_of(path)
    for name in PARTS[1:]:
        file.write_bytes(described(parts | {name: evil}))
        if name != "policy.onnx":  # that part is for other runtimes; loading does not read it
            assert "not a complete policy bundle" in refusal(file)
    file.write_bytes(evil)
    assert "not a policy bundle" in refusal(file)
    assert not trace.exists()

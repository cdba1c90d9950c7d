"""Bundles: the same policy in another process, and no other file passes for one."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import textwrap
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
from bidpilot.agents.learned import Actor, Floats, LearnedPolicy
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.errors import InputError
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.observations import bounds, names
from bidpilot.envs.scenarios import Scenario, default_market
from bidpilot.envs.types import Campaign, Day

TICKS = 24
GROUPS = 8
ABOUT = {"policy": "ppo", "seed": 3, "evaluation": [], "versions": {"numpy": np.__version__}}


def a_day() -> Day:
    return draw_days(default_market(800, TICKS), 3, np.random.default_rng(3))[2]


@pytest.fixture(scope="module")
def policy() -> LearnedPolicy:
    rng = np.random.default_rng(1)
    width = len(names(GROUPS))
    shapes = ((16, width), (16, 16), (GROUPS, 16))
    weights = tuple(rng.normal(0, 0.4, shape).astype(np.float32) for shape in shapes)
    biases = tuple(rng.normal(0, 0.4, shape[0]).astype(np.float32) for shape in shapes)
    actor = Actor(rng.normal(0, 0.3, width), rng.uniform(0.5, 3, width), weights, biases)
    days = draw_days(default_market(800, TICKS), 2, np.random.default_rng(3))
    return LearnedPolicy(actor, Scenario("targeting", scarcity=(0.1, 0.5)), Forecast.of(days))


@pytest.fixture(scope="module")
def probes(policy: LearnedPolicy) -> tuple[Floats, Floats]:
    low, high = bounds(GROUPS)
    observations = np.random.default_rng(2).uniform(low, high, (1_000, len(low))).astype(np.float32)
    return observations, policy.actor(observations).astype(np.float32)


@pytest.fixture(scope="module")
def path(policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("bundle") / "policy.zip"
    write_bundle(written, policy, *probes, ABOUT)
    return written


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the exporter out where the graph does not matter: it takes seconds."""
    monkeypatch.setattr("bidpilot.agents.onnx.onnx_bytes", lambda *_: b"graph")


def episode(policy: LearnedPolicy, day: Day) -> np.ndarray[Any, np.dtype[np.float64]]:
    full_cost = policy.forecast.full_cost
    return run_episode(policy, day, Campaign(0.2 * full_cost, TICKS, full_cost), np.random.default_rng(0)).table


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


def test_a_round_trip_keeps_everything(path: Path, policy: LearnedPolicy, probes: tuple[Floats, Floats]) -> None:
    loaded = load_bundle(path)
    assert (loaded.observations == probes[0]).all()
    assert (loaded.actions == probes[1]).all()
    assert loaded.policy.scenario == policy.scenario
    assert {key: loaded.manifest[key] for key in ABOUT} == ABOUT
    assert (loaded.policy.actor(probes[0]) == policy.actor(probes[0])).all()
    assert (episode(loaded.policy, a_day()) == episode(policy, a_day())).all()


def test_the_manifest_describes_every_part_and_feature(path: Path) -> None:
    parts = parts_of(path)
    manifest = json.loads(parts["manifest.json"])
    assert tuple(parts) == PARTS
    assert set(manifest["parts"]) == set(PARTS[1:])
    for name, entry in manifest["parts"].items():
        assert entry == {"bytes": len(parts[name]), "sha256": hashlib.sha256(parts[name]).hexdigest()}
    low, high = bounds(GROUPS)
    assert [f["name"] for f in manifest["features"]] == names(GROUPS)
    assert [(f["low"], f["high"]) for f in manifest["features"]] == list(zip(low.tolist(), high.tolist(), strict=True))


def test_a_fresh_process_without_torch_and_sb3_gives_the_same_actions_and_episode(
    path: Path, policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path: Path
) -> None:
    np.savez(tmp_path / "in.npz", observations=probes[0])
    day, full_cost = a_day(), policy.forecast.full_cost
    arrays = {f"seen.{name}": getattr(day.seen, name) for name in day.seen.__slots__}
    arrays |= {f"hidden.{name}": getattr(day.hidden, name) for name in day.hidden.__slots__}
    np.savez(tmp_path / "day.npz", **arrays)
    code = f"""
        import sys
        import numpy as np
        from pathlib import Path
        from bidpilot.agents.bundle import load_bundle
        from bidpilot.agents.rollout import run_episode
        from bidpilot.envs.types import Campaign, Day, Hidden, Opportunities

        policy = load_bundle(Path({str(path)!r})).policy
        actions = policy.actor(np.load("in.npz")["observations"])
        day = np.load("day.npz")
        seen = Opportunities(*(day["seen." + name] for name in Opportunities.__slots__))
        hidden = Hidden(*(day["hidden." + name] for name in Hidden.__slots__))
        campaign = Campaign({0.2 * full_cost!r}, {TICKS}, {full_cost!r})
        built = Day.build(seen, hidden, {TICKS}, {day.segments})
        result = run_episode(policy, built, campaign, np.random.default_rng(0))
        np.savez("out.npz", actions=actions, table=result.table)
        print([name for name in ("torch", "stable_baselines3", "onnx", "onnxruntime") if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
    out = np.load(tmp_path / "out.npz")
    assert np.abs(out["actions"] - probes[1]).max() <= 1e-5
    assert (out["table"] == episode(policy, day)).all()


def test_written_twice_the_file_has_the_same_bytes(
    path: Path, policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path: Path
) -> None:
    write_bundle(tmp_path / "again.zip", policy, *probes, ABOUT)
    assert (tmp_path / "again.zip").read_bytes() == path.read_bytes()


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


def test_parts_that_claim_too_much_are_refused(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = parts_of(path)
    bomb = tmp_path / "bomb.zip"
    bomb.write_bytes(sealed(list(parts.items()), zipfile.ZIP_DEFLATED))
    assert "a part is compressed" in refusal(bomb)
    monkeypatch.setattr(bundle, "LARGEST", path.stat().st_size - 1)
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
        ({"format": 2}, "bundle format 2, this bidpilot reads 1"),
        ({"format": "1\n"}, "bundle format"),
        ({"features": []}, "the policy observes"),
        ({"actor": {"layers": 0}}, "not a complete policy bundle"),
        ({"actor": {"layers": 4, "activation": "tanh", "head": "clip", "clip": 10.0}}, "not a complete policy bundle"),
        ({"actor": {"layers": 2, "activation": "tanh", "head": "clip", "clip": 10.0}}, "the policy observes"),
        ({"actor": {"layers": 3, "activation": "relu", "head": "clip", "clip": 10.0}}, "differ from the probes"),
        ({"actor": {"layers": 3, "activation": "tanh", "head": "clip", "clip": "far"}}, "not a complete"),
        ({"scenario": {"environment": "racing"}}, "unknown environment 'racing'; known: pacing, targeting"),
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


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "\xff", "[" * 100_000, '{"format": 1}'])
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


@pytest.mark.usefixtures("quick")
def test_a_failing_write_leaves_no_file_and_keeps_the_old_one(
    policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    old = tmp_path / "old.zip"
    write_bundle(old, policy, *probes, ABOUT)
    before = old.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    for target in (old, tmp_path / "new.zip"):
        with pytest.raises(InputError, match="cannot be written: No space left on device"):
            write_bundle(target, policy, *probes, ABOUT | {"seed": 4})
    assert [entry.name for entry in tmp_path.iterdir()] == ["old.zip"]
    assert old.read_bytes() == before


@pytest.mark.usefixtures("quick")
def test_a_policy_that_does_not_give_its_probes_is_not_written(
    policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="differ from the probes"):
        write_bundle(tmp_path / "wrong.zip", policy, probes[0], probes[1] + np.float32(1e-3), ABOUT)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick")
def test_what_is_said_about_a_bundle_cannot_change_what_it_is(
    policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path: Path
) -> None:
    about = {"format": 99, "actor": None, "features": None, "parts": None}
    write_bundle(tmp_path / "policy.zip", policy, *probes, about)
    assert load_bundle(tmp_path / "policy.zip").manifest["format"] == bundle.FORMAT


@pytest.mark.parametrize("pixel", [float("nan"), float("inf")])
@pytest.mark.usefixtures("quick")
def test_a_manifest_holds_no_number_that_json_has_not(
    pixel: float, policy: LearnedPolicy, probes: tuple[Floats, Floats], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_bundle(tmp_path / "policy.zip", policy, *probes, {"evaluation": pixel})
    assert not list(tmp_path.iterdir())

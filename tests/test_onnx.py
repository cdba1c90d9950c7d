"""The exported graph gives the trained network's actions in ONNX Runtime, whatever it is asked."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bidpilot.agents.learned import Actor, Floats
from bidpilot.agents.lstm import Lstm
from bidpilot.agents.onnx import onnx_bytes, played
from bidpilot.ctr.errors import InputError
from bidpilot.envs.features import bounds, names
from bidpilot.envs.observations import FEATURES
from bidpilot.envs.residual import OFF
from bidpilot.envs.scenario import Scenario

if TYPE_CHECKING:
    from typing import Literal

REACH = 0.7
SCENARIO = Scenario(reach=REACH)


def network(groups: int) -> Actor:
    rng = np.random.default_rng(1)
    sizes = (len(names(FEATURES, groups)), 16, 16, groups)
    pairs = list(pairwise(sizes))
    weights = tuple(rng.normal(0, 0.4, (b, a)).astype(np.float32) for a, b in pairs)
    biases = tuple(rng.normal(0, 0.4, b).astype(np.float32) for _, b in pairs)
    return Actor(rng.normal(0, 0.3, sizes[0]), rng.uniform(0.5, 3, sizes[0]), weights, biases)


def observations(groups: int, rows: int = 500) -> Floats:
    low, high = bounds(FEATURES, groups)
    return np.random.default_rng(2).uniform(low, high, (rows, len(low))).astype(np.float32)


def exported(actor: Actor) -> bytes:
    probes = observations(actor.groups)
    return onnx_bytes(actor, SCENARIO, probes, actor(probes).astype(np.float32))


def answers(data: bytes, batch: Floats, memory: int = 0) -> dict[str, Any]:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    given = {"observation": batch} | dict.fromkeys(
        ("hidden", "cell") if memory else (), np.zeros((len(batch), memory), np.float32)
    )
    return dict(zip(["action", "factor"], session.run(["action", "factor"], given), strict=True))


@pytest.mark.parametrize(
    ("groups", "activation", "head"), [(1, "tanh", "clip"), (8, "relu", "tanh")], ids=["ppo", "sac"]
)
def test_parity(groups: int, activation: Literal["tanh", "relu"], head: Literal["clip", "tanh"]) -> None:
    actor = replace(network(groups), activation=activation, head=head)
    data, probes = exported(actor), observations(groups, 10_000)
    extreme = np.array([[0.0], [1e30], [-1e30], [np.inf], [-np.inf], [1e-30]], dtype=np.float32)
    for batch in (probes, probes[:1], probes[7:8], np.repeat(extreme, len(actor.mean), axis=1)):
        got = answers(data, batch)
        assert got["action"].shape == (len(batch), groups)
        assert np.abs(got["action"] - actor(batch)).max() <= 1e-5
        assert np.abs(got["factor"] - np.exp(REACH * actor(batch))).max() <= 1e-5


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("levels", [1, 7])
def test_parity_of_levels_and_of_a_memory_over_whole_episodes(levels: int, *, memory: bool) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    rng, size = np.random.default_rng(5), len(names(FEATURES, 8))
    parts = [rng.normal(0, 0.5, shape).astype(np.float32) for shape in ((64, size), (64, 16), 64)]
    width = 16 if memory else size
    last = rng.normal(0, 1, (8 * levels, width)).astype(np.float32)
    actor = replace(
        network(8),
        weights=(last,),
        biases=(np.zeros(8 * levels, np.float32),),
        head="level" if levels > 1 else "clip",
        levels=levels,
        lstm=Lstm(*parts) if memory else None,
    )
    probes = observations(8, 24 * 50).reshape(24, 50, size)
    data = onnx_bytes(actor, SCENARIO, probes, actor(probes).astype(np.float32))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == ["observation", *(["hidden", "cell"] if memory else [])]
    assert np.abs(played(session, actor, probes) - actor(probes)).max() <= 1e-5
    factor = answers(data, probes[0], memory=16 * memory)["factor"]
    assert np.abs(factor - np.exp(REACH * actor(probes[0]))).max() <= 1e-5


def test_a_group_switched_off_has_the_factor_0_as_in_the_environment() -> None:
    actor, batch = network(8), observations(8, 2_000)
    scenario = Scenario("targeting", reach=REACH)
    got = answers(onnx_bytes(actor, scenario, batch, actor(batch).astype(np.float32)), batch)
    off = got["action"] <= OFF
    assert 0 < off.mean() < 0.5
    assert (got["factor"][off] == 0).all()
    assert np.abs(got["factor"] - np.exp(REACH * got["action"]))[~off].max() <= 1e-5


def test_the_graph_is_one_file_that_tells_nothing_of_the_machine_it_was_made_on() -> None:
    onnx = pytest.importorskip("onnx")
    data = exported(network(1))
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert [tensor.data_location for tensor in model.graph.initializer] == [0] * len(model.graph.initializer)
    assert str(Path(__file__).parents[1]).encode() not in data
    assert b".py" not in data
    assert data == exported(network(1))


def test_a_graph_that_answers_differently_is_refused() -> None:
    actor, probes = network(1), observations(1)
    with pytest.raises(InputError, match="differ from the probes by"):
        onnx_bytes(actor, SCENARIO, probes, (actor(probes) - 0.001).astype(np.float32))


@pytest.mark.parametrize("package", ["onnxruntime", "onnx"])
def test_a_missing_package_is_named_with_what_to_do(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"needs the package '{package}': pip install 'bidpilot\[onnx\]'"):
        exported(network(1))

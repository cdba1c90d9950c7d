"""The trained network as ONNX: normalisation, memory, layers, action bounds and bid factor in one graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.envs.residual import OFF

if TYPE_CHECKING:
    import numpy.typing as npt
    from onnx import ModelProto

    from bidpilot.agents.learned import Actor, Floats
    from bidpilot.envs.scenario import Scenario

OPSET = 20
IR = 10
TOLERANCE = 1e-5
MEMORY = ("hidden", "cell")


def onnx_bytes(actor: Actor, scenario: Scenario, observations: Floats, actions: Floats) -> bytes:
    """Write an actor as a graph, check it in ONNX Runtime against the probes, and return the file's bytes.

    Input: observation (batch, d) float32, raw. Outputs: action (batch, groups) in -1..1, and factor =
    exp(reach x action), by which the controller's multiplier (in allocation its share of the budget, in shading its
    1 / lambda) is to be multiplied (0 where the action switches a group off). With a memory also the inputs hidden
    and cell (batch, size), zeros at an episode's start, and the outputs next_hidden and next_cell, to be given with
    the next tick. observations, actions: as of Actor.gap. Raises InputError when the packages are missing or the
    graph answers differently.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise InputError(f"export needs the package {error.name!r}: pip install 'bidpilot[onnx]'") from error
    graph = _Graph()
    action = _layers(graph, actor, _remembered(graph, actor, _normalised(graph, actor)))
    graph.add("Identity", action, out="action")
    factor = graph.add("Exp", graph.add("Mul", "action", graph.constant(scenario.reach, np.float32)))
    if scenario.can_switch_off:
        on = graph.add("Greater", "action", graph.constant(OFF, np.float32))
        factor = graph.add("Where", on, factor, graph.constant(0.0, np.float32))
    graph.add("Identity", factor, out="factor")
    model = graph.model(actor)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    answers = played(session, actor, observations)
    gap = float(np.abs(answers - actions).max()) if actor.levels == 1 else actor.gap(observations, answers)
    if not gap <= TOLERANCE:
        raise InputError(f"the ONNX graph's actions differ from the probes by {gap:.2g} (allowed {TOLERANCE:g})")
    return data


def played(session: Any, actor: Actor, observations: Floats) -> Floats:  # noqa: ANN401 - it has no types
    """Return a graph's actions (..., groups) for observations (n, d), or whole episodes (ticks, episodes, d).

    session: of ONNX Runtime.
    """
    ticks = observations if observations.ndim == 3 else observations[None]  # noqa: PLR2004 - whole episodes
    size = 0 if actor.lstm is None else actor.lstm.size
    memory = dict.fromkeys(MEMORY if size else (), np.zeros((ticks.shape[1], size), dtype=np.float32))
    answers = []
    for tick in ticks:
        action, *after = session.run(["action", *(f"next_{name}" for name in memory)], {"observation": tick} | memory)
        memory = dict(zip(memory, after, strict=True))
        answers.append(action)
    return np.reshape(np.stack(answers), (*observations.shape[:-1], actor.groups))


def _normalised(graph: _Graph, actor: Actor) -> str:
    """Add clip((observation - mean) * scale), in float64 as in training, and return its name."""
    double, single = 11, 1  # TensorProto.DOUBLE, FLOAT
    x = graph.add("Cast", "observation", to=double)
    x = graph.add("Sub", x, graph.constant(actor.mean, np.float64))
    x = graph.add("Mul", x, graph.constant(actor.scale, np.float64))
    x = graph.add("Clip", x, *(graph.constant(end, np.float64) for end in (-actor.clip, actor.clip)))
    return graph.add("Cast", x, to=single)


def _remembered(graph: _Graph, actor: Actor, x: str) -> str:
    """Add the memory, where there is one, and return the name of what the layers take."""
    if actor.lstm is None:
        return x
    weight, recurrent, bias = (
        graph.constant(part, np.float32) for part in (actor.lstm.weight, actor.lstm.recurrent, actor.lstm.bias)
    )
    gates = graph.add("Gemm", "hidden", recurrent, graph.add("Gemm", x, weight, bias, transB=1), transB=1)
    parts = graph.split(gates, 4)
    enter, keep, leave = (graph.add("Sigmoid", parts[i]) for i in (0, 1, 3))
    kept, entered = graph.add("Mul", keep, "cell"), graph.add("Mul", enter, graph.add("Tanh", parts[2]))
    cell = graph.add("Add", kept, entered, out="next_cell")
    return graph.add("Mul", leave, graph.add("Tanh", cell), out="next_hidden")


def _layers(graph: _Graph, actor: Actor, x: str) -> str:
    """Add the layers and the head, and return the action's name."""
    for number, (weight, bias) in enumerate(zip(actor.weights, actor.biases, strict=True), start=1):
        x = graph.add("Gemm", x, *(graph.constant(part, np.float32) for part in (weight, bias)), transB=1)
        if number < len(actor.weights):
            x = graph.add("Tanh" if actor.activation == "tanh" else "Relu", x)
    if actor.head == "level":
        shape = graph.constant((-1, actor.groups, actor.levels), np.int64)
        best = graph.add("ArgMax", graph.add("Reshape", x, shape), axis=-1, keepdims=0)
        return graph.add("Gather", graph.constant(actor.rungs, np.float32), best)
    if actor.head == "tanh":
        return graph.add("Tanh", x)
    return graph.add("Clip", x, *(graph.constant(end, np.float32) for end in (-1.0, 1.0)))


class _Graph:
    """Nodes and constants in the order in which they are added; each is named by its number."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def add(self, operator: str, *inputs: str, out: str = "", **settings: Any) -> str:  # noqa: ANN401 - an operator's attributes
        """Add a node and return the name of what it gives."""
        from onnx.helper import make_node

        name = out or f"{operator.lower()}{len(self._nodes)}"
        self._nodes.append(make_node(operator, inputs, [name], name=f"{name}_node", **settings))
        return name

    def split(self, x: str, count: int) -> list[str]:
        """Cut the last axis into equal parts and return their names."""
        from onnx.helper import make_node

        names = [f"{x}_{i}" for i in range(count)]
        self._nodes.append(make_node("Split", [x], names, name=f"{x}_split", axis=-1, num_outputs=count))
        return names

    def constant(self, amount: npt.ArrayLike, dtype: type[np.generic]) -> str:
        """Add a constant and return its name."""
        from onnx.numpy_helper import from_array

        name = f"constant{len(self._constants)}"
        self._constants.append(from_array(np.asarray(amount, dtype=dtype), name))
        return name

    def model(self, actor: Actor) -> ModelProto:
        """Return the whole: observation (batch, d) and memory -> action, factor (batch, groups) and the next memory."""
        from onnx import TensorProto, helper

        size = 0 if actor.lstm is None else actor.lstm.size
        given = {"observation": len(actor.mean)} | dict.fromkeys(MEMORY if size else (), size)
        made = dict.fromkeys(("action", "factor"), actor.groups)
        made |= {f"next_{name}": size for name in MEMORY if size}
        inputs, outputs = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]) for name, width in side.items()]
            for side in (given, made)
        )
        graph = helper.make_graph(self._nodes, "policy", inputs, outputs, self._constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)

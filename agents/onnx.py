"""The trained network as ONNX: normalisation, layers, action bounds and bid factor in one graph."""

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


def onnx_bytes(actor: Actor, scenario: Scenario, observations: Floats, actions: Floats) -> bytes:
    """Write an actor as a graph, check it in ONNX Runtime against the probes, and return the file's bytes.

    Input: observation (batch, d) float32, raw. Outputs: action (batch, groups) in -1..1, and factor =
    exp(reach x action), by which the controller's multiplier is to be multiplied (0 where the action switches a group
    off). Raises InputError when the
    packages are missing or the graph answers differently.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise InputError(f"export needs the package {error.name!r}: pip install 'bidpilot[onnx]'") from error
    graph = _Graph()
    action = _layers(graph, actor, _normalised(graph, actor))
    graph.add("Identity", action, out="action")
    factor = graph.add("Exp", graph.add("Mul", "action", graph.constant(scenario.reach, np.float32)))
    if scenario.can_switch_off:
        on = graph.add("Greater", "action", graph.constant(OFF, np.float32))
        factor = graph.add("Where", on, factor, graph.constant(0.0, np.float32))
    graph.add("Identity", factor, out="factor")
    model = graph.model(len(actor.mean), actor.groups)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    gap = float(np.abs(session.run(["action"], {"observation": observations})[0] - actions).max())
    if not gap <= TOLERANCE:
        raise InputError(f"the ONNX graph's actions differ from the probes by {gap:.2g} (allowed {TOLERANCE:g})")
    return data


def _normalised(graph: _Graph, actor: Actor) -> str:
    """Add clip((observation - mean) * scale), in float64 as in training, and return its name."""
    double, single = 11, 1  # TensorProto.DOUBLE, FLOAT
    x = graph.add("Cast", "observation", to=double)
    x = graph.add("Sub", x, graph.constant(actor.mean, np.float64))
    x = graph.add("Mul", x, graph.constant(actor.scale, np.float64))
    x = graph.add("Clip", x, *(graph.constant(end, np.float64) for end in (-actor.clip, actor.clip)))
    return graph.add("Cast", x, to=single)


def _layers(graph: _Graph, actor: Actor, x: str) -> str:
    """Add the layers and the head, and return the action's name."""
    for number, (weight, bias) in enumerate(zip(actor.weights, actor.biases, strict=True), start=1):
        x = graph.add("Gemm", x, *(graph.constant(part, np.float32) for part in (weight, bias)), transB=1)
        if number < len(actor.weights):
            x = graph.add("Tanh" if actor.activation == "tanh" else "Relu", x)
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

    def constant(self, amount: npt.ArrayLike, dtype: type[np.generic]) -> str:
        """Add a constant and return its name."""
        from onnx.numpy_helper import from_array

        name = f"constant{len(self._constants)}"
        self._constants.append(from_array(np.asarray(amount, dtype=dtype), name))
        return name

    def model(self, width: int, groups: int) -> ModelProto:
        """Return the whole: observation (batch, width) -> action, factor (batch, groups)."""
        from onnx import TensorProto, helper

        given = [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", width])]
        made = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", groups]) for n in ("action", "factor")]
        graph = helper.make_graph(self._nodes, "policy", given, made, self._constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)

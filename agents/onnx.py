"""The trained network as ONNX: normalisation, layers, action bounds and bid factor in one graph."""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx
    import torch

    from bidpilot.agents.learned import Actor, Floats

OPSET = 20
TOLERANCE = 1e-5


def onnx_bytes(actor: Actor, reach: float, observations: Floats, actions: Floats) -> bytes:
    """Export an actor, check it in ONNX Runtime against the probes, and return the file's bytes.

    Input: observation (batch, d) float32, raw. Outputs: action (batch, groups) in -1..1, and factor =
    exp(reach x action), by which the controller's multiplier is to be multiplied. Raises InputError when the
    packages are missing or the graph answers differently.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it; fail early and clearly
        import torch
    except ImportError as error:
        raise InputError(f"export needs the package {error.name!r}: pip install 'bidpilot[onnx]'") from error
    with _quiet_exporter():
        program = torch.onnx.export(
            _module(actor, reach).eval(),
            (torch.zeros(2, len(actor.mean)),),
            input_names=["observation"],
            output_names=["action", "factor"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    data: bytes = _without_notes(program.model_proto).SerializeToString(deterministic=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    answered = session.run(["action"], {"observation": observations})[0]
    gap = float(np.abs(answered - actions).max())
    if not gap <= TOLERANCE:
        raise InputError(f"the ONNX graph's actions differ from the probes by {gap:.2g} (allowed {TOLERANCE:g})")
    return data


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep torch's notes about its own deprecations and about torchvision, which no one here uses, to itself."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _without_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's notes: they name folders of this machine, so the bytes would differ between machines."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.ClearField("metadata_props")
    return model


def _module(actor: Actor, reach: float) -> torch.nn.Module:
    """Return the actor as a torch module with two outputs."""
    import torch

    class Graph(torch.nn.Module):
        mean: torch.Tensor
        scale: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.as_tensor(actor.mean))
            self.register_buffer("scale", torch.as_tensor(actor.scale))
            self.layers = torch.nn.ModuleList()
            for weight, bias in zip(actor.weights, actor.biases, strict=True):
                layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
                layer.weight.data, layer.bias.data = torch.as_tensor(weight), torch.as_tensor(bias)
                self.layers.append(layer)

        def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = ((observation.double() - self.mean) * self.scale).clamp(-actor.clip, actor.clip).float()
            for layer in self.layers[:-1]:
                x = torch.tanh(layer(x)) if actor.activation == "tanh" else torch.relu(layer(x))
            x = self.layers[-1](x)
            action = torch.tanh(x) if actor.head == "tanh" else x.clamp(-1.0, 1.0)
            return action, torch.exp(reach * action)

    return Graph()

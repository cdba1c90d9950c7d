"""A fitted event model for serving: ONNX, in whole numbers of 8 bits if wanted, with its encoder and calibrator.

torch starts slowly and scores one row in hundreds of microseconds; ONNX Runtime needs neither torch nor bidpilot's
networks. int8 quantises the weights of the layers, not the embeddings (Jacob et al., CVPR 2018, section 2); what it
costs in calibration is for the caller to measure (experiments/benchmarks/ctr_speed does).
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bidpilot.ctr.calibration import Calibrator, sigmoid
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldEncoder, Fields
from bidpilot.ctr.files import write_atomically
from bidpilot.ctr.storage import load_model, save_model

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.network import Network
    from bidpilot.ctr.response import EventModel
    from bidpilot.ctr.types import FloatArray

NETWORK = "network.onnx"
INPUTS = ("ids", "bags", "numbers")
PRECISIONS = ("float32", "int8")


@dataclass(frozen=True)
class Scorer:
    """Scores rows by ONNX Runtime. network: the ONNX file's bytes. threads: that a call may use."""

    network: bytes
    encoder: FieldEncoder
    calibrator: Calibrator
    session: InferenceSession

    @classmethod
    def of(cls, model: EventModel, precision: str = "float32", threads: int = 1) -> Self:
        """Export a fitted event model.

        Raises InputError for a model that is no single network, an unknown precision, or a missing package.
        """
        from bidpilot.ctr.training import TrainedNetwork  # torch, which loading does not need

        if precision not in PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
        if not isinstance(model.predictor, TrainedNetwork):
            raise InputError(
                f"model {model.model!r} is no single network; only those are exported to ONNX "
                "(of an ensemble: one of the response's .members)"
            )
        if model.segments is not None:
            raise InputError(
                f"model {model.model!r} is corrected by segment, which a scorer of fields cannot see; fit it without"
            )
        encoder = model.predictor.encoder
        widths = encoder.fields, sum(encoder.bags), encoder.numbers
        content = network_bytes(model.predictor.network, widths)
        content = quantised(content) if precision == "int8" else content
        return cls(content, encoder, model.calibrator, session(content, threads))

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the calibrated probability (n,) of every row."""
        return self.score(self.encoder.transform(log))

    def score(self, fields: Fields) -> FloatArray:
        """Return the calibrated probability (n,) of encoded rows."""
        given = {name: getattr(fields, name) for name in self._wanted}
        odds = self.session.run(None, given)[0]
        return self.calibrator(sigmoid(np.asarray(odds, dtype=np.float64)))

    @property
    def _wanted(self) -> list[str]:
        return [each.name for each in self.session.get_inputs()]

    def save(self, folder: Path) -> None:
        """Write network.onnx and, last, what it needs: model.json and the calibrator's knots."""
        write_atomically(folder / NETWORK, self.network)
        settings = {"encoder": self.encoder.to_json(), "network_sha256": hashlib.sha256(self.network).hexdigest()}
        save_model(folder, "scorer", settings, dict(self.calibrator.to_arrays()))

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> Self:
        """Read what save wrote. Raises InputError where a file is missing or was altered."""
        settings, tensors = load_model(folder, "scorer")
        try:
            content = (folder / NETWORK).read_bytes()
        except OSError as error:
            raise InputError(f"{folder / NETWORK}: cannot be read: {error.strerror}; export the model again") from error
        if hashlib.sha256(content).hexdigest() != settings["network_sha256"]:
            raise InputError(f"{folder / NETWORK}: its SHA-256 is not the one recorded; export the model again")
        encoder = FieldEncoder.from_json(settings["encoder"])
        return cls(content, encoder, Calibrator.from_arrays(tensors), session(content, threads))


def network_bytes(network: Network, widths: tuple[int, int, int]) -> bytes:
    """Return a network as ONNX: ids, bags and numbers of these widths -> log-odds (n,).

    Raises InputError for a missing package.
    """
    import torch

    dims = [{0: torch.export.Dim("rows")} for _ in INPUTS]
    kinds = torch.int32, torch.int32, torch.float32
    example = tuple(torch.zeros(3, width, dtype=kind) for width, kind in zip(widths, kinds, strict=True))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, on names of axes
        try:
            program = torch.onnx.export(
                _served(network), example, dynamo=True, input_names=INPUTS, dynamic_shapes=dims, verbose=False
            )
        except ImportError as error:
            raise InputError(f"export needs the package {error.name!r}: pip install 'bidpilot[onnx]'") from error
    if program is None:
        raise InputError("this network cannot be exported to ONNX")
    content: bytes = program.model_proto.SerializeToString()
    return content


def quantised(content: bytes) -> bytes:
    """Return a network whose layers have weights of 8 bits, a scale for each unit."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load_from_string(content)
    model.graph.ClearField("value_info")  # shapes of weights that quantisation transposes
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / NETWORK
        kinds = {"weight_type": QuantType.QInt8, "op_types_to_quantize": ["MatMul", "Gemm"]}
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it advises a pre-processing that this graph has had
        try:  # reduced: products of 8 bits overflow where the processor has no instruction of its own for them
            quantize_dynamic(model, target, per_channel=True, reduce_range=True, **kinds)
        finally:
            logging.disable(before)
        return target.read_bytes()


def session(content: bytes, threads: int = 1) -> InferenceSession:
    """Return a session of ONNX Runtime with so many threads. Raises InputError where it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"scoring needs the package {error.name!r}: pip install 'bidpilot[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _served(network: Network) -> Any:  # noqa: ANN401 - an nn.Module, of which this file knows nothing when loading
    """Return a module from ids, bags and numbers to log-odds."""
    from torch import Tensor, nn

    from bidpilot.ctr.embedding import Batch

    class Served(nn.Module):
        """The network with its table below and its shift above."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, ids: Tensor, bags: Tensor, numbers: Tensor) -> Tensor:
            """Return log-odds (n,)."""
            e, first = self.network.table(Batch(ids, bags, numbers))
            odds: Tensor = self.network(e, first) + self.network.shift
            return odds

    return Served()

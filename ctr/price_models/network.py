"""What the price networks share: log price standardised by a robust centre and scale, fields, the fit loop, saving."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldEncoder
from bidpilot.ctr.loop import Curve, Rows, fit_network, scores, torch_generator
from bidpilot.ctr.network import Network, Tower
from bidpilot.ctr.price_models.base import ABOVE, EXACT, Censoring, Observed, PriceLaws
from bidpilot.ctr.tabulated import TabulatedLaws
from bidpilot.ctr.training import NetworkConfig

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import FloatArray, IntArray

CHUNK = 20_000
"""Rows that are tabulated at once."""

LOG_TINY = -40.0
"""No log likelihood is lower: one impossible row must not decide a fit."""


@dataclass(frozen=True)
class PriceNetworkConfig(NetworkConfig):
    """Settings that price networks share: those of all networks, and hidden, widths of the deep part."""

    learning_rate: float = 0.005
    epochs: int = 40
    dimension: int = 8
    hidden: tuple[int, ...] = (32,)
    decay: float = 1.0

    def __post_init__(self) -> None:
        """Check the figures."""
        super().__post_init__()
        if self.negatives != 1.0:
            raise InputError(f"prices have no negatives to drop: negatives must be 1; got {self.negatives}")

    @abstractmethod
    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> PriceNetwork:
        """Return the untrained network: the same law for all, of centre 0 and scale 1."""

    def fit(  # type: ignore[override]
        self, train: AuctionLog, valid: AuctionLog, rng: np.random.Generator, censoring: Censoring = "right"
    ) -> NetworkPrices:
        """Fit the law; valid must be later in time than train. Raises InputError as Observed.of does."""
        early, late = Observed.of(train, censoring), Observed.of(valid, censoring)
        centre, scale = _standard(early.amount)
        encoder = FieldEncoder.fit(train, self.fields)
        network = self.build(encoder, 0.5, torch_generator(rng))
        seen, kept = (
            Rows(encoder.transform(log), _labels(observed, centre, scale))
            for log, observed in ((train, early), (valid, late))
        )
        network.begin(seen.label)
        curve = fit_network(network, seen, kept, self, rng)
        identified = max(early.identified, late.identified)
        return NetworkPrices(self, encoder, network, centre, scale, identified, curve)

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> NetworkPrices:  # type: ignore[override]
        """Rebuild what NetworkPrices.settings and .tensors returned."""
        encoder = FieldEncoder.from_json(settings["encoder"])
        network = self.build(encoder, 0.5, torch.Generator())
        network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
        return NetworkPrices(
            self, encoder, network, settings["centre"], settings["scale"], settings["identified"], Curve()
        )


class PriceNetwork(Network):
    """Outputs (n, T), the figures of a law of z, the standardised log price."""

    def __init__(
        self, config: PriceNetworkConfig, encoder: FieldEncoder, outputs: int, generator: torch.Generator
    ) -> None:
        """Draw the weights from the generator."""
        super().__init__(config.table(encoder, generator))
        width = self.table.fields * config.dimension
        self.deep = Tower(width, config.hidden, generator, n_out=outputs, decay=config.decay)

    @abstractmethod
    def terms(self, output: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log P(Z <= z), log P(Z > z) and the log density at z, each (n,)."""

    def begin(self, label: npt.NDArray[np.float32]) -> None:
        """Start from what labels (n, 2) of training say of all rows together, where a network has a use for it."""

    @abstractmethod
    def inverse(self, output: Tensor, q: Tensor) -> Tensor:
        """Return the lowest z (n,) with P(Z <= z) = q (n,); anything where none has."""

    def tabulated(self, output: Tensor) -> tuple[Tensor, Tensor] | None:  # noqa: ARG002
        """Return points z (K,), rising, and P(Z <= z) there (n, K), between which laws are lines; None: not needed."""
        return None

    def loss(self, output: Tensor, label: Tensor) -> Tensor:
        """Return minus the log likelihood (n,) of labels (n, 2): z, and what is known of it."""
        z, kind = label[:, 0], label[:, 1]
        below, above, density = self.terms(output, z)
        known = torch.where(kind == EXACT, density, torch.where(kind == ABOVE, above, below))
        return -known.clamp_min(LOG_TINY)

    def penalty(self) -> Tensor:
        """Return minus the log prior of the deep part."""
        return self.deep.penalty()


@dataclass(frozen=True)
class NetworkPrices:
    """A fitted price network. centre, scale: of log micro-currency. identified: see PriceLaws. curve: of training."""

    config: PriceNetworkConfig
    encoder: FieldEncoder
    network: PriceNetwork
    centre: float
    scale: float
    identified: int
    curve: Curve
    stops: ClassVar[bool] = True

    def laws(self, log: AuctionLog) -> PriceLaws:
        """Return the laws of the rows of a log. Raises InputError where it lacks a column the model was fitted on."""
        output = scores(self.network, self.encoder.transform(log)).double()
        return NetworkLaws(self.network, output, self.centre, self.scale, self.identified)

    def settings(self) -> dict[str, Any]:
        """Return the settings, the encoder and the scale of prices."""
        scale = {"centre": self.centre, "scale": self.scale, "identified": self.identified}
        return {"config": asdict(self.config), "encoder": self.encoder.to_json(), **scale}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights."""
        return {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}


class NetworkLaws(PriceLaws):
    """Laws of n rows from a network's outputs (n, T)."""

    def __init__(self, network: PriceNetwork, output: Tensor, centre: float, scale: float, identified: int) -> None:
        """Keep the outputs."""
        self._network, self._output = network, output
        self._centre, self._scale, self.identified = centre, scale, identified

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._output)

    def rows(self, part: IntArray) -> NetworkLaws:
        """See PriceLaws."""
        output = self._output[torch.from_numpy(part)]
        return NetworkLaws(self._network, output, self._centre, self._scale, self.identified)

    @torch.no_grad()
    def swift(self) -> PriceLaws:
        """See PriceLaws: tabulated, where the network says how."""
        parts = []
        for start in range(0, len(self._output), CHUNK):
            made = self._network.tabulated(self._output[start : start + CHUNK])
            if made is None:
                return self
            parts.append(made)
        if not parts:
            return self
        points = parts[0][0].double().numpy() * self._scale + self._centre
        cdf = np.concatenate([part.float().numpy() for _, part in parts])
        return TabulatedLaws(points, cdf, self.identified)

    @torch.no_grad()
    def terms(self, amount: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """See PriceLaws; the density is in log price, not in z."""
        z = torch.from_numpy((np.log(amount) - self._centre) / self._scale)
        below, above, density = (part.numpy() for part in self._network.terms(self._output, z))
        return below, above, density - np.log(self._scale)

    @torch.no_grad()
    def inverse(self, q: FloatArray) -> FloatArray:
        """See PriceLaws."""
        z = self._network.inverse(self._output, torch.from_numpy(q))
        return np.asarray(z.numpy() * self._scale + self._centre)


def _standard(amount: IntArray) -> tuple[float, float]:
    """Return the median of log amounts (n,), and the width of their middle half as a standard deviation."""
    low, middle, high = np.quantile(np.log(np.maximum(amount, 1)), (0.25, 0.5, 0.75))
    return float(middle), float(max((high - low) / 1.349, 0.1))


def _labels(seen: Observed, centre: float, scale: float) -> npt.NDArray[np.float32]:
    z = (np.log(np.maximum(seen.amount, 1)) - centre) / scale
    return np.stack([z, seen.kind], axis=1).astype(np.float32)

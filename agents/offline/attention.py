"""A small causal transformer over (return to go, observation, action) of past ticks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bidpilot.agents.offline.network import SMALL
from bidpilot.ctr.network import linear


class Block(nn.Module):
    """Attention to what came before, then a layer of relus; each added to its input, normalised before."""

    def __init__(self, width: int, heads: int, generator: torch.Generator) -> None:
        """Draw the weights."""
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.asked = linear(width, 3 * width, generator, "linear")
        self.mixed = linear(width, width, generator, "linear")
        self.up, self.down = linear(width, 4 * width, generator), linear(4 * width, width, generator, "linear")

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, tokens, width) for as much."""
        count, tokens, width = x.shape
        parts = self.asked(self.before(x)).view(count, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.mixed(seen.transpose(1, 2).reshape(count, tokens, width))
        out: Tensor = x + self.down(torch.relu(self.up(self.between(x))))
        return out


class Sequencer(nn.Module):
    """Three tokens a tick; the action of a tick is read off its observation's token (Chen et al., NeurIPS 2021).

    ticks: of an episode; inputs: entries of an observation; groups: entries of an action.
    """

    def __init__(self, ticks: int, inputs: int, groups: int, sizes: tuple[int, ...], seed: torch.Generator) -> None:
        """Draw the weights. sizes: width, blocks, heads."""
        super().__init__()
        width, depth, self.heads = sizes
        self.when = nn.Parameter(0.02 * torch.randn(ticks, width, generator=seed))
        self.wanted, self.seen, self.done = (linear(size, width, seed, "linear") for size in (1, inputs, groups))
        self.blocks = nn.ModuleList(Block(width, self.heads, seed) for _ in range(depth))
        self.after, self.head = nn.LayerNorm(width), linear(width, groups, seed, "linear")
        self.head.weight.data.mul_(SMALL)

    def forward(self, returns: Tensor, observations: Tensor, actions: Tensor, ticks: Tensor) -> Tensor:
        """Return actions (n, k, groups) in -1..1 for returns (n, k), observations (n, k, d), actions, ticks (n, k)."""
        parts = (self.wanted(returns[..., None]), self.seen(observations), self.done(actions))
        x = torch.stack([part + self.when[ticks] for part in parts], dim=2).flatten(1, 2)
        for block in self.blocks:
            x = block(x)
        out: Tensor = torch.tanh(self.head(self.after(x[:, 1::3])))
        return out

    @classmethod
    def shaped(cls, state: dict[str, Tensor], heads: int) -> Sequencer:
        """Return the network of saved weights. Raises KeyError or RuntimeError where they belong to none."""
        ticks, width = state["when"].shape
        depth = sum(name.startswith("blocks.") and name.endswith(".up.weight") for name in state)
        inputs, groups = state["seen.weight"].shape[1], len(state["head.bias"])
        network = cls(ticks, inputs, groups, (width, depth, heads), torch.Generator())
        network.load_state_dict(state)
        return network

"""Networks as most people write them: no scale or initial weight is chosen with its width or depth in mind."""

from math import sqrt

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional

from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.task import Task
from modular_manifolds.experiments.text import CONTEXT, Text
from modular_manifolds.experiments.transfer_images import Images

HEAD = 32
"""Features of an attention head; a network of smaller width has one head."""

_INITIAL = 0.02
"""Standard deviation of GPT-2's initial weights."""


def wide(task: Task, width: int, depth: int) -> nn.Module:
    """For the sweep over widths: `depth` linear layers with ReLU between them, or a GPT with `depth` blocks."""
    if isinstance(task, Images):
        return MLP(task.features, [width] * (depth - 1), task.classes, seed=torch.initial_seed())
    return deep(task, width, depth)


def deep(task: Task, width: int, depth: int) -> nn.Module:
    """For the sweep over depths: a residual multilayer perceptron, or a GPT, with `depth` blocks."""
    if isinstance(task, Images):
        return ResidualMLP(task.features, width, task.classes, depth)
    assert isinstance(task, Text)
    return GPT(task.classes, width, depth)


class ResidualMLP(nn.Module):
    """x + linear(relu(x)), `depth` times over, between two linear layers; weights are PyTorch's own."""

    def __init__(self, features: int, width: int, classes: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Linear(features, width, bias=False)
        self.blocks = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(depth))
        self.last = nn.Linear(width, classes, bias=False)

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch classes"]:
        """Logits."""
        x = self.first(x)
        for block in self.blocks:
            x = x + block(functional.relu(x))
        logits: Tensor = self.last(functional.relu(x))
        return logits


class GPT(nn.Module):
    """GPT-2's pre-norm transformer and its initial weights, without biases and dropout."""

    def __init__(self, classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(classes, width)
        self.positions = nn.Embedding(CONTEXT, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)
        self.last = nn.Linear(width, classes, bias=False)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=_INITIAL / sqrt(2 * depth) if name.endswith("down.weight") else _INITIAL)

    def forward(self, tokens: Int[Tensor, "batch positions"]) -> Float[Tensor, "batch positions classes"]:
        """Logits."""
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[-1]]
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.last(self.norm(x))
        return logits


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD)
        self.before_attention = nn.LayerNorm(width, bias=False)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.attention_down = nn.Linear(width, width, bias=False)
        self.before_mlp = nn.LayerNorm(width, bias=False)
        self.mlp_up = nn.Linear(width, 4 * width, bias=False)
        self.mlp_down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Shaped[Tensor, "batch positions width"]) -> Shaped[Tensor, "batch positions width"]:
        h = self.before_attention(x)
        q, k, v = (f(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention_down(mixed.transpose(1, 2).flatten(2))
        out: Tensor = x + self.mlp_down(functional.gelu(self.mlp_up(self.before_mlp(x))))
        return out

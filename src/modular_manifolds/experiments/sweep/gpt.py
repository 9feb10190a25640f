"""The transformer of the text sweep: nanoGPT's small setting by default, and what others do differently as options."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from modular_manifolds.experiments.text import CONTEXT

Norm = Literal["layernorm", "rmsnorm", "none"]
Stream = Literal["sum", "average", "sphere"]

_INITIAL = 0.02
"""Standard deviation of all initial weights but those that write to the stream, as in nanoGPT."""

_ROTARY_BASE = 10_000.0


class Positions(StrEnum):
    """How a transformer knows of them: from a table that is added to the embedding, or by rotations in attention."""

    LEARNED = "learned"
    ROTARY = "rotary"


@dataclass(frozen=True)
class GPTShape:
    """Blocks, heads of each attention, features, the longest sequence, and positions unless a network has its own."""

    layers: int = 4
    heads: int = 4
    width: int = 128
    context: int = CONTEXT
    positions: Positions = Positions.LEARNED


class GPT(nn.Module):
    """Tokens to logits: embedding, pre-norm residual blocks, norm and unembedding, all without biases.

    Args:
        classes: tokens there are.
        shape: sizes.
        norm: before every attention, every MLP and the unembedding.
        positions: others than the shape's.
        qk_norm: whether queries and keys are divided by their root mean square, head by head.
        gains: whether norms, also those of queries and keys, end with a learnable gain for every feature.
        stream: how a branch's output f joins the stream x: x + f; (1 - s) x + s f with s = 1 / (2 layers), of
            sensitivity 1 at any depth; or unit(x + s (unit(f) - x)) with unit(x) = x / RMS(x) and learnable shares s
            that begin at 1 / layers, one a feature, as in nGPT (Loshchilov et al., arXiv 2410.01131).
        logit_scale: times the logits, for an unembedding whose size cannot grow.
    """

    def __init__(
        self,
        classes: int,
        shape: GPTShape,
        *,
        norm: Norm = "layernorm",
        positions: Positions | None = None,
        qk_norm: bool = False,
        gains: bool = True,
        stream: Stream = "sum",
        logit_scale: float = 1.0,
    ) -> None:
        super().__init__()
        width, positions = shape.width, positions or shape.positions
        self.stream, self.logit_scale = stream, logit_scale
        self.embedding = nn.Embedding(classes, width)
        self.positions = nn.Embedding(shape.context, width) if positions is Positions.LEARNED else None
        self.blocks = nn.ModuleList(
            Block(shape, norm, positions is Positions.ROTARY, qk_norm, gains, stream) for _ in range(shape.layers)
        )
        self.before_unembedding = _norm(norm, width, gains)
        self.unembedding = nn.Linear(width, classes, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                writes = name.endswith(("attention.output.weight", "down.weight"))
                nn.init.normal_(weight, std=_INITIAL / (2 * shape.layers) ** 0.5 if writes else _INITIAL)

    def forward(self, tokens: Int[Tensor, "batch positions"]) -> Float[Tensor, "batch positions classes"]:
        """Logits."""
        x = self.embedding(tokens)
        if self.positions is not None:
            x = x + self.positions(torch.arange(tokens.shape[-1], device=tokens.device))
        if self.stream == "sphere":
            x = unit(x)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.unembedding(self.before_unembedding(x))
        return logits if self.logit_scale == 1 else self.logit_scale * logits


class Block(nn.Module):
    """Attention, then a GELU MLP with a hidden layer four times as wide, each a branch of the residual stream."""

    def __init__(self, shape: GPTShape, norm: Norm, rotary: bool, qk_norm: bool, gains: bool, stream: Stream) -> None:
        super().__init__()
        width = shape.width
        self.before_attention = _norm(norm, width, gains)
        self.attention = Attention(width, shape.heads, rotary=rotary, qk_norm=qk_norm, gains=gains)
        self.attention_joins = Join(stream, shape)
        self.before_mlp = _norm(norm, width, gains)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.mlp_joins = Join(stream, shape)

    def forward(self, x: Float[Tensor, "batch positions width"]) -> Float[Tensor, "batch positions width"]:
        x = self.attention_joins(x, self.attention(self.before_attention(x)))
        joined: Tensor = self.mlp_joins(x, self.down(functional.gelu(self.up(self.before_mlp(x)))))
        return joined


class Join(nn.Module):
    """How a branch joins the stream, see `GPT`."""

    def __init__(self, stream: Stream, shape: GPTShape) -> None:
        super().__init__()
        self.stream = stream
        self.share = 1 / (2 * shape.layers)
        if stream == "sphere":
            self.shares = nn.Parameter(torch.full((shape.width,), 1 / shape.layers))

    def forward(self, x: Float[Tensor, "*b width"], f: Float[Tensor, "*b width"]) -> Float[Tensor, "*b width"]:
        if self.stream == "sum":
            return x + f
        if self.stream == "average":
            return (1 - self.share) * x + self.share * f
        return unit(x + self.shares * (unit(f) - x))


class Attention(nn.Module):
    """Causal self-attention with weights of their own for queries, keys and values."""

    def __init__(self, width: int, heads: int, *, rotary: bool, qk_norm: bool, gains: bool) -> None:
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.query, self.key, self.value, self.output = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.query_norm = _norm("rmsnorm" if qk_norm else "none", width // heads, gains)
        self.key_norm = _norm("rmsnorm" if qk_norm else "none", width // heads, gains)
        self.core = AttentionCore()

    def forward(self, x: Float[Tensor, "batch positions width"]) -> Float[Tensor, "batch positions width"]:
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        q, k = self.query_norm(q), self.key_norm(k)
        if self.rotary:
            q, k = _turned(q), _turned(k)
        mixed: Tensor = self.output(self.core(q, k, v).transpose(1, 2).flatten(2))
        return mixed


class AttentionCore(nn.Module):
    """softmax(q k^T / sqrt(size)) v in every head; a module of its own, for its inputs to be looked at."""

    def forward(
        self,
        q: Float[Tensor, "batch heads positions size"],
        k: Float[Tensor, "batch heads positions size"],
        v: Float[Tensor, "batch heads positions size"],
    ) -> Float[Tensor, "batch heads positions size"]:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def unit(x: Float[Tensor, "*b width"]) -> Float[Tensor, "*b width"]:
    """x divided by its root mean square."""
    return functional.rms_norm(x, x.shape[-1:], eps=1e-6)


def _norm(norm: Norm, width: int, gains: bool) -> nn.Module:
    if norm == "layernorm":
        return nn.LayerNorm(width, bias=False, elementwise_affine=gains)
    return nn.RMSNorm(width, eps=1e-6, elementwise_affine=gains) if norm == "rmsnorm" else nn.Identity()


def _turned(x: Float[Tensor, "batch heads positions size"]) -> Float[Tensor, "batch heads positions size"]:
    """Rotary positions (Su et al., arXiv 2104.09864), features paired by halves."""
    half = x.shape[-1] // 2
    positions = torch.arange(x.shape[-2], dtype=x.dtype, device=x.device)
    angles = positions[:, None] / _ROTARY_BASE ** (torch.arange(half, dtype=x.dtype, device=x.device) / half)
    cos, sin = angles.cos(), angles.sin()
    first, second = x[..., :half], x[..., half : 2 * half]
    return torch.cat([first * cos - second * sin, first * sin + second * cos, x[..., 2 * half :]], -1)

"""Small models in plain torch, of the kinds that people have."""

from math import erf, exp, pi, sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

GELU_SLOPE = 0.5 * (1 + erf(1)) + exp(-1) / sqrt(pi)


def turned(x: Tensor) -> Tensor:
    """Rotary positions, by halves, for (..., tokens, features)."""
    t, d = x.shape[-2:]
    angle = torch.arange(t, dtype=x.dtype)[:, None] / 10 ** torch.arange(d // 2, dtype=x.dtype)
    cos, sin = angle.cos().repeat(1, 2), angle.sin().repeat(1, 2)
    return x * cos + torch.cat([-x[..., d // 2 :], x[..., : d // 2]], -1) * sin


class Floored(nn.Module):
    """x / max(RMS(x), floor)."""

    def __init__(self, floor: float = 1.0) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, x: Tensor) -> Tensor:
        return x / x.square().mean(-1, keepdim=True).sqrt().clamp_min(self.floor)


class Attention(nn.Module):
    """Attention at scale 1 / d_head, a third of it, with fewer keys and values than queries if asked."""

    def __init__(
        self, d: int, heads: int, *, kv: int | None = None, fused: bool, rotary: bool, bias: bool, norm: bool
    ) -> None:
        super().__init__()
        self.heads, self.kv, self.rotary, self.size = heads, kv or heads, rotary, d // heads
        if fused:
            self.qkv = nn.Linear(d, 3 * d, bias=bias)
        else:
            self.query = nn.Linear(d, d, bias=bias)
            self.key = nn.Linear(d, self.kv * self.size, bias=bias)
            self.value = nn.Linear(d, self.kv * self.size, bias=bias)
        self.fused = fused
        self.norm = Floored() if norm else nn.Identity()
        self.output = nn.Linear(d, d, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(x).chunk(3, -1) if self.fused else (self.query(x), self.key(x), self.value(x))
        q, k, v = (part.unflatten(-1, (-1, self.size)).transpose(1, 2) for part in parts)
        q, k = self.norm(q), self.norm(k)
        if self.rotary:
            q, k = turned(q), turned(k)
        grouped = self.kv != self.heads
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1 / self.size, enable_gqa=grouped)
        return self.output(y.transpose(1, 2).flatten(-2) / 3)


class Block(nn.Module):
    def __init__(
        self, d: int, share: float, heads: int, *, gated: bool, norm: bool, bias: bool, **options: Any
    ) -> None:
        super().__init__()
        self.share, self.gated = share, gated
        self.before = nn.ModuleList([Floored() if norm else nn.Identity() for _ in range(2)])
        self.attention = Attention(d, heads, norm=norm, bias=bias, **options)
        self.up = nn.Linear(d, 4 * d, bias=bias)
        self.gate = nn.Linear(d, 4 * d, bias=bias) if gated else None
        self.down = nn.Linear(4 * d, d, bias=bias)

    def mlp(self, x: Tensor) -> Tensor:
        if self.gate is None:
            return self.down(F.gelu(self.up(x)) / GELU_SLOPE)
        return self.down(torch.tanh(self.gate(x)) * self.up(x))

    def forward(self, x: Tensor) -> Tensor:
        x = (1 - self.share) * x + self.share * self.attention(self.before[0](x))
        return (1 - self.share) * x + self.share * self.mlp(self.before[1](x))


class GPT(nn.Module):
    """The published transformer, in plain torch; or with what others have in theirs."""

    def __init__(
        self,
        vocab: int = 7,
        d: int = 8,
        heads: int = 2,
        depth: int = 2,
        *,
        kv: int | None = None,
        fused: bool = False,
        rotary: bool = False,
        gated: bool = False,
        norm: bool = False,
        bias: bool = False,
        tied: bool = False,
        positions: bool = False,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, d)
        self.positions = nn.Embedding(16, d) if positions else None
        options = {"kv": kv, "fused": fused, "rotary": rotary, "gated": gated, "norm": norm, "bias": bias}
        self.blocks = nn.ModuleList([Block(d, 1 / (2 * depth), heads, **options) for _ in range(depth)])
        self.unembed = nn.Linear(d, vocab, bias=bias)
        if tied:
            self.unembed.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        if self.positions is not None:
            x = (x + self.positions(torch.arange(tokens.shape[1]))) / 2
        for block in self.blocks:
            x = block(x)
        return self.unembed(x)


class Residual(nn.Module):
    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x + 0.5 * self.second(torch.relu(self.first(x)))


class CNN(nn.Module):
    """A small ResNet without normalisation."""

    def __init__(self, *, bias: bool = False, pool: type[nn.Module] = nn.AvgPool2d, channels: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1, stride=2, bias=bias)
        self.body = nn.Sequential(Residual(channels, bias), pool(2), Residual(channels, bias))
        self.head = nn.Linear(channels, 5, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


def mlp(*, bias: bool = False, d: int = 6) -> nn.Module:
    return nn.Sequential(
        nn.Linear(d, 2 * d, bias=bias), nn.ReLU(), nn.Linear(2 * d, d, bias=bias), nn.Tanh(), nn.Linear(d, 3, bias=bias)
    )

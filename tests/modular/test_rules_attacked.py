"""Every rule against an adversary: whatever inputs and directions are tried, no stretch is larger than proved."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import inf, isfinite
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import modular_manifolds as mm
from modular_manifolds.modular.rule import RULES
from tests.modular.attacks import ROUNDING, Do, Proof, check, draw, stretch

ROWS, TOKENS, IMAGES = (2, 6), (2, 4, 6), (2, 4, 5, 5)
_DRAW = draw


@dataclass(frozen=True)
class Case:
    """What is attacked.

    Args:
        make: a module, from nothing.
        shape: of its input.
        domains: to attack on; None is everywhere.
        unbounded: whether no bound is expected where the domain is everything.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = TOKENS
    domains: tuple[float | None, ...] = (None, 1.0)
    unbounded: bool = False


CASES: dict[str, Case] = {}


def case(
    name: str,
    make: Any,
    shape: tuple[int, ...] = TOKENS,
    *weights: tuple[int, ...],
    domains: tuple[float | None, ...] = (1.0,),
    unbounded: bool = False,
) -> None:
    assert name not in CASES, name
    CASES[name] = Case(lambda: Do(make, *weights), shape, domains, unbounded)


def module(name: str, make: Callable[[], nn.Module], shape: tuple[int, ...] = TOKENS, **options: Any) -> None:
    CASES[name] = Case(lambda: _drawn(make()), shape, options.pop("domains", (1.0,)), **options)


def _drawn(made: nn.Module) -> nn.Module:
    """With generic weights and buffers."""
    made = made.double()
    with torch.no_grad():
        for i, (name, p) in enumerate([*made.named_parameters(), *made.named_buffers()]):
            if p.is_floating_point():
                value = draw(*p.shape, seed=50 + i)
                p.copy_(value.abs() + 0.1 if "var" in name else value)
    return made


# entries

_SIMPLE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu_": lambda x: F.relu_(x * 1.0),
    "relu6": F.relu6,
    "abs": torch.abs,
    "neg": torch.neg,
    "tanh": torch.tanh,
    "sin": torch.sin,
    "cos": torch.cos,
    "atan": torch.atan,
    "erf": torch.erf,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "silu_": lambda x: F.silu(x * 1.0, inplace=True),
    "mish": F.mish,
    "selu": F.selu,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "log_sigmoid": F.logsigmoid,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_": lambda x: torch.ops.aten.gelu_(x * 1.0),
    "gelu by hand": lambda x: 0.5 * x * (1.0 + torch.tanh(0.7978845608028654 * (x + 0.044715 * torch.pow(x, 3.0)))),
    "leaky_relu": F.leaky_relu,
    "leaky_relu steep": lambda x: F.leaky_relu(x, -3.0),
    "elu": F.elu,
    "elu steep": lambda x: F.elu(x, 2.5),
    "celu": lambda x: F.celu(x, 0.3),
    "celu of negative alpha": lambda x: F.celu(x, -0.7),
    "softplus": F.softplus,
    "softplus beta": lambda x: F.softplus(x, 3.0),
    "softplus low threshold": lambda x: F.softplus(x, 1.0, 0.1),
    "clamp": lambda x: x.clamp(-0.5, 0.3),
    "clamp away from 0": lambda x: x.clamp(0.2, 0.3),
    "clamp_min": lambda x: x.clamp_min(0.1),
    "clamp_max": lambda x: x.clamp_max(-0.1),
    "hardtanh": F.hardtanh,
    "hardtanh limits": lambda x: F.hardtanh(x, -2.0, 0.5),
    "dropout": lambda x: F.dropout(x, 0.5, training=False),
    "feature_dropout": lambda x: torch.feature_dropout(x, 0.5, False),
    "alpha_dropout": lambda x: torch.alpha_dropout(x, 0.5, False),
    "native_dropout": lambda x: torch.native_dropout(x, 0.5, False)[0],
    "dropout in training": lambda x: F.dropout(x, 0.5, training=True),
    "native_dropout in training": lambda x: torch.native_dropout(x, 0.5, True)[0],
    "add a number": lambda x: x + 3.0,
    "add scalar alpha": lambda x: torch.add(x, 1.0, alpha=3),
    "rsub": lambda x: 1.0 - x,
    "rsub alpha": lambda x: torch.rsub(x, 1.0, alpha=3),
    "sub alpha": lambda x: torch.sub(x, x.flip(-1), alpha=3),
    "sub_": lambda x: (x * 1.0).sub_(x.flip(-1)),
    "add_": lambda x: (x * 1.0).add_(x.flip(-1), alpha=2),
    "mul": lambda x: -2.0 * x,
    "mul_": lambda x: (x * 1.0).mul_(3.0),
    "div": lambda x: x / 0.3,
    "div_": lambda x: (x * 1.0).div_(-0.3),
    "div and round": lambda x: torch.div(x, 0.5, rounding_mode="floor"),
    "where two": lambda x: torch.where(_mask(x), x, 2 * x.flip(-1)),
    "where constant": lambda x: torch.where(_mask(x), x, torch.full_like(x, 0.5)),
    "masked_fill": lambda x: x.masked_fill(_mask(x), 0.7),
    "masked_fill_": lambda x: (x * 1.0).masked_fill_(_mask(x), 0.7),
    "mask by the input": lambda x: x.masked_fill(x > 0.1, 5.0),
    "a factor by the input": lambda x: x * (x > 0.1),
}


def _mask(x: Tensor) -> Tensor:
    return torch.arange(x.shape[-1]).fmod(3) == 1


_BROKEN = (
    "softplus low threshold",
    "celu of negative alpha",
    "div and round",
    "mask by the input",
    "a factor by the input",
    "dropout in training",
    "native_dropout in training",
)
"""Where no bound holds, as they jump, or none is known."""

for _name, _f in _SIMPLE.items():
    case(_name, _f, ROWS, domains=(1.0, 4.0), unbounded=_name in _BROKEN)

_POWERS = {
    "pow 2": lambda x: x**2,
    "pow 3": lambda x: x**3,
    "pow 4": lambda x: x.pow(4),
    "pow 1": lambda x: x**1.0,
    "pow 1.5": lambda x: x.abs() ** 1.5,
    "square": torch.square,
    "mul by itself": lambda x: x * x,
    "mul by a part": lambda x: x * x[..., :1],
    "mul by its mean": lambda x: x * x.mean(-1, keepdim=True),
    "mul by its scalar mean": lambda x: x * x[:1].mean(),
    "gated": lambda x: F.silu(x[..., :3]) * x[..., 3:],
    "cos of weights": lambda x: torch.cos(x.softmax(-1)) * x,
    "gate by tokens": lambda x: x * torch.sigmoid(x.mean(1, keepdim=True) if x.ndim > 2 else x),
}
for _name, _f in _POWERS.items():
    case(_name, _f, TOKENS, domains=(1.0, 0.2, 2.0))
case("power below 1", lambda x: x.abs() ** 0.5, unbounded=True)
case("power -1", lambda x: (x.abs() + 0.01) ** -1, unbounded=True)
case("div by itself", lambda x: x / (x.flip(-1) + 2), unbounded=True)
case("softmax times", lambda x: x.softmax(-1) * x)
case("softmax added", lambda x: x.softmax(1) + x)
case("softmax scaled, cosine", lambda x: (3 * x.softmax(-1)).cos())

# broadcasts
case("add tokens' mean", lambda x: x + x.mean(1, keepdim=True))
case("add one feature", lambda x: x + x[..., :1])
case("add a mean over all", lambda x: x + x[:1].mean())
case("add in more dimensions", lambda x: x[:, :1] + x.unsqueeze(0))
case("outer sum", lambda x: x[:, :, None, :] + x[:, None, :, :])
case("add a table", lambda x, p: x + p, TOKENS, (4, 6))
case("add a table to heads", lambda x, p: (x + p).unflatten(-1, (3, 2)).transpose(1, 2).amax(-2), TOKENS, (4, 6))
case("add a table across", lambda x, p: x + p.t(), TOKENS, (6, 4))
case("add to logits", lambda x, p: (x @ x.mT + p).tanh(), TOKENS, (4, 4))
case("gains", lambda x, p: x * p, TOKENS, (6,))
case("gains of pixels", lambda x, p: x * p, IMAGES, (4, 1, 1))
case("bias", lambda x, p: x + p, TOKENS, (6,))
case("div by a weight", lambda x, p: x / p, TOKENS, (6,), unbounded=True)
case("a weight through functions", lambda x, p: x * F.softplus(p), TOKENS, (6,))
case("a slice of a table", lambda x, p: x + p[:4], TOKENS, (9, 6))
case("a weight in more dimensions", lambda x, p: x + p.unsqueeze(0), TOKENS, (4, 6))
case("a gain viewed", lambda x, p: x * p.view(1, 1, -1), TOKENS, (6,))
case("class token", lambda x, p: torch.cat([p.expand(2, -1, -1), x], 1), TOKENS, (1, 1, 6))
case("class token as it is", lambda x, p: torch.cat([p, x], 1).square(), TOKENS, (2, 1, 6))
case("chosen weights", lambda x, p: torch.where(_mask(x), x, p).square(), TOKENS, (6,))

# weights
module("linear", lambda: nn.Linear(6, 5), ROWS, domains=(None, 1.0))
module("linear of tokens", lambda: nn.Linear(6, 5), TOKENS, domains=(None, 1.0))
module("linear of one vector", lambda: nn.Linear(6, 5), (6,))
module("linear of images", lambda: nn.Linear(5, 3), IMAGES)
module("linear to one", lambda: nn.Linear(6, 1), ROWS)
case("linear, heads wanted", lambda x, w: _heads(F.linear(x, w), 3).square().sum(-1), TOKENS, (6, 6))
case("linear, after tokens' softmax", lambda x, w: F.linear(x.softmax(1), w), TOKENS, (5, 6))
case("linear, after features' softmax", lambda x, w: F.linear(x.softmax(-1), w), TOKENS, (5, 6))
case("addmm", lambda x, b, w: torch.addmm(b, x, w), ROWS, (5,), (6, 5))
case("addmm alpha", lambda x, b, w: torch.addmm(b, x, w, alpha=2), ROWS, (5,), (6, 5), unbounded=True)
case("addmm beta", lambda x, w: torch.addmm(x, x, w, beta=2), ROWS, (6, 6), unbounded=True)
case("baddbmm", lambda x: torch.baddbmm(x[..., :4], x, x.mT), unbounded=True)
case("baddbmm of weights", lambda x, b, w: torch.baddbmm(b, x, w), TOKENS, (2, 4, 5), (2, 6, 5), unbounded=True)
case("mm", lambda x, w: torch.mm(x, w), ROWS, (6, 5), domains=(None,))
case("mm across", lambda x, w: torch.mm(x, w.t()), ROWS, (6, 6), domains=(None,))
case("matmul across", lambda x, w: x @ w.transpose(0, 1), TOKENS, (5, 6))
case("matmul permuted", lambda x, w: x @ w.permute(1, 0), TOKENS, (6, 6))
case("matmul mT", lambda x, w: x @ w.mT, TOKENS, (6, 6))
case("matmul T", lambda x, w: x @ w.T, TOKENS, (6, 6))
case("matmul twice across", lambda x, w: x @ w.T.T, TOKENS, (6, 6))
case("matmul from the left", lambda x, w: w @ x, TOKENS, (4, 4), unbounded=True)
case("matmul from the left by a constant", lambda x: torch.arange(8.0).double().reshape(2, 4) @ x)
case("einsum with a constant", lambda x: torch.einsum("btd,bsd->bts", torch.ones(2, 3, 6).double(), x))
case("linear, bias from the input", lambda x, w: F.linear(x, w, x[0, 0]), TOKENS, (6, 6))
case("linear, bias from a weight", lambda x, w, b: F.linear(x, w, 2 * b), TOKENS, (5, 6), (5,))
case("conv2d, bias from the input", lambda x, w: F.conv2d(x, w, x[0, :, 0, 0]), IMAGES, (4, 4, 1, 1), unbounded=True)
case("layer_norm, gains from a weight", lambda x, g: F.layer_norm(x, (6,), 1 + g, None, 0.1), TOKENS, (6,))
case("layer_norm, gains from the input", lambda x: F.layer_norm(x, (6,), x[0, 0], None, 0.1), unbounded=True)
case("layer_norm, bias from the input", lambda x: F.layer_norm(x, (6,), None, x[0, 0], 0.1), unbounded=True)
case("view as an activation", lambda x: x.view_as(x.flatten(1)) * 2)
case("matmul by a constant", lambda x: x @ torch.arange(12.0, dtype=torch.float64).reshape(6, 2))
case("bmm", lambda x: torch.bmm(x, x.mT), domains=(1.0, 0.3))
case("matmul of vectors", lambda x: torch.matmul(x[0], x[1]), (2, 6))
case("matmul of a matrix and a vector", lambda x: torch.matmul(x, x[0, 0]), TOKENS)
case("einsum logits", lambda x: torch.einsum("btd,bsd->bts", x, x))
case("einsum weights", lambda x, w: torch.einsum("btd,de->bte", x, w), TOKENS, (6, 5))
case("einsum means", lambda x: torch.einsum("bts,bsd->btd", (x @ x.mT).softmax(-1), x))
case("einsum heads", lambda x: torch.einsum("bthd,bshd->bhts", _split(x), _split(x)))
case("einsum outer", lambda x: torch.einsum("btd,bte->bde", x, x))
case("einsum entries", lambda x: torch.einsum("btd,btd->btd", x, x))


def _split(x: Tensor, heads: int = 3) -> Tensor:
    return x.unflatten(-1, (heads, -1))


def _heads(x: Tensor, heads: int) -> Tensor:
    return _split(x, heads).transpose(1, 2)


_CONVOLUTIONS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv2d 1 x 1": (lambda: nn.Conv2d(4, 3, 1), IMAGES),
    "conv2d": (lambda: nn.Conv2d(4, 3, 3), IMAGES),
    "conv2d padding": (lambda: nn.Conv2d(4, 3, 3, padding=1), IMAGES),
    "conv2d stride": (lambda: nn.Conv2d(4, 3, 3, stride=2, padding=1), IMAGES),
    "conv2d stride over kernel": (lambda: nn.Conv2d(4, 3, 2, stride=3), IMAGES),
    "conv2d groups": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), IMAGES),
    "conv2d depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4, bias=False), IMAGES),
    "conv2d dilation": (lambda: nn.Conv2d(4, 3, 2, dilation=2), IMAGES),
    "conv2d dilation and stride": (lambda: nn.Conv2d(1, 1, 2, dilation=2, stride=2, padding=1), (2, 1, 7, 7)),
    "conv2d same": (lambda: nn.Conv2d(4, 3, 3, padding="same"), IMAGES),
    "conv2d circular": (lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular"), IMAGES),
    "conv2d reflect": (lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"), IMAGES),
    "conv2d replicate": (lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="replicate"), IMAGES),
    "conv2d of a row": (lambda: nn.Conv2d(4, 3, (1, 3), padding=(0, 1)), (2, 4, 1, 5)),
    "conv2d to one pixel": (lambda: nn.Conv2d(4, 3, 5), IMAGES),
    "conv1d": (lambda: nn.Conv1d(4, 5, 3, padding=1), (2, 4, 6)),
    "conv1d stride and dilation": (lambda: nn.Conv1d(1, 2, 3, stride=2, dilation=2, padding=2), (2, 1, 9)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2, padding=1), (2, 2, 2, 3, 3)),
    "patches": (lambda: nn.Sequential(nn.Conv2d(4, 6, 2, stride=2), nn.Flatten(2)), (2, 4, 4, 4)),
    "conv2d then pixels' softmax": (lambda: nn.Sequential(nn.Conv2d(4, 3, 3), nn.Softmax2d()), IMAGES),
    "conv2d after softmax": (lambda: nn.Sequential(nn.Softmax(1), nn.Conv2d(4, 3, 3)), IMAGES),
}
for _name, (_make, _shape) in _CONVOLUTIONS.items():
    module(_name, _make, _shape, domains=(None, 1.0) if _name == "conv2d" else (1.0,))
case("transposed convolution", lambda x, w: torch.ops.aten.convolution(
    x, w, None, [2, 2], [0, 0], [1, 1], True, [0, 0], 1), IMAGES, (4, 3, 2, 2), unbounded=True)  # fmt: skip
case("convolution", lambda x, w: torch.ops.aten.convolution(
    x, w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 2), IMAGES, (6, 2, 2, 2))  # fmt: skip

# attention


def _attend(x: Tensor, heads: int = 3, kv: int = 3, **options: Any) -> Tensor:
    q = _heads(x, heads)
    k = _heads(x.flip(-1), heads)[:, :kv]
    v = _heads(x.flip(1), heads)[:, :kv]
    return F.scaled_dot_product_attention(q, k, v, **options).transpose(1, 2).flatten(-2)


def _opposite(x: Tensor) -> Tensor:
    """Two vectors that are as far apart as any of RMS 1."""
    return torch.stack([x.new_ones(6), -x.new_ones(6)])[None].expand(2, -1, -1)


_OPTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "attention": _attend,
    "attention of one head": lambda x: _attend(x, 1, 1),
    "attention without heads": lambda x: F.scaled_dot_product_attention(x, x.flip(-1), x.flip(1)),
    "attention, causal": lambda x: _attend(x, is_causal=True),
    "attention, sharp": lambda x: _attend(x, scale=4.0),
    "attention, blunt": lambda x: _attend(x, scale=0.05),
    "attention, negative scale": lambda x: _attend(x, scale=-2.0),
    "attention, mask": lambda x: _attend(x, attn_mask=torch.ones(4, 4, dtype=torch.bool).tril()),
    "attention, additive mask": lambda x: _attend(x, attn_mask=torch.full((4, 4), -inf).triu(1).double()),
    "attention, mask from the input": lambda x: _attend(x, attn_mask=(x @ x.mT)[:, None]),
    "attention, grouped": lambda x: _attend(x, 3, 1, enable_gqa=True),
    "attention, one query": lambda x: F.scaled_dot_product_attention(x[:, :1], x, x.flip(-1)),
    "attention, batches and heads in one": lambda x: F.scaled_dot_product_attention(
        *[t.reshape(6, 4, 2) for t in (_heads(x, 3), _heads(x.flip(1), 3), _heads(x.flip(-1), 3))]
    ),
    "attention, broadcast keys": lambda x: F.scaled_dot_product_attention(_heads(x, 3), *[_heads(x[:1], 3)] * 2),
    "attention by hand": lambda x: (
        ((_heads(x, 3) @ _heads(x.flip(-1), 3).mT) * 0.7).masked_fill(
            torch.ones(4, 4, dtype=torch.bool).triu(1), -inf
        ).softmax(-1)
        @ _heads(x.flip(1), 3)
    ),
    "attention by hand, additive mask": lambda x: (
        (x @ x.flip(-1).mT + torch.full((4, 4), -inf).triu(1).double()).softmax(-1) @ x
    ),
    "attention over other axes": lambda x: (x.mT @ x).softmax(1) @ x.mT,
    "attention, queries fixed": lambda x: F.scaled_dot_product_attention(x.new_ones(1, 1, 6), x, x.flip(1)),
    "attention, keys alone": lambda x: F.scaled_dot_product_attention(
        x.new_ones(1, 1, 6), x[:, :2], _opposite(x), scale=1 / 6
    ),
    "attention, queries alone": lambda x: F.scaled_dot_product_attention(x, _opposite(x), _opposite(x), scale=1 / 6),
    "attention, tokens first": lambda x: _attend(x.transpose(0, 1)).transpose(0, 1),
    "attention, features first": lambda x: _attend(x.permute(1, 2, 0).reshape(2, 4, 6)),
    "attention over heads": lambda x: F.scaled_dot_product_attention(*[_split(x)] * 3),
    "values repeated": lambda x: (
        _heads(x, 3) @ _heads(x, 3)[:, :1].repeat_interleave(3, 1).mT
    ).softmax(-1) @ _heads(x, 3)[:, :1].expand(-1, 3, -1, -1),
}  # fmt: skip
for _name, _f in _OPTIONS.items():
    case(_name, _f, TOKENS, domains=(1.0, 2.0, 0.1))
case("attention with a dropout that stays on", lambda x: _attend(x, dropout_p=0.5), unbounded=True)
case("attention everywhere", _attend, TOKENS, domains=(None,), unbounded=True)
case("softmax", lambda x: x.softmax(-1), TOKENS, domains=(None, 2.0))
case("softmax of tokens", lambda x: (3 * x).softmax(1), TOKENS, domains=(None, 2.0))
case("special_softmax", lambda x: torch.special.softmax(2 * x, -1), ROWS)
case("_softmax", lambda x: torch._softmax(2 * x, -1, False), ROWS)
case("log_softmax", lambda x: x.log_softmax(-1), ROWS, domains=(None, 3.0))
case("log_softmax of tokens", lambda x: x.log_softmax(1), TOKENS)
case("_log_softmax", lambda x: torch._log_softmax(3 * x, -1, False), ROWS)
case("log_softmax of a masked row", lambda x: x.masked_fill(_mask(x), -inf).log_softmax(-1)[..., :1], ROWS)

# normalisations

module("layer_norm", lambda: nn.LayerNorm(6), domains=(None, 1.0, 0.01))
module("layer_norm of two axes", lambda: nn.LayerNorm((4, 6)), domains=(1.0,))
module("layer_norm, large eps", lambda: nn.LayerNorm(6, eps=0.5))
case("layer_norm without gains", lambda x: F.layer_norm(x, (6,), eps=0.1), domains=(None, 0.5))
case("layer_norm of a softmax", lambda x: F.layer_norm(x.softmax(-1), (6,), eps=0.1))
module("rms_norm", lambda: nn.RMSNorm(6, eps=0.01), domains=(None, 0.1))
module("rms_norm, eps of the dtype", lambda: nn.RMSNorm(6))
case("rms_norm by hand", lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 0.02))
case("rms_norm by division", lambda x: x / torch.sqrt(x.square().mean(-1, keepdim=True) + 0.02))
case("rms_norm without eps", lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True)), unbounded=True)
case("normalize", lambda x: F.normalize(x, dim=-1, eps=0.1), domains=(None, 0.5))
case("normalize tokens", lambda x: F.normalize(x, dim=1, eps=0.1))
case("normalize weights of tokens", lambda x: F.normalize(x.softmax(1), dim=-1, eps=0.1))
module("floored rms_norm", lambda: mm.nn.RMSNorm(floor=0.5), domains=(None, 1.0))
module("group_norm", lambda: nn.GroupNorm(2, 4, eps=0.1), IMAGES)
module("group_norm of tokens", lambda: nn.GroupNorm(2, 4, eps=0.1), (2, 4, 6))
module("group_norm, one group", lambda: nn.GroupNorm(1, 4, eps=0.1), IMAGES)
module("group_norm, a group a channel", lambda: nn.GroupNorm(4, 4, eps=0.1), IMAGES)
module("group_norm, squared", lambda: nn.Sequential(nn.GroupNorm(2, 4, eps=0.1), Do(torch.square)), (2, 4))
module("batch_norm", lambda: nn.BatchNorm2d(4), IMAGES, domains=(None, 1.0))
module("batch_norm of rows", lambda: nn.BatchNorm1d(6), ROWS)
module("batch_norm of maxima", lambda: nn.Sequential(Do(lambda x: x.amax(-1)), nn.BatchNorm1d(4)), TOKENS)
module("batch_norm without statistics", lambda: nn.BatchNorm1d(6, track_running_stats=False), ROWS, unbounded=True)
case("batch_norm of the batch", lambda x: F.batch_norm(
    x, torch.zeros(6).double(), torch.ones(6).double(), training=True), ROWS, unbounded=True)  # fmt: skip
case("native_batch_norm", lambda x: torch.native_batch_norm(
    x, None, None, torch.zeros(6).double(), torch.full((6,), 0.01).double(), False, 0.9, 0.1)[0], ROWS)  # fmt: skip
case("_native_batch_norm_legit_no_training", lambda x: torch.ops.aten._native_batch_norm_legit_no_training(
    x, None, None, torch.zeros(6).double(), torch.full((6,), 0.01).double(), 0.9, 0.1)[0], ROWS)  # fmt: skip

# shapes

_SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "view": lambda x: x.view(2, 24),
    "view across": lambda x: x.view(2, 6, 4).square(),
    "view into heads": lambda x: x.view(2, 4, 3, 2).amax(-2),
    "reshape": lambda x: x.transpose(1, 2).reshape(2, 24),
    "_unsafe_view": lambda x: torch.ops.aten._unsafe_view(x, (8, 6)),
    "flatten": lambda x: x.flatten(),
    "unflatten": lambda x: x.unflatten(-1, (2, 3)),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "view_as": lambda x: x.view_as(torch.zeros(2, 24)),
    "reshape_as": lambda x: x.reshape_as(torch.zeros(2, 24)),
    "transpose": lambda x: x.transpose(1, 2),
    "transpose the batch": lambda x: x.transpose(0, 1) * 2,
    "permute": lambda x: x.permute(2, 0, 1),
    "t": lambda x: x[0].t(),
    "numpy_T": lambda x: x[0].T,
    "mT": lambda x: x.mT,
    "movedim": lambda x: x.movedim(2, 0),
    "movedim two": lambda x: x.unflatten(-1, (2, 3)).movedim((0, 3), (2, 0)),
    "swapaxes": lambda x: x.swapaxes(0, 2),
    "swapdims": lambda x: x.swapdims(0, 1),
    "to": lambda x: x.to(torch.float64, copy=True),
    "_to_copy": lambda x: torch.ops.aten._to_copy(x),
    "contiguous": lambda x: x.mT.contiguous(),
    "clone": lambda x: x.clone(),
    "alias": lambda x: torch.ops.aten.alias(x),
    "type_as": lambda x: x.type_as(torch.zeros(1, dtype=torch.float64)),
    "slice": lambda x: x[..., 1:4],
    "slice of tokens": lambda x: x[:, 1:3],
    "slice by steps": lambda x: x[..., ::2],
    "slice from the end": lambda x: x[..., -2:],
    "narrow": lambda x: x.narrow(-1, 2, 3),
    "select": lambda x: x[:, -1],
    "select a feature": lambda x: x[..., 2],
    "select of heads": lambda x: x.unflatten(-1, (3, 2))[..., 1, :] * 1.0,
    "split": lambda x: torch.cat([t * (i + 1) for i, t in enumerate(x.split(2, -1))], -1),
    "split in sizes": lambda x: x.split([1, 5], -1)[0],
    "chunk": lambda x: x.chunk(3, -1)[1],
    "unbind": lambda x: x.unbind(1)[2],
    "expand": lambda x: x[:, :1].expand(-1, 3, -1),
    "expand new": lambda x: x.expand(3, 2, 4, 6),
    "expand features": lambda x: x[..., :1].expand(-1, -1, 5),
    "expand after softmax": lambda x: x.softmax(1)[:, :, :1].expand(-1, -1, 5),
    "expand_as": lambda x: x[:, :1].expand_as(x),
    "broadcast_to": lambda x: torch.broadcast_to(x[:, :1], (2, 3, 6)),
    "repeat": lambda x: x.repeat(1, 2, 3),
    "repeat in more dimensions": lambda x: x.repeat(2, 1, 1, 2),
    "repeat_interleave": lambda x: x.repeat_interleave(2, -1),
    "repeat_interleave of all": lambda x: x.repeat_interleave(3),
    "tile": lambda x: x.tile((2,)),
    "tile in more dimensions": lambda x: x.tile((2, 1, 1, 1)),
    "cat": lambda x: torch.cat([x, 2 * x], -1),
    "cat of tokens": lambda x: torch.cat([x, 2 * x.flip(-1)], 1),
    "cat of mixed norms": lambda x: torch.cat([x, x.softmax(-1), x.amax(-1, keepdim=True)], -1),
    "cat of the narrow": lambda x: torch.cat([x[..., :1], x], -1),
    "cat with constants": lambda x: torch.cat([x, torch.full((2, 1, 6), 3.0, dtype=torch.float64)], 1),
    "concat": lambda x: torch.concat([x, x], 0),
    "concatenate": lambda x: torch.concatenate([x, -x], 1),
    "stack": lambda x: torch.stack([x, 3 * x.flip(-1)], 1),
    "stack at the end": lambda x: torch.stack([x, x.softmax(-1)], -1),
    "stack at -2": lambda x: torch.stack([x, x], -2),
    "hstack": lambda x: torch.hstack([x, x * 2]),
    "hstack of vectors": lambda x: torch.hstack([x[0, 0], x[0, 1]]),
    "pad": lambda x: F.pad(x, (1, 2), value=0.7),
    "pad tokens": lambda x: F.pad(x, (0, 0, 2, 1)),
    "pad by less": lambda x: F.pad(x, (-1, -2)),
    "pad and crop": lambda x: F.pad(x, (-3, 0, 1, 0)),
    "pad around": lambda x: F.pad(x, (2, 2), mode="circular"),
    "pad, reflected": lambda x: F.pad(x, (2, 2), mode="reflect"),
    "constant_pad_nd": lambda x: torch.constant_pad_nd(x, (1, 1), -0.5),
    "roll": lambda x: x.roll(1, -1),
    "roll through samples": lambda x: x.roll(5),
    "flip": lambda x: x.flip(1),
    "index_select": lambda x: x.index_select(-1, torch.tensor([0, 0, 1])),
    "index": lambda x: x[:, [0, 0, 3]],
    "index features": lambda x: x[..., [1, 1, 1, 2]],
    "gather": lambda x: x.gather(-1, torch.zeros(2, 4, 3, dtype=torch.int64)),
    "chosen by the input": lambda x: x.gather(-1, x.argmax(-1, keepdim=True)),
}
for _name, _f in _SHAPES.items():
    unbounded = _name == "chosen by the input"
    case(_name, _f, TOKENS, unbounded=unbounded)
    case(f"{_name}, of samples", lambda x, f=_f: f(x.reshape(2, 4, 6)), (2, 24), unbounded=unbounded)


def _rotary(x: Tensor) -> Tensor:
    angle = torch.arange(4.0, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.3, 0.1], dtype=torch.float64)
    cos, sin = angle.cos().repeat(1, 2), angle.sin().repeat(1, 2)
    return x * cos + torch.cat([-x[..., 3:], x[..., :3]], -1) * sin


def _shear(x: Tensor) -> Tensor:
    return torch.cat([x[..., :3] + 2 * x[..., 3:], 3 * x[..., 3:]], -1)


case("rotary", _rotary, domains=(None,))
case("a shear of features", _shear, domains=(None,))
case("rotary, of samples", lambda x: _rotary(x.reshape(2, 4, 6)), (2, 24))

# reductions

_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda x: x.mean(-1),
    "mean of tokens": lambda x: x.mean(1),
    "mean of two": lambda x: x.mean((1, 2)),
    "mean kept": lambda x: x.mean(1, keepdim=True),
    "mean of all": lambda x: x.mean(),
    "mean of heads": lambda x: x.unflatten(-1, (3, 2)).mean(-2),
    "mean inside of heads": lambda x: _split(x).square().amax(-1).mean(-1),
    "mean of softmax": lambda x: (4 * x).softmax(-1).mean(1),
    "mean of softmax's axis": lambda x: (4 * x).softmax(1).mean(1),
    "sum": lambda x: x.sum(-1),
    "sum of tokens": lambda x: x.sum(1),
    "sum of softmax": lambda x: (4 * x).softmax(-1).sum(1),
    "amax": lambda x: x.amax(-1),
    "amax of tokens": lambda x: x.amax(1),
    "amin": lambda x: x.amin(1, keepdim=True),
    "max": lambda x: x.max(1).values,
    "max of all": lambda x: x.max(),
    "min": lambda x: x.min(-1, keepdim=True)[0],
    "linalg_vector_norm": lambda x: torch.linalg.vector_norm(x, dim=-1),
    "norm of tokens": lambda x: torch.linalg.vector_norm(x, dim=1, keepdim=True),
    "norm": lambda x: x.norm(dim=-1),
}
for _name, _f in _REDUCTIONS.items():
    case(_name, _f, TOKENS)
    case(f"{_name}, of samples", lambda x, f=_f: f(x.reshape(2, 4, 6)), (2, 24))
case("norm in l1", lambda x: torch.linalg.vector_norm(x, 1, dim=-1), unbounded=True)
case("maximum", lambda x: torch.maximum(x, x.flip(1)), unbounded=True)
case("minimum", lambda x: torch.minimum(x, x.flip(1)), unbounded=True)
case("max of two", lambda x: torch.max(x, x.flip(1)), unbounded=True)

_POOLS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 2), (2, 4, 6)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), (2, 4, 4, 4)),
    "avg_pool2d overlapping": (lambda x: F.avg_pool2d(x, 3, 1), IMAGES),
    "avg_pool2d padding": (lambda x: F.avg_pool2d(x, 3, 2, padding=1), IMAGES),
    "avg_pool2d padding not counted": (lambda x: F.avg_pool2d(x, 3, 2, padding=1, count_include_pad=False), IMAGES),
    "avg_pool2d ceil": (lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True), IMAGES),
    "avg_pool2d ceil and padding": (lambda x: F.avg_pool2d(x, 3, 3, padding=1, ceil_mode=True), IMAGES),
    "avg_pool2d divided by 1": (lambda x: F.avg_pool2d(x, 2, divisor_override=1), (2, 4, 4, 4)),
    "avg_pool2d to one": (lambda x: F.avg_pool2d(x, 5), IMAGES),
    "avg_pool2d of one channel": (lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True), (2, 1, 3, 3)),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 2), (2, 2, 2, 4, 4)),
    "max_pool1d": (lambda x: F.max_pool1d(x, 2), (2, 4, 6)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), (2, 4, 4, 4)),
    "max_pool2d overlapping": (lambda x: F.max_pool2d(x, 3, 1, padding=1), IMAGES),
    "max_pool2d dilation": (lambda x: F.max_pool2d(x, 2, 2, dilation=2, padding=1), (2, 1, 7, 7)),
    "max_pool2d ceil": (lambda x: F.max_pool2d(x, 2, 2, ceil_mode=True), IMAGES),
    "max_pool2d after softmax": (lambda x: F.max_pool2d(x.softmax(1), 2), (2, 4, 4, 4)),
    "avg_pool2d after softmax": (lambda x: F.avg_pool2d(x.softmax(1), 2), (2, 4, 4, 4)),
    "max_pool2d of many channels": (lambda x: F.max_pool2d(x, 2).square(), (2, 8, 4, 4)),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2), (2, 2, 2, 4, 4)),
    "adaptive_avg_pool1d": (lambda x: F.adaptive_avg_pool1d(x, 2), (2, 4, 6)),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 2), (2, 4, 4, 4)),
    "adaptive_avg_pool2d to one": (lambda x: F.adaptive_avg_pool2d(x, 1), IMAGES),
}
for _name, (_f, _shape) in _POOLS.items():
    case(_name, _f, _shape)
case("adaptive_avg_pool2d uneven", lambda x: F.adaptive_avg_pool2d(x, 2), IMAGES, unbounded=True)
case("max_pool2d by channels", lambda x: F.max_pool2d(F.conv2d(x, torch.eye(4).double()[:, :, None, None]), 2),
     (2, 4, 4, 4))  # fmt: skip


def _in_place_on_a_view(x: Tensor) -> Tensor:
    y = x * 1.0
    y[:, 0].mul_(5.0)
    return y


def _in_place_under_a_view(x: Tensor) -> Tensor:
    y = x * 1.0
    z = y.flatten(1)
    y.mul_(5.0)
    return z


def _assigned(x: Tensor) -> Tensor:
    y = x * 1.0
    y[:, 0] = 7 * x[:, 1]
    return y


REFUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "in place on a view": _in_place_on_a_view,
    "in place under a view": _in_place_under_a_view,
    "assigned to a part": _assigned,
}


@cache
def proof(name: str) -> Proof:
    chosen = CASES[name]
    return Proof(chosen.make(), draw(*chosen.shape))


@pytest.mark.parametrize("name", CASES)
def test_no_stretch_exceeds_the_bound(name):
    _attack(name, steps=5, count=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_no_stretch_exceeds_the_bound_after_a_long_ascent(name):
    _attack(name, steps=15, count=9)


def _attack(name: str, steps: int, count: int) -> None:
    chosen = CASES[name]
    for domain in chosen.domains:
        proved = proof(name).certificate(domain)
        assert proved.proved
        assert isfinite(proved.lipschitz) != chosen.unbounded, proved
        if chosen.unbounded:
            continue
        size = inf if domain is None else domain
        found = stretch(proof(name).module, chosen.shape, size, steps=steps, count=count)
        check(found, proved)
        for l2, rms in proof(name).constants(size):
            assert found.l2 <= l2 * ROUNDING, (found, l2)
            assert found.rms <= rms * ROUNDING, (found, rms)
        if domain is not None:
            proof(name).check_lengths(domain, count)


def test_a_norm_along_a_wrong_axis_is_no_normalisation():
    with pytest.raises(mm.modular.UnknownOperationError, match="rsqrt"):
        mm.certify(Do(lambda x: x * torch.rsqrt((x * x).mean(-1) + 0.02)), (draw(4, 4),))


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_graph_does_not_tell_is_refused(name):
    with pytest.raises(mm.modular.CaptureError, match="in place"):
        mm.certify(Do(REFUSED[name]), (draw(*TOKENS),), 1.0)


def test_every_rule_has_been_attacked():
    seen = {node.op for name in CASES for node in proof(name).reading.graph.nodes}
    elsewhere = {"aten.embedding", "aten.cudnn_batch_norm", "aten.lift_fresh_copy", "aten.detach", "aten.detach_"}
    known = {op for op in RULES if op.startswith(("aten.", "fused."))}
    assert known - seen - elsewhere == set()

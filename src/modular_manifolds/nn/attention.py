"""Attention, whose sensitivity is that to its queries, keys and values head by head."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from modular_manifolds.nn.bonds import Rope
from modular_manifolds.nn.composition import Compose, Identity, Mul, Tuple
from modular_manifolds.nn.leaves import Linear
from modular_manifolds.nn.module import Bond, Uses
from modular_manifolds.nn.sensitivity import Sensitivity, plus, times
from modular_manifolds.nn.sharpness import Sharpness


class AttentionCore(Bond):
    """softmax(softmax_scale q k^T / d_head) v in each head, for a tuple (q, k, v) of (*b, positions, heads * d_head).

    A tensor is as long as the largest RMS of a head at a position, which is what `Linear(heads=)` bounds. Where q, k
    and v are at most 1 so, the output is as sensitive to q and to k as `softmax_scale`, and to v as 1: a change of the
    logits by at most t moves the weights of a position by at most t in sum.

    Args:
        heads: how many.
        causal: whether a position sees only those up to its own.
        softmax_scale: s.
        rope: whether queries and keys are turned by their positions, see `Rope`.

    Raises:
        ValueError: softmax_scale is negative or not finite.
    """

    def __init__(self, heads: int, *, causal: bool = True, softmax_scale: float = 1.0, rope: bool = False) -> None:
        super().__init__()
        if not 0 <= softmax_scale < float("inf"):
            raise ValueError(f"softmax_scale must be finite and not negative, got {softmax_scale}")
        self.heads = heads
        self.causal = causal
        self.softmax_scale = softmax_scale
        self.rotate = Rope() if rope else Identity()

    def forward(self, qkv: tuple[Float[Tensor, "*b t hd"], ...]) -> Float[Tensor, "*b t hd"]:
        q, k, v = (torch.unflatten(x, -1, (self.heads, -1)).transpose(-3, -2) for x in qkv)
        q, k = self.rotate(q), self.rotate(k)
        scale = self.softmax_scale / q.shape[-1]
        y = scaled_dot_product_attention(q, k, v, is_causal=self.causal, scale=scale)
        return y.transpose(-3, -2).flatten(-2)

    def sweep(self, s: Sensitivity, into: Sensitivity, uses: Uses) -> Sensitivity:
        logits = times(s, self.softmax_scale)
        return plus(into, (logits, logits, s))

    @property
    def sharpness(self) -> Sharpness:
        """gamma = 2 s^2 + s for a softmax scale of s, which is 3 for 1.

        Where the logits move by x and then by y, at most in size, the weights' second derivative is at most 2 x y in
        sum: it is A (X Y - E XY), with X and Y the centred moves, whose mean squares are at most x^2 and y^2. With
        x = s (|dq| + |dk|), the same for y, and |v| <= 1, that is 2 s^2; the logits' own second derivative makes s
        more, and the values' part, s x |dv|, is not above.
        """
        s = self.softmax_scale
        return Sharpness(0.0, 0.0, 2 * s * s + s)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, causal={self.causal}, softmax_scale={self.softmax_scale:g}"


class Attention(Compose):
    """output @ (1/3 * core) @ (query, key, value), as in modula; sensitivity 1 at softmax_scale 1.

    Args:
        embed_dim: features in and out.
        heads: each of embed_dim / heads features.
        causal, softmax_scale, rope: as of `AttentionCore`.

    Raises:
        ValueError: embed_dim is no multiple of heads, or as for `AttentionCore`.
    """

    def __init__(
        self,
        embed_dim: int,
        heads: int,
        *,
        causal: bool = True,
        softmax_scale: float = 1.0,
        rope: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        place = {"device": device, "dtype": dtype}
        qkv = {name: Linear(embed_dim, embed_dim, heads=heads, **place) for name in ("query", "key", "value")}
        core = AttentionCore(heads, causal=causal, softmax_scale=softmax_scale, rope=rope)
        super().__init__(
            {"qkv": Tuple(qkv), "core": core, "third": Mul(1 / 3), "output": Linear(embed_dim, embed_dim, **place)}
        )

"""Norms of the singular values."""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import (
    Precision,
    clip_singular_values,
    msign,
    nuclear_norm,
    rounding,
    spectral_norm,
    thin_svd,
)
from modular_manifolds.norms.lp_ball import to_l1_ball, to_lp_ball
from modular_manifolds.norms.norm import Norm


@dataclass(frozen=True)
class Spectral(Norm):
    """Largest singular value; the dual is the nuclear norm, their sum."""

    unitarily_invariant: ClassVar[bool] = True

    def unit(self, shape: torch.Size) -> float:
        """Spectral norm of an update of length 1."""
        return 1.0

    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return spectral_norm(u) / self.unit(u.shape)

    def spectral_bound(self, m: int, n: int) -> float:
        return self.unit(torch.Size((m, n)))

    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return nuclear_norm(g) * self.unit(g.shape)

    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        return -self.unit(g.shape) * msign(g, precision)

    def to_ball(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        unit = self.unit(u.shape)
        return clip_singular_values(u, unit)


@dataclass(frozen=True)
class RMSOperator(Spectral):
    """Largest gain in root-mean-square of an (out, in) matrix: sqrt(in / out) times the spectral norm."""

    def unit(self, shape: torch.Size) -> float:
        """sqrt(out / in)."""
        return sqrt(max(shape[-2], 1) / max(shape[-1], 1))


@dataclass(frozen=True)
class ConvOperator(RMSOperator):
    """For the taps of a convolution, (out, in) each: `taps` times the RMS operator norm.

    The taps' outputs add up, so that their largest norm bounds the gain of the convolution in root-mean-square over
    channels, at any position (Large et al., arXiv 2405.14813, appendix on Conv2D).
    """

    taps: int = 1

    def unit(self, shape: torch.Size) -> float:
        """sqrt(out / in) / taps."""
        return super().unit(shape) / self.taps


@dataclass(frozen=True)
class TransposedRMSOperator(Spectral):
    """The RMS operator norm of the transpose, for weights kept as (in, out): sqrt(in / out) times the spectral norm."""

    def unit(self, shape: torch.Size) -> float:
        """sqrt(out / in)."""
        return sqrt(max(shape[-1], 1) / max(shape[-2], 1))


@dataclass(frozen=True)
class Nuclear(Norm):
    """Sum of the singular values; the dual is the spectral norm, the largest of them."""

    unitarily_invariant: ClassVar[bool] = True

    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return nuclear_norm(u)

    def spectral_bound(self, m: int, n: int) -> float:
        return 1.0

    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return spectral_norm(g)

    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        """-u v^T of a leading singular pair, one of them where several singular values are the largest."""
        u, s, v = (x[..., :1] for x in thin_svd(g))
        return (-(u * s.sign().unsqueeze(-2)) @ v.mT).to(g.dtype)

    def to_ball(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        left, s, right = thin_svd(u)
        return (left * to_l1_ball(s).unsqueeze(-2) @ right.mT).to(u.dtype)


@dataclass(frozen=True)
class Schatten(Norm):
    """The l_p norm of the singular values, for 1 < p < inf; the dual is Schatten's for q with 1/p + 1/q = 1."""

    p: float

    unitarily_invariant: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 < self.p < float("inf"):
            raise ValueError(
                f"p must lie strictly between 1 and infinity, got {self.p}; use Nuclear() for 1 and Spectral() for "
                "infinity"
            )

    @property
    def q(self) -> float:
        """p / (p - 1)."""
        return self.p / (self.p - 1)

    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return _schatten(u, self.p)

    def spectral_bound(self, m: int, n: int) -> float:
        return 1.0

    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return _schatten(g, self.q)

    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        """-U (s / ||s||_q)^(q-1) V^T, where singular values within the rounding error of g count as zero."""
        u, s, v = thin_svd(g)
        _, t = _relative(s)
        t = t.masked_fill(t <= rounding(g.shape, g.dtype), 0.0)  # a large p has q - 1 near 0, and noise^0 = 1
        # with t = s / max(s), a power neither over- nor underflows where it matters; (q - 1) / q = 1 / p
        size = t.pow(self.q).sum(-1, keepdim=True).pow(1 / self.p)
        a = t.pow(self.q - 1) / size.masked_fill(size == 0, 1.0)
        return (-(u * a.unsqueeze(-2)) @ v.mT).to(g.dtype)

    def to_ball(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        left, s, right = thin_svd(u)
        return (left * to_lp_ball(s, self.p).unsqueeze(-2) @ right.mT).to(u.dtype)


def _schatten(x: Float[Tensor, "*b m n"], p: float) -> Float[Tensor, "*b"]:
    top, t = _relative(thin_svd(x)[1])
    return (top * t.pow(p).sum(-1).pow(1 / p)).to(x.dtype)


def _relative(s: Float[Tensor, "*b k"]) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b k"]]:
    """The largest singular value, or 1 where it is zero or there are none, and all of them over it."""
    top = s[..., :1].sum(-1)
    top = top.masked_fill(top == 0, 1.0)
    return top, s / top.unsqueeze(-1)

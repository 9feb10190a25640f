"""Matrices with orthogonal columns of any length."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import largest_entry, length, lifted, near_polar, normalise, thin_svd, working_dtype
from modular_manifolds.manifolds.manifold import Manifold
from modular_manifolds.manifolds.stiefel import Stiefel


@dataclass(frozen=True)
class DGram(Manifold):
    """Matrices with a diagonal Gram matrix: W^T W, or W W^T for wide ones. Their columns (rows) are orthogonal.

    The tall (or square) case is described throughout: W = Q D with orthonormal columns Q and lengths D.
    """

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """A stationary point of the distance to x: Q = polar(x D) and D = diag(Q^T x) in turn, until W stands still.

        Each of the two is the nearest while the other is kept. The set is not convex: there may be a nearer one. Zero
        columns stay zero.
        """
        if x.shape[-2] < x.shape[-1]:
            return self.project(x.mT).mT
        top = largest_entry(x.double())
        return (_nearest(x.double() / top) * top).to(x.dtype)

    @lifted
    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """g - x S with S_ij = (x_i^T g_j + x_j^T g_i) / (|x_i|^2 + |x_j|^2) for i != j: the normal vectors are x S.

        Written with unit columns q_i and the ratios r_ij = |x_i| / sqrt(|x_i|^2 + |x_j|^2), which no scale disturbs:
        x_i S_ij = q_i r_ij (r_ij q_i^T g_j + r_ji q_j^T g_i).
        """
        if x.shape[-2] < x.shape[-1]:
            return self.to_tangent(x.mT, g.mT).mT
        q, d = normalise(x, -2), length(x, -2)
        both = torch.hypot(d.mT, d)
        ratio = d.mT / both.masked_fill(both == 0, 1.0)
        overlap = ratio * (q.mT @ g)
        hollow = 1 - torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
        return g - q @ (hollow * ratio * (overlap + overlap.mT))

    @lifted
    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """The columns of x + u keep their lengths; their directions become orthonormal by a polar factor."""
        if x.shape[-2] < x.shape[-1]:
            return self.retract(x.mT, u.mT).mT
        return near_polar(normalise(x + u, -2)) * length(x + u, -2)

    def from_gaussian(self, normal: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Uniform directions, and the lengths of the Gaussian's columns."""
        if normal.shape[-2] < normal.shape[-1]:
            return self.from_gaussian(normal.mT).mT
        return Stiefel().from_gaussian(normal) * length(normal, -2)

    def matrix_dimension(self, m: int, n: int) -> int:
        k = min(m, n)
        return m * n - k * (k - 1) // 2

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """Largest |cosine| of the angle between two columns; a zero column is orthogonal to all."""
        if x.shape[-2] < x.shape[-1]:
            return self.violation(x.mT)
        q = normalise(x.to(working_dtype(x.dtype)), -2)
        cosines = (q.mT @ q).tril(-1).abs().flatten(-2)
        return cosines.amax(-1) if cosines.shape[-1] else cosines.sum(-1)


def _nearest(x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
    """The iteration of `DGram.project`, started at Q = polar of the unit columns, which is exact on the manifold."""
    q = _polar(normalise(x, -2))
    d = _lengths(q, x)
    done = torch.zeros_like(x[..., :1, :1], dtype=torch.bool)
    for _ in range(200):
        longest = largest_entry(d)
        weight = d / longest
        # Of columns shorter than 1e-5, the weighted matrix says less than its rounding; a multiple of Q, which is
        # another ascent step for the same objective, keeps them where they are.
        next_q = _polar(x * weight + q * (1e-10 - weight**2).clamp(min=0) * longest)
        next_d = _lengths(next_q, x)
        done = done | (length(next_q * next_d - q * d) <= 1e-11 * longest)
        q, d = q.where(done, next_q), d.where(done, next_d)
        if bool((done | d.isnan().any(-1, keepdim=True)).all()):
            break
    return q * d


def _polar(x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
    """U V^T of x = U S V^T, with orthonormal columns whatever the rank of x."""
    u, _, v = thin_svd(x)
    return u @ v.mT


def _lengths(q: Float[Tensor, "*b m n"], x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b 1 n"]:
    """The lengths, one for every column, that bring q closest to x."""
    return (q * x).sum(-2, keepdim=True).clamp(min=0)

"""Matrices of one rank."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import rounding, thin_svd, working_dtype
from modular_manifolds.manifolds.manifold import Manifold


@dataclass(frozen=True)
class FixedRank(Manifold):
    """Matrices of exactly rank `rank`, as a submanifold of all matrices (Vandereycken 2013, section 2).

    Matrices of lower rank are limits of these, but no points: what counts as such is a singular value that rounding
    could have made. No law on the set is uniform; a random point is the nearest to a Gaussian matrix, whose row and
    column spaces are uniform and independent.

    Raises:
        ValueError: `rank` is not a positive int; or, in every method, it exceeds a side of the matrix.
    """

    rank: int

    retraction_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not isinstance(self.rank, int) or self.rank < 1:
            raise ValueError(f"rank must be a positive int, got {self.rank!r}")

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """The first `rank` terms of the singular value decomposition (Eckart & Young 1936).

        An x of lower rank has no nearest point, as some are arbitrarily near. Its vanishing singular values become
        the smallest that can be told from rounding, about 8 eps times the largest, or 8 eps for x = 0, on the
        singular vectors that LAPACK completes the others with.
        """
        u, s, v = self._leading(x)
        top = s[..., :1].masked_fill(s[..., :1] == 0, 1.0)
        s = torch.maximum(s, _resolution(x) * top)
        return (u * s.unsqueeze(-2) @ v.mT).to(x.dtype)

    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """P_U g + g P_V - P_U g P_V, with the projectors onto the column and the row space of x."""
        return self.tangent_projection(x)(g)

    def tangent_projection(self, x: Float[Tensor, "*b m n"]) -> Callable[[Tensor], Tensor]:
        u, v = self.factors(x)

        def project(g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
            wide = g.to(u.dtype)
            inside = u @ (u.mT @ wide)
            return (inside + (wide - inside) @ v @ v.mT).to(g.dtype)

        return project

    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """The nearest point to x + u, a retraction of second order (Absil & Malick 2012, section 4.1)."""
        return self.project(x + u)

    def factors(self, x: Float[Tensor, "*b m n"]) -> tuple[Float[Tensor, "*b m r"], Float[Tensor, "*b n r"]]:
        """Orthonormal bases U and V of the column and the row space of x: x = U (U^T x V) V^T. In the working dtype."""
        u, _, v = self._leading(x)
        dtype = working_dtype(x.dtype)
        return u.to(dtype), v.to(dtype)

    def matrix_dimension(self, m: int, n: int) -> int:
        self._check((m, n))
        return self.rank * (m + n - self.rank)

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """The largest singular value beyond the rank, over the largest of all; 1 where the rank is lower."""
        self._check(x.shape)
        _, s, _ = thin_svd(x)
        top, last, beyond = s[..., 0], s[..., self.rank - 1], s[..., self.rank :]
        lower = last <= _resolution(x) / 2 * top
        off = beyond.sum(-1) if beyond.shape[-1] == 0 else beyond[..., 0] / top
        return off.masked_fill(lower, 1.0).to(working_dtype(x.dtype))

    def _leading(self, x: Tensor) -> tuple[Tensor, ...]:
        self._check(x.shape)
        return tuple(factor[..., : self.rank] for factor in thin_svd(x))

    def _check(self, shape: Sequence[int]) -> None:
        if min(shape[-2:]) < self.rank:
            raise ValueError(f"a tensor of shape {tuple(shape)} has no matrices of rank {self.rank}")


def _resolution(x: Float[Tensor, "*b m n"]) -> float:
    """The singular value, relative to the largest, that x's rounding cannot have made."""
    return rounding(x.shape, working_dtype(x.dtype))

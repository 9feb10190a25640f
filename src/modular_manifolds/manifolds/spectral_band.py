"""Matrices whose singular values lie between two bounds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.manifolds.manifold import Manifold
from modular_manifolds.manifolds.singular_values import clip, cone_projection, map_singular_values, violation


@dataclass(frozen=True)
class SpectralBand(Manifold):
    """Matrices whose min(m, n) singular values all lie in [low, high]: a set with two boundaries, not convex.

    What rounding does to the singular values is relative to `high`, so `low` / `high` should be well above the
    rounding of the dtype that the matrices are kept in.
    """

    low: float
    high: float

    conic: ClassVar[bool] = True
    retraction_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < float("inf"):
            raise ValueError(f"SpectralBand needs 0 < low < high < inf, got low {self.low} and high {self.high}")

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Singular values outside [low, high] move to the nearer bound.

        A rank-deficient x is completed by the singular vectors that LAPACK finds for its zeros, always the same.
        """
        return clip(x, self.low, self.high)

    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """g without what points outwards: U [sym(U^T g V)]_+ V^T at `high`, and with the negative part at `low`.

        U and V are the singular vectors of x at that bound, to a relative 1e-4.
        """
        return self.tangent_projection(x)(g)

    def tangent_projection(self, x: Float[Tensor, "*b m n"]) -> Callable[[Tensor], Tensor]:
        return cone_projection(x, self.low, self.high)

    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """The nearest point to x + u, which is x + u itself inside."""
        return self.project(x + u)

    def exp(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """x + u: geodesics are straight while they stay inside, which is not checked."""
        return x + u

    def from_gaussian(self, normal: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Uniform singular vectors; singular values as of `SpectralBall(1).from_gaussian`, moved from [0, 1]."""
        rest, width = min(normal.shape[-2:]) + 1, self.high - self.low
        return map_singular_values(normal, lambda s: self.low + width * s / s.square().add(rest).sqrt())

    def spectral_bound(self, m: int, n: int) -> float:
        return self.high

    def matrix_dimension(self, m: int, n: int) -> int:
        return m * n

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """The largest of s / high - 1, 1 - s / low and 0 over the singular values s."""
        return violation(x, self.low, self.high)

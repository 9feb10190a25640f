"""Matrices of bounded spectral norm."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import clip_singular_values
from modular_manifolds.manifolds.manifold import Manifold, check_radius
from modular_manifolds.manifolds.singular_values import cone_projection, map_singular_values, violation
from modular_manifolds.manifolds.stiefel import Stiefel


@dataclass(frozen=True)
class SpectralBall(Manifold):
    """Matrices whose singular values are at most `radius`: a convex set with a boundary, flat inside."""

    radius: float = 1.0

    conic: ClassVar[bool] = True
    retraction_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_radius(self.radius)

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Larger singular values become `radius`; an x inside is returned to the last bit."""
        return clip_singular_values(x, self.radius)

    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """g where x is inside; at the boundary, without the part U [sym(U^T g V)]_+ V^T that points outwards.

        U and V are the singular vectors of x at `radius`, to a relative 1e-4.
        """
        return self.tangent_projection(x)(g)

    def tangent_projection(self, x: Float[Tensor, "*b m n"]) -> Callable[[Tensor], Tensor]:
        return cone_projection(x, 0.0, self.radius)

    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """The nearest point to x + u, which is x + u itself inside."""
        return self.project(x + u)

    def exp(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """x + u: geodesics are straight, and end where they leave the ball; what lies beyond is not checked."""
        return x + u

    def log(self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """y - x, as the ball is convex."""
        return y - x

    def transport(
        self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        """v."""
        return v.clone()

    def random(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b m n"]:
        """Uniform in volume: the corner of a uniform orthogonal matrix with m + n + 1 rows.

        A corner W of an N-row one has density det(I - W^T W)^((N - m - n - 1) / 2) (Eaton 1989, chapter 7).
        """
        *batch, m, n = shape
        long, short = max(m, n), min(m, n)
        frame = (*batch, m + n + 1, short)
        x = Stiefel(self.radius).random(frame, generator=generator, dtype=torch.float64, device=device)[..., :long, :]
        return (x if m >= n else x.mT).to(dtype or torch.get_default_dtype())

    def from_gaussian(self, normal: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius G (G^T G + (n + 1) I)^(-1/2) of a tall G, inside, and invariant under rotations from both sides.

        The law of `random` is that of G (G^T G + H^T H)^(-1/2) with another Gaussian H of n + 1 rows; this has the mean
        of H^T H in its place.
        """
        rest = min(normal.shape[-2:]) + 1
        return map_singular_values(normal, lambda s: self.radius * s / s.square().add(rest).sqrt())

    def spectral_bound(self, m: int, n: int) -> float:
        return self.radius

    def matrix_dimension(self, m: int, n: int) -> int:
        return m * n

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """How far ||x|| / radius exceeds 1."""
        return violation(x, 0.0, self.radius)

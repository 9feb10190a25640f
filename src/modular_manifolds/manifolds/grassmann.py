"""Subspaces, each held as an orthonormal basis."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import eigenpairs, length, lifted, thin_svd
from modular_manifolds.manifolds.manifold import Manifold, check_radius
from modular_manifolds.manifolds.stiefel import Stiefel


@dataclass(frozen=True)
class Grassmann(Manifold):
    """Column spaces of tall matrices with W^T W = radius^2 I; row spaces of wide ones.

    Points are those of `Stiefel(radius)`, two of which are one subspace if they differ by an orthogonal matrix.
    Tangent vectors are horizontal: they move the subspace, and do not turn its basis.
    """

    radius: float = 1.0

    retraction_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_radius(self.radius)

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius times the polar factor of x, the nearest basis; it spans what x spans."""
        return Stiefel(self.radius).project(x)

    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """(I - x x^T / radius^2) g; transposed for a wide x."""
        if x.shape[-2] < x.shape[-1]:
            return self.to_tangent(x.mT, g.mT).mT
        unit = x / self.radius
        return g - unit @ (unit.mT @ g)

    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius times the polar factor of x + u."""
        return Stiefel(self.radius).retract(x, u)

    @lifted
    def exp(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """x V cos(T) V^T + U sin(T) V^T with u = U T V^T, for radius 1 (Edelman, Arias & Smith 1998, eq. 2.65).

        U = u V / T is never formed: sin(T) / T is a function of u^T u = V T^2 V^T that has no pole.
        """
        if x.shape[-2] < x.shape[-1]:
            return self.exp(x.mT, u.mT).mT
        x, u = x / self.radius, u / self.radius
        t, v = _principal(u)
        return Stiefel(self.radius).polish(self.radius * (((x @ v) * t.cos() + (u @ v) * _sinc(t)) @ v.mT))

    @lifted
    def log(self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """A shortest horizontal vector at x whose exponential spans what y spans, in a basis of its own.

        With x^T y = P cos(T) Q^T, for radius 1, it is (y Q - x P cos(T)) (T / sin T) P^T. Nothing is divided by cos(T),
        which vanishes between orthogonal directions, and nothing is lost for tiny angles, of which the first factor
        carries the sines.
        """
        if x.shape[-2] < x.shape[-1]:
            return self.log(x.mT, y.mT).mT
        x, y = x / self.radius, y / self.radius
        p, cosines, q = (factor.to(x.dtype) for factor in thin_svd(x.mT @ y))
        away = Grassmann().to_tangent(x, y @ q)
        return self.radius * ((away / _sinc(cosines.clamp(max=1).acos()).unsqueeze(-2)) @ p.mT)

    @lifted
    def distance(self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """radius times the root of the sum of squares of the principal angles between the subspaces."""
        return length(self.log(x, y))[..., 0, 0]

    @lifted
    def transport(
        self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        """v - (x V sin(T) + U (1 - cos(T))) U^T v with u = U T V^T, for radius 1 (as `exp`, eq. 2.68)."""
        if x.shape[-2] < x.shape[-1]:
            return self.transport(x.mT, u.mT, v.mT).mT
        x, u = x / self.radius, u / self.radius
        t, basis = _principal(u)
        turn = (x @ basis) * _sinc(t) + (u @ basis) * _sinc(t / 2).square() / 2  # 1 - cos(t) = 2 sin(t / 2)^2
        return v - turn @ (basis.mT @ (u.mT @ v))

    def from_gaussian(self, normal: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Uniform, as on `Stiefel`."""
        return Stiefel(self.radius).from_gaussian(normal)

    def spectral_bound(self, m: int, n: int) -> float:
        return self.radius

    def matrix_dimension(self, m: int, n: int) -> int:
        return min(m, n) * abs(m - n)

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """Largest entry of |x^T x / radius^2 - I|, as on `Stiefel`."""
        return Stiefel(self.radius).violation(x)


def _principal(u: Float[Tensor, "*b m n"]) -> tuple[Float[Tensor, "*b 1 n"], Float[Tensor, "*b n n"]]:
    """T and V of a tall u = U T V^T; T as a row."""
    squares, v = eigenpairs(u.mT @ u)
    return squares.clamp(min=0).sqrt().unsqueeze(-2), v


def _sinc(t: Tensor) -> Tensor:
    """sin(t) / t."""
    return torch.sinc(t / torch.pi)

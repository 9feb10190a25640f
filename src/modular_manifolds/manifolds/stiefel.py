"""Matrices whose singular values are all equal."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import msign, newton_schulz_polish, sym, working_dtype
from modular_manifolds.manifolds.manifold import Manifold, check_radius


@dataclass(frozen=True)
class Stiefel(Manifold):
    """Matrices whose singular values all equal `radius`: W^T W = radius^2 I, or W W^T for wide ones."""

    radius: float = 1.0

    def __post_init__(self) -> None:
        check_radius(self.radius)

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius times the polar factor of x. A rank-deficient x is completed, always in the same way."""
        if x.shape[-2] < x.shape[-1]:
            return self.project(x.mT).mT
        polar = msign(x.to(working_dtype(x.dtype)))
        if bool((Stiefel().violation(polar) < 1e-3).all()):
            return (self.radius * polar).to(x.dtype)
        haar = Stiefel().random(x.shape[-2:], generator=torch.Generator().manual_seed(0), device="cpu").to(polar)
        # in float32, one filling in some thousands is itself too close to singular on the null space of x
        for filling in (haar, haar.flip(-1)):
            missing = filling - polar @ (polar.mT @ filling)
            polar = msign(polar + missing - (missing @ polar.mT) @ polar)
        return (self.radius * polar).to(x.dtype)

    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """g - x sym(x^T g) / radius^2 (Edelman, Arias & Smith 1998, eq. 2.4); transposed for a wide x."""
        if x.shape[-2] < x.shape[-1]:
            return self.to_tangent(x.mT, g.mT).mT
        return g - x @ sym(x.mT @ g) / self.radius**2

    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius times the polar factor of x + u, whose singular values are at least radius for a tangent u."""
        return self.radius * msign(x + u)

    def from_gaussian(self, normal: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Uniform: Q of the Gaussian, with the signs that make R's diagonal positive (Mezzadri 2007, section 5)."""
        if normal.shape[-2] < normal.shape[-1]:
            return self.from_gaussian(normal.mT).mT
        q, r = torch.linalg.qr(normal)
        return self.radius * q * torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).unsqueeze(-2)

    def matrix_dimension(self, m: int, n: int) -> int:
        k = min(m, n)
        return m * n - k * (k + 1) // 2

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """Largest entry of |x^T x / radius^2 - I|, or of |x x^T / radius^2 - I| for a wide x."""
        if x.shape[-2] < x.shape[-1]:
            return self.violation(x.mT)
        off = self.gram_error(x.to(working_dtype(x.dtype))).abs().flatten(-2)
        return off.amax(-1) if off.shape[-1] else off.sum(-1)

    def polish(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """One quintic Newton-Schulz step towards the manifold: a violation d becomes about 0.3 d^3."""
        if x.shape[-2] < x.shape[-1]:
            return self.polish(x.mT).mT
        return newton_schulz_polish(x, self.gram_error(x))

    def gram_error(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b n n"]:
        """x^T x / radius^2 - I of a tall x."""
        unit = x / self.radius
        return unit.mT @ unit - torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)

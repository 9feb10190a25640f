"""Matrices of one Frobenius norm."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import length, normalise, working_dtype
from modular_manifolds.manifolds.manifold import Manifold, check_radius


@dataclass(frozen=True)
class Sphere(Manifold):
    """Matrices whose Frobenius norm equals `radius`."""

    radius: float = 1.0

    def __post_init__(self) -> None:
        check_radius(self.radius)

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius x / ||x||; for x = 0 the matrix of equal entries."""
        unit = normalise(x)
        flat = normalise(torch.ones_like(x))
        return self.radius * torch.where((unit == 0).all(-1, keepdim=True).all(-2, keepdim=True), flat, unit)

    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """g - x <x, g> / radius^2."""
        return g - x * (x * g).sum((-2, -1), keepdim=True) / self.radius**2

    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius (x + u) / ||x + u||."""
        return self.radius * normalise(x + u)

    def matrix_dimension(self, m: int, n: int) -> int:
        return max(m * n - 1, 0)

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """| ||x|| / radius - 1 |."""
        return (length(x.to(working_dtype(x.dtype)))[..., 0, 0] / self.radius - 1).abs()

"""Matrices of one Frobenius norm."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import length, lifted, normalise, working_dtype
from modular_manifolds.manifolds import great_circle
from modular_manifolds.manifolds.manifold import Manifold, check_radius


@dataclass(frozen=True)
class Sphere(Manifold):
    """Matrices whose Frobenius norm equals `radius`."""

    radius: float = 1.0

    retraction_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_radius(self.radius)

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius x / ||x||; for x = 0 the matrix of equal entries."""
        unit = normalise(x)
        flat = normalise(torch.ones_like(x))
        return self.radius * torch.where((unit == 0).all(-1, keepdim=True).all(-2, keepdim=True), flat, unit)

    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """g - x <x, g> / radius^2."""
        unit = x / self.radius
        return g - unit * (unit * g).sum((-2, -1), keepdim=True)

    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius (x + u) / ||x + u||."""
        return self.radius * normalise(x + u)

    @lifted
    def exp(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Along the great circle: x cos t + radius u / ||u|| sin t with t = ||u|| / radius."""
        return great_circle.follow(x.flatten(-2), u.flatten(-2), self.radius).view_as(x)

    @lifted
    def log(self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Along the great circle through x and y; for y = -x along one of them.

        Raises:
            ValueError: the matrices have one entry, and two of them are opposite: no path joins them.
        """
        return great_circle.departure(x.flatten(-2), y.flatten(-2), self.radius).view_as(x)

    @lifted
    def distance(self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """radius times the angle between x and y, accurate for close and for opposite points.

        Raises:
            ValueError: as `log`.
        """
        return self.radius * great_circle.angle(x.flatten(-2), y.flatten(-2))[..., 0]

    @lifted
    def transport(
        self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        """v, with its part along u turned in the plane of x and u."""
        return great_circle.carry(x.flatten(-2), u.flatten(-2), v.flatten(-2), self.radius).view_as(x)

    def spectral_bound(self, m: int, n: int) -> float:
        return self.radius

    def matrix_dimension(self, m: int, n: int) -> int:
        return max(m * n - 1, 0)

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """| ||x|| / radius - 1 |."""
        return (length(x.to(working_dtype(x.dtype)))[..., 0, 0] / self.radius - 1).abs()

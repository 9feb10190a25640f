"""Matrices whose rows, or columns, all have one length."""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import length, lifted, normalise, working_dtype
from modular_manifolds.manifolds import great_circle
from modular_manifolds.manifolds.manifold import Manifold, check_radius


@dataclass(frozen=True)
class Oblique(Manifold):
    """Matrices whose rows (or columns) all have Euclidean length `radius`: a product of spheres."""

    axis: Literal["rows", "columns"] = "rows"
    radius: float = 1.0

    retraction_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_radius(self.radius)
        if self.axis not in ("rows", "columns"):
            raise ValueError(f"Oblique axis must be 'rows' or 'columns', got {self.axis!r}")

    @property
    def along(self) -> int:
        """The tensor axis that runs along one row, or one column."""
        return -1 if self.axis == "rows" else -2

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Every row divided by its length; a zero row becomes one of equal entries."""
        unit = normalise(x, self.along)
        flat = normalise(torch.ones_like(x), self.along)
        return self.radius * torch.where((unit == 0).all(self.along, keepdim=True), flat, unit)

    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """g_i - x_i <x_i, g_i> / radius^2 for every row i."""
        unit = x / self.radius
        return g - unit * (unit * g).sum(self.along, keepdim=True)

    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius (x_i + u_i) / ||x_i + u_i|| for every row i."""
        return self.radius * normalise(x + u, self.along)

    def vectors(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b k d"]:
        """The rows, or the columns, of x as rows. Its own inverse."""
        return x if self.axis == "rows" else x.mT

    @lifted
    def exp(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Every row along its great circle, as on the `Sphere`."""
        return self.vectors(great_circle.follow(self.vectors(x), self.vectors(u), self.radius))

    @lifted
    def log(self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Every row along its great circle, as on the `Sphere`.

        Raises:
            ValueError: the rows have one entry, and two of them are opposite: no path joins them.
        """
        return self.vectors(great_circle.departure(self.vectors(x), self.vectors(y), self.radius))

    @lifted
    def distance(self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """Root of the sum of squares of the distances of the rows.

        Raises:
            ValueError: as `log`.
        """
        return self.radius * length(great_circle.angle(self.vectors(x), self.vectors(y)))[..., 0, 0]

    @lifted
    def transport(
        self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        """Every row as on the `Sphere`."""
        x, u, v = self.vectors(x), self.vectors(u), self.vectors(v)
        return self.vectors(great_circle.carry(x, u, v, self.radius))

    def spectral_bound(self, m: int, n: int) -> float:
        return self.radius * sqrt(m if self.axis == "rows" else n)

    def row_bound(self, m: int, n: int) -> float:
        return self.radius if self.axis == "rows" else self.spectral_bound(m, n)

    def matrix_dimension(self, m: int, n: int) -> int:
        return m * max(n - 1, 0) if self.axis == "rows" else n * max(m - 1, 0)

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """Largest | ||x_i|| / radius - 1 | over the rows i."""
        off = (length(x.to(working_dtype(x.dtype)), self.along) / self.radius - 1).abs().flatten(-2)
        return off.amax(-1) if off.shape[-1] else off.sum(-1)

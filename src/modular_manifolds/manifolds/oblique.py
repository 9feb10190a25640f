"""Matrices whose rows, or columns, all have one length."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import length, normalise, working_dtype
from modular_manifolds.manifolds.manifold import Manifold, check_radius


@dataclass(frozen=True)
class Oblique(Manifold):
    """Matrices whose rows (or columns) all have Euclidean length `radius`: a product of spheres."""

    axis: Literal["rows", "columns"] = "rows"
    radius: float = 1.0

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
        return g - x * (x * g).sum(self.along, keepdim=True) / self.radius**2

    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius (x_i + u_i) / ||x_i + u_i|| for every row i."""
        return self.radius * normalise(x + u, self.along)

    def matrix_dimension(self, m: int, n: int) -> int:
        return m * max(n - 1, 0) if self.axis == "rows" else n * max(m - 1, 0)

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """Largest | ||x_i|| / radius - 1 | over the rows i."""
        off = (length(x.to(working_dtype(x.dtype)), self.along) / self.radius - 1).abs().flatten(-2)
        return off.amax(-1) if off.shape[-1] else off.sum(-1)

"""Norms of a matrix as a list of its entries."""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import Precision, length, normalise
from modular_manifolds.norms.norm import Norm, largest


@dataclass(frozen=True)
class Frobenius(Norm):
    """Square root of the sum of squares; its own dual."""

    unitarily_invariant: ClassVar[bool] = True

    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return length(u)[..., 0, 0]

    def spectral_bound(self, m: int, n: int) -> float:
        return 1.0

    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return self.norm(g)

    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        return -normalise(g)

    def to_ball(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return u / length(u).clamp(min=1.0)


@dataclass(frozen=True)
class MaxEntry(Norm):
    """Largest absolute entry; the dual is the sum of absolute entries."""

    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return largest(u.abs().flatten(-2))

    def spectral_bound(self, m: int, n: int) -> float:
        return sqrt(m * n)

    def row_bound(self, m: int, n: int) -> float:
        return sqrt(n)

    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return g.abs().sum((-2, -1))

    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        return torch.where(g.isnan(), g, -g.sign())  # sign alone would hide a NaN as a zero

    def to_ball(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return u.clamp(-1.0, 1.0)

"""Norms that ask for the longest row, or column."""

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import Precision, length, normalise
from modular_manifolds.norms.norm import Norm, largest


@dataclass(frozen=True)
class MaxRow(Norm):
    """Largest root-mean-square of a row, as suits an embedding, whose rows are its outputs."""

    def unit(self, shape: torch.Size) -> float:
        """Euclidean length of a row of root-mean-square 1, sqrt(in)."""
        return sqrt(max(shape[-1], 1))

    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return largest(length(u, -1)[..., 0]) / self.unit(u.shape)

    def spectral_bound(self, m: int, n: int) -> float:
        return self.row_bound(m, n) * sqrt(max(m, 1))

    def row_bound(self, m: int, n: int) -> float:
        return self.unit(torch.Size((m, n)))

    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return length(g, -1)[..., 0].sum(-1) * self.unit(g.shape)

    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        return -self.unit(g.shape) * normalise(g, -1)

    def to_ball(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return u / (length(u, -1) / self.unit(u.shape)).clamp(min=1.0)


@dataclass(frozen=True)
class RowSup(MaxRow):
    """Largest output entry of an (out, in) matrix over inputs of root-mean-square 1: sqrt(in) max_i ||row_i||.

    As suits an unembedding, every row of which makes one logit. The same ball as MaxRow's, of another radius.
    """

    def unit(self, shape: torch.Size) -> float:
        """Length of a row whose output is at most 1, 1 / sqrt(in)."""
        return 1 / sqrt(max(shape[-1], 1))


@dataclass(frozen=True)
class MaxColumn(Norm):
    """Largest root-mean-square of a column."""

    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return MaxRow().norm(u.mT)

    def spectral_bound(self, m: int, n: int) -> float:
        return MaxRow().spectral_bound(n, m)

    def row_bound(self, m: int, n: int) -> float:
        return self.spectral_bound(m, n)

    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return MaxRow().dual(g.mT)

    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        return MaxRow().lmo(g.mT).mT

    def to_ball(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return MaxRow().to_ball(u.mT).mT

"""Norms: length of an update, dual length of a gradient, and the linear minimisation oracle over the unit ball."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import Precision, length, msign, normalise, nuclear_norm, spectral_norm


class Norm(ABC):
    """A norm on m x n matrices (the last two axes; leading axes are a batch). Subclasses are frozen dataclasses."""

    def __call__(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """Length of u, the same as `norm(u)`."""
        return self.norm(u)

    @abstractmethod
    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """Length of u."""

    @abstractmethod
    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """Dual length of g: the maximum of <g, a> over norm(a) <= 1."""

    @abstractmethod
    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        """The a that minimises <g, a> over norm(a) <= 1; zero where g leaves it free.

        Only norms that need a matrix function make use of `precision`; the others are exact either way.
        """


@dataclass(frozen=True)
class Frobenius(Norm):
    """Square root of the sum of squares; its own dual."""

    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return length(u)[..., 0, 0]

    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return self.norm(g)

    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        return -normalise(g)


@dataclass(frozen=True)
class Spectral(Norm):
    """Largest singular value; the dual is the nuclear norm, their sum."""

    def unit(self, shape: torch.Size) -> float:
        """Spectral norm of an update of length 1."""
        return 1.0

    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return spectral_norm(u) / self.unit(u.shape)

    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return nuclear_norm(g) * self.unit(g.shape)

    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        return -self.unit(g.shape) * msign(g, precision)


@dataclass(frozen=True)
class RMSOperator(Spectral):
    """Largest gain in root-mean-square of an (out, in) matrix: sqrt(in / out) times the spectral norm."""

    def unit(self, shape: torch.Size) -> float:
        """sqrt(out / in)."""
        return sqrt(max(shape[-2], 1) / max(shape[-1], 1))


@dataclass(frozen=True)
class MaxRow(Norm):
    """Largest root-mean-square of a row, as suits an embedding, whose rows are its outputs."""

    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return _largest(length(u, -1)[..., 0]) / sqrt(max(u.shape[-1], 1))

    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return length(g, -1)[..., 0].sum(-1) * sqrt(g.shape[-1])

    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        return -sqrt(g.shape[-1]) * normalise(g, -1)


@dataclass(frozen=True)
class MaxColumn(Norm):
    """Largest root-mean-square of a column."""

    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return MaxRow().norm(u.mT)

    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return MaxRow().dual(g.mT)

    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        return MaxRow().lmo(g.mT).mT


@dataclass(frozen=True)
class MaxEntry(Norm):
    """Largest absolute entry; the dual is the sum of absolute entries."""

    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return _largest(u.abs().flatten(-2))

    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return g.abs().sum((-2, -1))

    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        return torch.where(g.isnan(), g, -g.sign())  # sign alone would hide a NaN as a zero


def _largest(lengths: Float[Tensor, "*b k"]) -> Float[Tensor, "*b"]:
    return lengths.amax(-1) if lengths.shape[-1] else lengths.sum(-1)

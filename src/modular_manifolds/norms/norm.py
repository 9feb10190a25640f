"""What every norm offers."""

from abc import ABC, abstractmethod
from math import inf
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import Precision


class Norm(ABC):
    """A norm on m x n matrices (the last two axes; leading axes are a batch). Subclasses are frozen dataclasses."""

    unitarily_invariant: ClassVar[bool] = False
    """Whether norm(P u Q) = norm(u) for all orthogonal P and Q: then it depends on the singular values alone."""

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

    def spectral_bound(self, m: int, n: int) -> float:
        """No m x n matrix of norm at most 1 has a larger singular value; inf where this norm does not say."""
        return inf

    def row_bound(self, m: int, n: int) -> float:
        """No row of an m x n matrix of norm at most 1 is longer, in the Euclidean sense."""
        return self.spectral_bound(m, n)

    def to_ball(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """The matrix of norm at most 1 that is nearest to u in the Frobenius norm, as `Splitting` needs it.

        Raises:
            NotImplementedError: this norm does not say.
        """
        raise NotImplementedError(f"{self} does not say which point of its unit ball is nearest; define to_ball")


def largest(lengths: Float[Tensor, "*b k"]) -> Float[Tensor, "*b"]:
    """The largest of k lengths; 0 where there are none."""
    return lengths.amax(-1) if lengths.shape[-1] else lengths.sum(-1)

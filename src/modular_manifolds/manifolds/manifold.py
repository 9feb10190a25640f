"""What every manifold offers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor


class Manifold(ABC):
    """A set of m x n matrices (the last two axes; leading axes are a batch). Subclasses are frozen dataclasses."""

    @abstractmethod
    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """The point of the manifold nearest to x in the Frobenius norm (one of them, where there are several)."""

    @abstractmethod
    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Orthogonal projection of g onto the tangent space at x."""

    @abstractmethod
    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """The point reached from x along the tangent vector u: x + u up to second order in u, and on the manifold."""

    def random(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b m n"]:
        """A random point of the given shape, uniform where the manifold has a uniform law."""
        normal = torch.randn(tuple(shape), generator=generator, dtype=torch.float64, device=device)
        return self.from_gaussian(normal).to(dtype or torch.get_default_dtype())

    def from_gaussian(self, normal: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """A random point made of standard normal entries: the nearest, unless there is a better way."""
        return self.project(normal)

    @abstractmethod
    def matrix_dimension(self, m: int, n: int) -> int:
        """Degrees of freedom of one m x n matrix."""

    def dimension(self, shape: Sequence[int]) -> int:
        """Degrees of freedom of a tensor of this shape, whose leading axes are a batch."""
        if len(shape) < 2:
            raise ValueError(f"a shape needs at least two axes, got {tuple(shape)}")
        return prod(shape[:-2]) * self.matrix_dimension(shape[-2], shape[-1])

    @abstractmethod
    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """How far x is off the manifold, relative to its radius; 0 on it."""


def check_radius(radius: float) -> None:
    """Raise ValueError unless `radius` is positive and finite."""
    if not 0 < radius < float("inf"):
        raise ValueError(f"a manifold's radius must be positive and finite, got {radius}")

"""What every manifold offers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from math import inf, prod

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import length


class NoClosedFormError(NotImplementedError):
    """This manifold has no closed form for what was asked."""


class Manifold(ABC):
    """A set of m x n matrices (the last two axes; leading axes are a batch). Subclasses are frozen dataclasses.

    The metric is the Frobenius inner product, unless a manifold overrides `whiten` and `unwhiten`.
    """

    @property
    def retraction_order(self) -> int:
        """2 where `retract` follows the geodesic up to third order, 1 where only its direction is right."""
        return 1

    @property
    def conic(self) -> bool:
        """Whether the manifold has a boundary, where vectors that point inwards form a cone instead of a space."""
        return False

    @abstractmethod
    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """The point of the manifold nearest to x in the Frobenius norm (one of them, where there are several)."""

    @abstractmethod
    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Orthogonal projection of g onto the tangent space at x (at a boundary: onto the tangent cone)."""

    def tangent_projection(self, x: Float[Tensor, "*b m n"]) -> Callable[[Tensor], Tensor]:
        """`to_tangent` at x as a function of g alone, for many g: what depends on x is computed once."""
        return partial(self.to_tangent, x)

    @abstractmethod
    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """The point reached from x along the tangent vector u: x + u up to second order in u, and on the manifold."""

    def descend(
        self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], length: float | Tensor
    ) -> Float[Tensor, "*b m n"]:
        """The point reached from x along -length * gradient(x, g), by `retract` or a faster retraction of its order."""
        return self.retract(x, self.gradient(x, g).mul_(-length))

    def whiten(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """u in coordinates in which the metric at x is the Frobenius inner product, and in which norms measure it."""
        return u

    def unwhiten(self, x: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Inverse of `whiten` at x. Both are self-adjoint."""
        return v

    def inner(
        self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b"]:
        """Inner product of the tangent vectors u and v in the metric at x."""
        return (self.whiten(x, u) * self.whiten(x, v)).sum((-2, -1))

    def gradient(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Riemannian gradient: the tangent vector with inner(x, gradient, v) = <g, v> for every tangent v."""
        return self.unwhiten(x, self.unwhiten(x, self.to_tangent(x, g)))

    def exp(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """End of the geodesic that leaves x with velocity u, at time 1.

        Raises:
            NoClosedFormError: there is no formula for it here, or none for this shape.
        """
        raise self._no_closed_form("exponential")

    def log(self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """The shortest tangent vector at x with exp(x, log(x, y)) = y.

        Raises:
            NoClosedFormError: as `exp`.
        """
        raise self._no_closed_form("logarithm")

    def distance(self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """Length of the shortest path from x to y.

        Raises:
            NoClosedFormError: as `exp`.
        """
        return length(self.whiten(x, self.log(x, y)))[..., 0, 0]

    def transport(
        self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        """v, tangent at x, carried in parallel along the geodesic to exp(x, u), where it is tangent and as long.

        Raises:
            NoClosedFormError: as `exp`. `to_tangent(y, v)` is the usual stand-in, which shortens v.
        """
        raise self._no_closed_form("parallel transport")

    def _no_closed_form(self, what: str, where: str = "") -> NoClosedFormError:
        return NoClosedFormError(f"{self} has no closed form for its {what}{where}")

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

    def spectral_bound(self, m: int, n: int) -> float:
        """No m x n point has a larger singular value; inf where there is no bound."""
        return inf

    def row_bound(self, m: int, n: int) -> float:
        """No row of an m x n point is longer, in the Euclidean sense; inf where there is no bound."""
        return self.spectral_bound(m, n)

    @abstractmethod
    def matrix_dimension(self, m: int, n: int) -> int:
        """Degrees of freedom of one m x n matrix."""

    def dimension(self, shape: Sequence[int]) -> int:
        """Degrees of freedom of a tensor of this shape, whose leading axes are a batch.

        Raises:
            ValueError: the manifold has no points of this shape.
        """
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


def check_square(shape: Sequence[int], manifold: Manifold) -> None:
    """Raise ValueError unless the last two axes are equal."""
    if shape[-2] != shape[-1]:
        raise ValueError(f"{manifold} is made of square matrices, got shape {tuple(shape)}")

"""Fused weights, every block of which lives on a manifold of its own."""

from dataclasses import dataclass
from math import hypot

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.blocks import Axis, Blocks
from modular_manifolds.linalg import length
from modular_manifolds.manifolds.manifold import Manifold


@dataclass(frozen=True)
class Product(Manifold):
    """Matrices cut into blocks of rows or of columns, each on its own manifold: the product of these manifolds.

    What a block's manifold has no closed form for, the product has none for either.

    Args:
        manifolds: one for all blocks, or a tuple of one for each.
        split: the number of blocks, which then are equal, or a tuple of their sizes.
        axis: whether a block is made of whole "rows" or of whole "columns".

    Raises:
        ValueError: any of these is out of range, or there are not as many manifolds as blocks; or, in every method,
            the tensor cannot be cut so.
    """

    manifolds: Manifold | tuple[Manifold, ...]
    split: int | tuple[int, ...]
    axis: Axis = "rows"

    def __post_init__(self) -> None:
        self.blocks.one_each(self.manifolds, Manifold, "manifolds")

    @property
    def blocks(self) -> Blocks:
        """Where the matrix is cut."""
        return Blocks(self.split, self.axis)

    @property
    def factors(self) -> tuple[Manifold, ...]:
        """The manifold of every block."""
        return self.blocks.one_each(self.manifolds, Manifold, "manifolds")

    # what a class has of its own elsewhere depends on the instance here
    @property
    def retraction_order(self) -> int:
        """The lowest of the blocks'."""
        return min(factor.retraction_order for factor in self.factors)

    @property
    def conic(self) -> bool:
        """Whether any block's manifold has a boundary."""
        return any(factor.conic for factor in self.factors)

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return self.blocks.matrices(self.factors, lambda factor, x: factor.project(x), x)

    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return self.blocks.matrices(self.factors, lambda factor, x, g: factor.to_tangent(x, g), x, g)

    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return self.blocks.matrices(self.factors, lambda factor, x, u: factor.retract(x, u), x, u)

    def whiten(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return self.blocks.matrices(self.factors, lambda factor, x, u: factor.whiten(x, u), x, u)

    def unwhiten(self, x: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return self.blocks.matrices(self.factors, lambda factor, x, v: factor.unwhiten(x, v), x, v)

    def exp(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return self.blocks.matrices(self.factors, lambda factor, x, u: factor.exp(x, u), x, u)

    def log(self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return self.blocks.matrices(self.factors, lambda factor, x, y: factor.log(x, y), x, y)

    def distance(self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """The root of the sum of the blocks' squared distances."""
        distances = self.blocks.numbers(self.factors, lambda factor, x, y: factor.distance(x, y), x, y)
        return length(distances, -1)[..., 0]

    def transport(
        self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        return self.blocks.matrices(self.factors, lambda factor, x, u, v: factor.transport(x, u, v), x, u, v)

    def from_gaussian(self, normal: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Independent random points."""
        return self.blocks.matrices(self.factors, lambda factor, normal: factor.from_gaussian(normal), normal)

    def spectral_bound(self, m: int, n: int) -> float:
        """Root of the sum of the blocks' squares."""
        return hypot(*self.block_bounds(m, n))

    def row_bound(self, m: int, n: int) -> float:
        rows = [
            factor.row_bound(*shape) for factor, shape in zip(self.factors, self.blocks.shapes((m, n)), strict=True)
        ]
        return max(rows) if self.axis == "rows" else hypot(*rows)

    def block_bounds(self, m: int, n: int) -> list[float]:
        """`spectral_bound` of every block."""
        shapes = self.blocks.shapes((m, n))
        return [factor.spectral_bound(*shape) for factor, shape in zip(self.factors, shapes, strict=True)]

    def matrix_dimension(self, m: int, n: int) -> int:
        shapes = self.blocks.shapes((m, n))
        return sum(factor.matrix_dimension(*shape) for factor, shape in zip(self.factors, shapes, strict=True))

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """The largest of the blocks'."""
        return self.blocks.numbers(self.factors, lambda factor, x: factor.violation(x), x).amax(-1)

"""No constraint at all."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.manifolds.manifold import Manifold


@dataclass(frozen=True)
class Euclidean(Manifold):
    """All matrices, with straight lines as geodesics."""

    retraction_order: ClassVar[int] = 2

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return x.clone()

    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return g.clone()

    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return x + u

    def exp(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return x + u

    def log(self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return y - x

    def transport(
        self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        return v.clone()

    def matrix_dimension(self, m: int, n: int) -> int:
        return m * n

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return x.new_zeros(x.shape[:-2])

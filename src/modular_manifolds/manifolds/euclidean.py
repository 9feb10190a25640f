"""No constraint at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.manifolds.manifold import Manifold, gaussian


@dataclass(frozen=True)
class Euclidean(Manifold):
    """All matrices."""

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return x.clone()

    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return g.clone()

    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return x + u

    def random(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b m n"]:
        """Standard normal entries: there is no uniform law."""
        return gaussian(shape, generator, device).to(dtype or torch.get_default_dtype())

    def matrix_dimension(self, m: int, n: int) -> int:
        return m * n

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return x.new_zeros(x.shape[:-2])

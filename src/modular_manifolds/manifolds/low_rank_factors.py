"""Adapter pairs: two thin factors of a matrix of low rank."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import rounding, thin_svd, working_dtype
from modular_manifolds.manifolds.manifold import Manifold


@dataclass(frozen=True)
class LowRankFactors(Manifold):
    """Pairs of A (m x r) and B (n x r), stacked into one (m + n) x r tensor, that stand for W = A B^T (LoRA).

    Every pair is a point, of any rank. The metric measures what a step does to W: in whitened coordinates the norm of
    dA is twice that of dA B^T, and the norm of dB twice that of A dB^T. So max(||.||, ||.||) <= 1, the ball of
    PerBlock(Spectral(), (m, n)), splits the budget ||dW|| <= 1 evenly (LoRA-Muon, arXiv 2606.12921), and the step
    does not depend on which of the pairs (A C, B C^-T) stands for W. Those are r^2 of the (m + n) r dimensions.

    Where a factor is rank-deficient the metric is degenerate: directions that leave W as it is have no length, and
    `unwhiten`, then a pseudo-inverse, moves along none of them. At LoRA's start, B = 0, it moves B alone.

    Args:
        rows: m, the number of rows of A.

    Raises:
        ValueError: `rows` is not a positive int; or, in every method, the tensor has fewer.
    """

    rows: int

    def __post_init__(self) -> None:
        if not isinstance(self.rows, int) or self.rows < 1:
            raise ValueError(f"rows must be a positive int, got {self.rows!r}")

    def factors(self, x: Float[Tensor, "*b mn r"]) -> tuple[Float[Tensor, "*b m r"], Float[Tensor, "*b n r"]]:
        """A and B, as views."""
        self._check(x.shape)
        return x[..., : self.rows, :], x[..., self.rows :, :]

    def as_matrix(self, x: Float[Tensor, "*b mn r"]) -> Float[Tensor, "*b m n"]:
        """W = A B^T."""
        a, b = self.factors(x)
        return a @ b.mT

    def project(self, x: Float[Tensor, "*b mn r"]) -> Float[Tensor, "*b mn r"]:
        """x, as every pair is a point."""
        self._check(x.shape)
        return x.clone()

    def to_tangent(self, x: Float[Tensor, "*b mn r"], g: Float[Tensor, "*b mn r"]) -> Float[Tensor, "*b mn r"]:
        """g."""
        self._check(x.shape)
        return g.clone()

    def retract(self, x: Float[Tensor, "*b mn r"], u: Float[Tensor, "*b mn r"]) -> Float[Tensor, "*b mn r"]:
        """x + u. Of first order, as the metric changes with x."""
        self._check(x.shape)
        return x + u

    def whiten(self, x: Float[Tensor, "*b mn r"], u: Float[Tensor, "*b mn r"]) -> Float[Tensor, "*b mn r"]:
        """2 dA (B^T B)^1/2 over 2 dB (A^T A)^1/2."""
        return self._scale(x, u, 1)

    def unwhiten(self, x: Float[Tensor, "*b mn r"], v: Float[Tensor, "*b mn r"]) -> Float[Tensor, "*b mn r"]:
        """1/2 dA (B^T B)^-1/2 over 1/2 dB (A^T A)^-1/2, where the root of zero is inverted to zero."""
        return self._scale(x, v, -1)

    def matrix_dimension(self, m: int, n: int) -> int:
        """All entries of both factors."""
        self._check((m, n))
        return m * n

    def violation(self, x: Float[Tensor, "*b mn r"]) -> Float[Tensor, "*b"]:
        """Zero."""
        self._check(x.shape)
        return x.new_zeros(x.shape[:-2], dtype=working_dtype(x.dtype))

    def _scale(self, x: Tensor, u: Tensor, power: int) -> Tensor:
        """Both parts of u, times 2 (S^1/2) to this power, S the Gram matrix of the other factor."""
        a, b = self.factors(x)
        da, db = self.factors(u)
        return torch.cat([da.double() @ _gram_power(b, power), db.double() @ _gram_power(a, power)], -2).to(u.dtype)

    def _check(self, shape: Sequence[int]) -> None:
        if shape[-2] < self.rows:
            raise ValueError(f"a tensor of shape {tuple(shape)} has no {self.rows} rows for the first factor")


def _gram_power(factor: Float[Tensor, "*b n r"], power: int) -> Float[Tensor, "*b r r"]:
    """(4 F^T F)^(power / 2) in float64, zero on the null space, from F's own singular values, not their squares."""
    _, s, v = thin_svd(factor)
    null = s <= rounding(factor.shape, working_dtype(factor.dtype)) * s[..., :1]
    return (v * (2 * s).masked_fill(null, 1.0).pow(power).masked_fill(null, 0.0).unsqueeze(-2)) @ v.mT

"""Symmetric positive definite matrices."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import (
    apply_to_eigenvalues,
    eigenpairs,
    largest_entry,
    length,
    lifted,
    rounding,
    sym,
    working_dtype,
)
from modular_manifolds.manifolds.manifold import Manifold, check_square


@dataclass(frozen=True)
class SymmetricPositiveDefinite(Manifold):
    """Symmetric n x n matrices with positive eigenvalues.

    Args:
        metric: `affine-invariant`, <U, V> = tr(X^-1 U X^-1 V) at X, in which singular matrices are infinitely far away
            and X -> A X A^T changes no distance; or `euclidean`, tr(U V), in which the set is flat and has an edge.
        floor: least eigenvalue of a projection.

    Every method raises ValueError for matrices that are not square.
    """

    metric: Literal["affine-invariant", "euclidean"] = "affine-invariant"
    floor: float = 1e-6

    retraction_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.metric not in ("affine-invariant", "euclidean"):
            raise ValueError(f"metric must be 'affine-invariant' or 'euclidean', got {self.metric!r}")
        if not 0 < self.floor < float("inf"):
            raise ValueError(f"floor must be positive and finite, got {self.floor}")

    @property
    def flat(self) -> bool:
        """Whether geodesics are straight lines."""
        return self.metric == "euclidean"

    def project(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """The nearest symmetric matrix, in the Frobenius norm, of which no eigenvalue is below a least one.

        That is `floor`, or what the rounding of x's dtype can hide: 8 eps (or sqrt(n) eps / 2, if more) times the
        largest eigenvalue. In bfloat16 it is a sixteenth of the largest.
        """
        check_square(x.shape, self)
        resolution = rounding(x.shape, x.dtype)
        return _raise(x.to(working_dtype(x.dtype)), lambda d: (resolution * d[..., -1:]).clamp(min=self.floor)).to(
            x.dtype
        )

    def to_tangent(self, x: Float[Tensor, "*b n n"], g: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """(g + g^T) / 2."""
        check_square(x.shape, self)
        return sym(g)

    @lifted
    def retract(self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """x + u, and what keeps it positive definite.

        Affine-invariant: x + u + u x^-1 u / 2, which is at least x / 2. Euclidean: the nearest matrix to x + u of which
        no eigenvalue is below half the least of x; for a short u it is x + u itself.
        """
        check_square(x.shape, self)
        if self.flat:
            half = _resolved(eigenpairs(x)[0])[..., :1] / 2
            return _raise(x + u, lambda _: half)
        root = _power(x, -0.5) @ u
        return sym(x + u + root.mT @ root / 2)

    @lifted
    def whiten(self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """x^-1/2 u x^-1/2; u itself in the euclidean metric."""
        check_square(x.shape, self)
        return u if self.flat else _between(_power(x, -0.5), u)

    @lifted
    def unwhiten(self, x: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """x^1/2 v x^1/2; v itself in the euclidean metric."""
        check_square(x.shape, self)
        return v if self.flat else _between(_power(x, 0.5), v)

    @lifted
    def exp(self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """x^1/2 exp(x^-1/2 u x^-1/2) x^1/2 (Pennec, Fillard & Ayache 2006).

        Euclidean: x + u, even where the straight line has left the manifold.
        """
        check_square(x.shape, self)
        if self.flat:
            return x + u
        return sym(self.unwhiten(x, apply_to_eigenvalues(self.whiten(x, u), torch.exp)))

    @lifted
    def log(self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """x^1/2 log(x^-1/2 y x^-1/2) x^1/2; euclidean: y - x."""
        check_square(x.shape, self)
        if self.flat:
            return y - x
        return sym(self.unwhiten(x, apply_to_eigenvalues(self.whiten(x, y), lambda d: _resolved(d).log())))

    @lifted
    def distance(self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """Root of the sum of squares of the logarithms of the eigenvalues of x^-1 y; euclidean: ||y - x||."""
        check_square(x.shape, self)
        if self.flat:
            return length(y - x)[..., 0, 0]
        ratios, _ = eigenpairs(self.whiten(x, y))
        return length(_resolved(ratios).log().unsqueeze(-1))[..., 0, 0]

    @lifted
    def transport(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """E v E^T with E = x^1/2 exp(x^-1/2 u x^-1/2 / 2) x^-1/2; euclidean: v."""
        check_square(x.shape, self)
        if self.flat:
            return v.clone()
        half = apply_to_eigenvalues(self.whiten(x, u), lambda d: (d / 2).exp())
        return sym(self.unwhiten(x, _between(half, self.whiten(x, v))))

    def from_gaussian(self, normal: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """(N N^T / n + I) / 2, with eigenvalues from 0.5 to about 2.5. There is no uniform law on this manifold."""
        check_square(normal.shape, self)
        n = normal.shape[-1]
        return sym(normal @ normal.mT / max(n, 1) + torch.eye(n, dtype=normal.dtype, device=normal.device)) / 2

    def matrix_dimension(self, m: int, n: int) -> int:
        check_square((m, n), self)
        return n * (n + 1) // 2

    def violation(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """The larger of two: |x - x^T| over |x|, by their largest entries, and -d over the largest of |d|, d < 0.

        d is an eigenvalue of the symmetric part. A singular matrix, on the edge, has violation 0.
        """
        check_square(x.shape, self)
        x = x.to(working_dtype(x.dtype))
        if x.shape[-1] == 0:
            return x.new_zeros(x.shape[:-2])
        asymmetry = ((x - x.mT).abs() / largest_entry(x)).amax((-2, -1))
        values, _ = eigenpairs(x)
        size = values.abs().amax(-1)
        return torch.maximum(asymmetry, -values[..., 0].clamp(max=0) / size.masked_fill(size == 0, 1.0))


def _resolved(values: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
    """Ascending eigenvalues of a positive definite matrix, those that rounding made too small raised to its level."""
    return torch.maximum(values, torch.finfo(values.dtype).eps * values[..., -1:])


def _raise(
    x: Float[Tensor, "*b n n"], least: Callable[[Float[Tensor, "*b n"]], Float[Tensor, "*b 1"]]
) -> Float[Tensor, "*b n n"]:
    """The symmetric matrix nearest to x whose eigenvalues are at least `least`, a function of those of sym(x)."""
    values, vectors = eigenpairs(x)
    bound = least(values)
    raised = sym((vectors * torch.maximum(values, bound).unsqueeze(-2)) @ vectors.mT)
    return torch.where((values >= bound).all(-1)[..., None, None], sym(x), raised)


def _power(x: Float[Tensor, "*b n n"], exponent: float) -> Float[Tensor, "*b n n"]:
    return apply_to_eigenvalues(x, lambda d: _resolved(d) ** exponent)


def _between(a: Float[Tensor, "*b n n"], b: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """a b a."""
    return a @ b @ a

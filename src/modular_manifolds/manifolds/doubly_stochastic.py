"""Square matrices that average: nonnegative, with unit row and column sums."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import drop_rounding, largest_entry, working_dtype
from modular_manifolds.manifolds.manifold import Manifold, check_square

SMALLEST_SCALE, LARGEST_SCALE = 1e-300, 1e8
"""Projection scales larger centred matrices down to entries of 1e8: the distance is still least up to rounding."""


@dataclass(frozen=True)
class DoublyStochastic(Manifold):
    """The Birkhoff polytope: nonnegative square matrices whose rows and columns all sum to 1. Convex, and flat.

    Tangent vectors are those of its interior, where no entry is zero: rows and columns that sum to 0.
    """

    retraction_order: ClassVar[int] = 2

    def project(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """By a semismooth Newton method on the dual, in float64 (Li, Sun & Toh 2020, section 3)."""
        check_square(x.shape, self)
        working_dtype(x.dtype)
        if x.numel() == 0:
            return x.clone()
        broken = ~torch.isfinite(x).all(-1).all(-1)[..., None, None]
        return _project(x.double().masked_fill(broken, 0.0)).masked_fill(broken, torch.nan).to(x.dtype)

    def to_tangent(self, x: Float[Tensor, "*b n n"], g: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """P g P with P = I - 1 1^T / n."""
        check_square(x.shape, self)
        return _centre(g.to(working_dtype(g.dtype))).to(g.dtype)

    def retract(self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """The nearest point to x + u, which is x + u itself inside."""
        return self.project(x + u)

    def exp(self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """x + u: geodesics are straight, and end where they leave the polytope; what lies beyond is not checked."""
        check_square(x.shape, self)
        return x + u

    def log(self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """y - x, as the polytope is convex."""
        check_square(x.shape, self)
        return y - x

    def transport(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """v."""
        check_square(x.shape, self)
        return v.clone()

    def from_gaussian(self, normal: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """The matrix D exp(G) E with diagonal D and E that has unit sums (Sinkhorn 1964): positive, but not uniform.

        Sinkhorn's sweeps come near; Newton's method on the same convex problem then converges quadratically.
        """
        check_square(normal.shape, self)
        if normal.numel() == 0:
            return normal.clone()
        x = normal.double().exp()
        for _ in range(50):
            x = x / x.sum(-1, keepdim=True)
            x = x / x.sum(-2, keepdim=True)
        for _ in range(5):
            a, b = _newton_step(x, *_missing(x))
            x = x * (a + b).exp()
        return x.to(normal.dtype)

    def spectral_bound(self, m: int, n: int) -> float:
        return 1.0

    def matrix_dimension(self, m: int, n: int) -> int:
        check_square((m, n), self)
        return max(n - 1, 0) ** 2

    def violation(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """The largest of |row sum - 1|, |column sum - 1| and the entries of -x."""
        check_square(x.shape, self)
        x = x.to(working_dtype(x.dtype))
        if x.shape[-1] == 0:
            return x.sum((-2, -1))
        return torch.maximum(_largest(*_missing(x)), -x.amin((-2, -1), keepdim=True)).clamp(min=0)[..., 0, 0]


def _centre(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """P x P with P = I - 1 1^T / n."""
    x = x - x.mean(-1, keepdim=True)
    return x - x.mean(-2, keepdim=True)


def _missing(x: Float[Tensor, "*b n n"]) -> tuple[Float[Tensor, "*b n 1"], Float[Tensor, "*b 1 n"]]:
    """What the sums of rows, and of columns, lack to be 1."""
    return 1 - x.sum(-1, keepdim=True), 1 - x.sum(-2, keepdim=True)


def _largest(rows: Float[Tensor, "*b n 1"], columns: Float[Tensor, "*b 1 n"]) -> Float[Tensor, "*b 1 1"]:
    return torch.maximum(rows.abs().amax(-2, keepdim=True), columns.abs().amax(-1, keepdim=True))


def _project(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """X = max(Y + a 1^T + 1 b^T, 0) with the a and b that give it unit sums: those that minimise a convex function.

    Y is centred first, which does not change the projection. Where its entries are of order 1, Newton's method takes a
    few steps; far larger ones, of which X is nearly a permutation, are approached tenfold at a time. Y + a 1^T + 1 b^T
    is carried as one matrix z, so that its small entries are never differences of huge numbers.
    """
    top = largest_entry(x)
    z = drop_rounding(_centre(x / top), x / top)
    goal = (top * z.abs().amax((-2, -1), keepdim=True)).clamp(SMALLEST_SCALE, LARGEST_SCALE)
    scale = goal.clamp(max=10.0)
    z = z / largest_entry(z) * scale + 1 / x.shape[-1]
    for _ in range(300):
        error = _largest(*_missing(z.clamp(min=0)))
        done = (scale == goal) & (error < 8e-15)
        if bool(done.all()):
            break
        larger = torch.minimum(10 * scale, goal).where(error < 0.1, scale)
        z, scale = z * (larger / scale), larger
        rows, columns = _missing(z.clamp(min=0))
        # the derivative of max(z, 0) is a step, softened as far as the error: entries at zero may go either way
        soft = (0.1 * _largest(rows, columns)).clamp(max=1.0)
        step = _newton_step((1 + z / torch.hypot(z, soft)) / 2, rows, columns)
        a, b = (part.masked_fill(done, 0.0) for part in step)
        z = z + (a + b) * _line_search(z, a, b)
    return z.clamp(min=0)


def _newton_step(
    weights: Float[Tensor, "*b n n"], rows: Float[Tensor, "*b n 1"], columns: Float[Tensor, "*b 1 n"]
) -> tuple[Float[Tensor, "*b n 1"], Float[Tensor, "*b 1 n"]]:
    """a and b for which weights * (a 1^T + 1 b^T) has the given row and column sums, by elimination of a.

    The matrix of these equations is singular, at least along (1, -1); a ridge makes it definite.
    """
    ridge = 1e-3 * _largest(rows, columns).clamp(1e-7, 1.0)
    row_weight = weights.sum(-1, keepdim=True) + ridge
    column_weight = weights.sum(-2) + ridge[..., 0]
    scaled = (weights / row_weight).mT
    factor, _ = torch.linalg.cholesky_ex(torch.diag_embed(column_weight) - scaled @ weights)
    b = torch.cholesky_solve(columns.mT - scaled @ rows, factor)
    return (rows - weights @ b) / row_weight, b.mT


def _line_search(
    z: Float[Tensor, "*b n n"], a: Float[Tensor, "*b n 1"], b: Float[Tensor, "*b 1 n"]
) -> Float[Tensor, "*b 1 1"]:
    """The first of 1, 1/2, 1/4, ... at which the convex dual function does not rise as steeply as it falls at 0.

    Told from slopes alone: at large scales its values differ by less than they are rounded.
    """

    def slope(t: Float[Tensor, "*b 1 1"]) -> Float[Tensor, "*b 1 1"]:
        rows, columns = _missing((z + t * (a + b)).clamp(min=0))
        return -(rows * a).sum((-2, -1), keepdim=True) - (columns * b).sum((-2, -1), keepdim=True)

    t = torch.ones_like(z[..., :1, :1])
    limit = 0.9 * slope(torch.zeros_like(t)).abs()
    for _ in range(30):
        too_far = slope(t) > limit
        if not bool(too_far.any()):
            break
        t = torch.where(too_far, t / 2, t)
    return t

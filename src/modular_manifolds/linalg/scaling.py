"""Lengths that neither under- nor overflow: every square is taken after division by the largest entry."""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg.host import readable
from modular_manifolds.linalg.precision import working_dtype

Axes = int | tuple[int, ...]

MATRIX = (-2, -1)

SAFE = 1e-15
"""Lengths above this and below its inverse come from squares that neither under- nor overflow."""


def largest_entry(x: Float[Tensor, "*b m n"], axes: Axes = MATRIX) -> Float[Tensor, "*b 1 1"]:
    """max |x_ij| over `axes`, which are kept; 1 where all entries are zero or there are none."""
    if x.numel() == 0:
        return torch.ones_like(x.sum(axes, keepdim=True))
    top = x.abs().amax(axes, keepdim=True)
    return top.masked_fill(top == 0, 1.0)


def length(x: Float[Tensor, "*b m n"], axes: Axes = MATRIX) -> Float[Tensor, "*b 1 1"]:
    """Euclidean length over `axes`, which are kept."""
    if readable(x) and x.numel():
        plain = torch.linalg.vector_norm(x, dim=axes, keepdim=True)
        low, high = (float(end) for end in plain.detach().aminmax())
        if low > SAFE and high < 1 / SAFE:
            return plain
    top = largest_entry(x, axes)
    return top * torch.linalg.vector_norm(x / top, dim=axes, keepdim=True)


def normalise(x: Float[Tensor, "*b m n"], axes: Axes = MATRIX) -> Float[Tensor, "*b m n"]:
    """x divided by its Euclidean length over `axes`; zero stays zero."""
    wide = x.to(working_dtype(x.dtype))
    unit = wide / largest_entry(wide, axes)  # its length is at least 1 unless x is zero
    return (unit / torch.linalg.vector_norm(unit, dim=axes, keepdim=True).clamp(min=1.0)).to(x.dtype)


def drop_rounding(t: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], axes: Axes = MATRIX) -> Tensor:
    """t, a projection of g, or zero where t is no longer than the rounding error of projecting g.

    A direction is t divided by its length: without this, a gradient that is normal to the manifold would send the
    weights off, at full speed, in the direction of its own rounding.
    """
    small = length(t, axes) <= rounding(g.shape, g.dtype) * length(g, axes)
    return t if readable(t) and not bool(small.any()) else t.masked_fill(small, 0.0)


def rounding(shape: torch.Size, dtype: torch.dtype) -> float:
    """How long, relative to an m x n gradient, the rounding error of projecting it may be.

    Measured on gradients normal to the Stiefel manifold: 0.2 sqrt(max(m, n)) eps, for sums of that many products.
    """
    return torch.finfo(dtype).eps * max(8.0, 0.5 * max(shape[-2:]) ** 0.5)

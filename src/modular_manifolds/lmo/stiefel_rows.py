"""Stiefel x spectral for a weight of which only some rows are at hand: the landing of `stiefel_spectral`, from sums.

A tall w and g are needed in three n x n sums over their rows, w^T g, g^T g and w^T w. Whoever has added those up over
all holders of rows can move his own: with `Grams`, the step multiplies w and g with n x n matrices from the right.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import GAP, Precision, length, product, readable, rounding, symmetric_product
from modular_manifolds.lmo.span import Grams, Products
from modular_manifolds.lmo.stiefel_spectral import angle, omega_of, rotation, stiefel_spectral_landing
from modular_manifolds.lmo.table import landings
from modular_manifolds.manifolds import Manifold, Stiefel
from modular_manifolds.norms import Norm, Spectral

SETTLED = 4.0
"""Times the resolution of w, below which columns need not be looked at."""


def steps_by_rows(manifold: Manifold, norm: Norm, m: int, n: int) -> bool:
    """Whether steps of m x n float32 weights can be taken from sums over the longer axis, if they are not too long."""
    return landings.find(manifold, norm) is stiefel_spectral_landing and max(m, n) > 2 * min(m, n)


def turns_at_once(manifold: Manifold, norm: Norm, m: int, n: int, lr: float | Tensor, precision: Precision) -> bool:
    """Whether a step of this length is not too long."""
    if isinstance(lr, Tensor) and lr.device.type != "cpu":
        return precision != "exact"  # whether Grams are exact is not read on accelerators
    assert isinstance(manifold, Stiefel)
    assert isinstance(norm, Spectral)
    return angle(lr, norm.unit(torch.Size((m, n))) / manifold.radius)[2] == 1


class Sums(NamedTuple):
    """w^T g, g^T g and w^T w over some rows of unit w."""

    wg: Float[Tensor, "*b n n"]
    gg: Float[Tensor, "*b n n"]
    ww: Float[Tensor, "*b n n"]

    @classmethod
    def of(
        cls, manifold: Stiefel, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], dtype: torch.dtype
    ) -> "Sums":
        """Over the rows of w and g, computed in `dtype`."""
        w, g = w.to(dtype) / manifold.radius, g.to(dtype)
        return cls(product(w.mT, g), symmetric_product(g, g), symmetric_product(w, w))

    def packed(self) -> Float[Tensor, "*b n k"]:
        """2 n^2 numbers: the diagonal of w^T w is left out, and symmetric matrices are halved."""
        return torch.cat([self.wg, self.gg.triu() + self.ww.tril(-1)], -1)

    @classmethod
    def unpacked(cls, packed: Float[Tensor, "*b n k"], diagonal: Float[Tensor, "*b n"]) -> "Sums":
        """From what `packed` made, and the diagonal of w^T w."""
        wg, both = packed.chunk(2, -1)
        upper, lower = both.triu(), both.tril(-1)
        return cls(wg, upper + upper.triu(1).mT, lower + lower.mT + torch.diag_embed(diagonal.to(both.dtype)))


def moved_rows(
    manifold: Stiefel,
    norm: Spectral,
    shape: torch.Size,
    w: Float[Tensor, "*b m n"],
    g: Float[Tensor, "*b m n"],
    sums: Sums,
    lr: float | Tensor,
    precision: Precision,
) -> tuple[Float[Tensor, "*b m n"], bool] | None:
    """Some rows of the next weight, tall, and whether its columns are surely orthonormal to rounding.

    What w^T w is off by is taken out in the same products. None where Grams cannot keep what is promised: the same on
    all holders of rows, as it depends on the sums alone.

    Args:
        shape: of the whole tall matrix.
        w, g: the rows at hand, with g scaled so that no entry of the whole is far above 1.
        sums: over all rows; used up.
    """
    dtype, unit = sums.wg.dtype, w / manifold.radius
    size, off = sums.gg.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt(), sums.ww.clone()
    off.diagonal(dim1=-2, dim2=-1).sub_(1)
    across = sums.ww if dtype != w.dtype else None
    grams = Grams.with_products(unit, g, Products(sums.wg, sums.gg, across), precision)
    if grams is None:
        return None
    small = length(grams.generator)[..., 0, 0] <= rounding(shape, w.dtype) * size

    def generator() -> Float[Tensor, "*b k k"]:
        return grams.generator.masked_fill(small[..., None, None], 0.0)

    omega = omega_of(grams, generator, precision, GAP[precision])
    sine, versine, _ = angle(lr, norm.unit(shape) / manifold.radius)
    change = rotation(grams, omega, sine, versine, 1).to(w.dtype)
    polish = 0.375 * (off @ off) - 0.5 * off
    new = grams.act(change, onto=w, scale=manifold.radius, also=polish)
    if not readable(new):
        return new, True  # the next step will take out what this one leaves
    # the columns of b L^-T are orthonormal up to the rounding of g^T g, as L^-1 amplifies it
    noise = torch.finfo(dtype).eps * size**2 * grams.inverse_size**2 * sine**2
    return new, bool((noise <= SETTLED * torch.finfo(w.dtype).eps).all())

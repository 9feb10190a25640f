"""The polar factor of matrices that are nearly orthonormal, from fewer products than msign takes."""

from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg.host import readable, recorded
from modular_manifolds.linalg.msign import msign
from modular_manifolds.linalg.products import (
    add_product,
    add_rough_products,
    gram_error,
    symmetric_product,
    symmetric_square,
)

SERIES = (1, -1 / 2, 3 / 8, -5 / 16, 35 / 128, -63 / 256, 231 / 1024, -429 / 2048, 6435 / 32768, -12155 / 65536)
"""Taylor coefficients of (1 + e)^(-1/2)."""

DEGREES = (2, 4, 6, 8)
"""A product of small matrices each, over the last. The next one's coefficient says what a series of them leaves."""

ROUGH = 1e-4
"""Longest row of E for which bfloat16 resolves the correction to the rounding of x in float32."""

ROUNDS = 4
"""Of the series, before msign is the cheaper way. From the largest E let in, three are enough."""


def near_polar(x: Float[Tensor, "*b m n"], scratch: bool = False) -> Float[Tensor, "*b m n"]:
    """Polar factor x (x^T x)^(-1/2) of a tall x, by the series (I + E)^(-1/2) = I - E/2 + 3 E^2/8 - 5 E^3/16 + ...

    E = x^T x - I. As many terms are taken as are needed for x^T x = I to rounding, and where E is not small, msign. To
    choose, the norms of E and of E^2 are read on the host: for an x on an accelerator that would make every step wait,
    so it is msign there. Corrections are added to x, so that an x already orthonormal is not rounded again.

    Args:
        x: float32 or float64 matrices in the last two axes, with at least as many rows as columns.
        scratch: x may be overwritten, and a correction that is small enough computed in bfloat16.
    """
    if not readable(x):
        return msign(x)
    if x.numel() == 0:
        return x.clone()
    eps = torch.finfo(x.dtype).eps
    for _ in range(ROUNDS):
        e = gram_error(x)
        rows = torch.linalg.vector_norm(e, dim=-1)
        if 3 / 4 * _size(rows, torch.linalg.vector_norm(rows, dim=-1)) <= eps:
            if scratch and x.dtype == torch.float32 and not recorded(x) and float(rows.amax()) <= ROUGH:
                return add_rough_products(x, [x], [e], SERIES[1], x)
            return add_product(x, x, e, SERIES[1])
        # E^2 bounds the largest eigenvalue of E better than E does
        square = symmetric_square(e)
        norm = torch.linalg.matrix_norm(square).sqrt()
        largest = float(norm.amax().detach())
        if not largest**2 < 1 / 2:
            break
        size = _size(rows, norm)
        enough = [d for d in DEGREES if 2 * abs(SERIES[d + 1]) * largest ** (d - 1) * size <= eps]
        x = _add_series(x, e, square, min(enough, default=4))
        if enough:
            return x
    return msign(x)


def _add_series(
    x: Float[Tensor, "*b m n"], e: Float[Tensor, "*b n n"], square: Float[Tensor, "*b n n"], degree: int
) -> Float[Tensor, "*b m n"]:
    """x (I + E)^(-1/2) up to an even power of E, by Horner's rule in E^2; each pair of terms is kept as E^2 + a E."""
    pair = square.add(e, alpha=SERIES[degree - 1] / SERIES[degree])
    for k in range(degree, 2, -2):
        inner = symmetric_product(square, pair).mul_(SERIES[k] / SERIES[k - 2])
        pair = inner.add_(square).add_(e, alpha=SERIES[k - 3] / SERIES[k - 2])
    return add_product(x, x, pair, SERIES[2])


def _size(rows: Float[Tensor, "*b n"], norm: Float[Tensor, "*b"]) -> float:
    """How large E^2 is beside what rounding leaves of x^T x - I: 4 eps in an entry, 3 eps sqrt(n) in Frobenius norm.

    A series up to the power k - 1 leaves a known multiple of E^k. Its entries are at most ||E||^(k-2) times the square
    of the longest of E's `rows`, and its Frobenius norm at most the k-th power of any Schatten `norm` of E.
    """
    return float(torch.maximum(norm**2 / (3 * sqrt(rows.shape[-1])), rows.amax(-1) ** 2 / 4).amax().detach())

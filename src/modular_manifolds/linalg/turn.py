"""Rotations close to the exponential of a skew-symmetric matrix, from matrix products alone."""

from math import ceil, log2, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg.near_polar import near_polar
from modular_manifolds.linalg.orthonormality import looks_orthonormal
from modular_manifolds.linalg.products import add_product

QUARTIC = 3 / 8 - sqrt(1 / 8)
CUBIC = QUARTIC + 1 / 8
"""p(k) = 1 + k + k^2/2 + CUBIC k^3 + QUARTIC k^4 takes two products, and these coefficients leave |p(i t)|^2 as close
to 1 as such a polynomial can: 1 + QUARTIC^2 t^8. Its angle is t + 0.02 t^3."""


def turn(x: Float[Tensor, "*b n n"], k: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """x R for an orthogonal x, with a rotation R that agrees with exp(k) up to k^3 / 50; k is skew-symmetric.

    R is p(k / 2^j) squared j times, with j the smallest for which R is orthogonal to rounding. The result is a
    correction to x, which rounding carries off being orthogonal much less than computing it anew would: the polar
    factor is taken only where a look at x^T x finds it necessary, once in some forty steps.

    Args:
        x: float32 or float64 matrices. Reads the host twice.
        k: as long as you like.
    """
    if x.numel() == 0:
        return x.clone()
    eps = torch.finfo(x.dtype).eps
    square = k @ k
    bound = float(torch.linalg.matrix_norm(square).amax().detach()) ** 0.5  # on the largest angle
    longest = (eps / QUARTIC**2) ** (1 / 8)
    halvings = max(0, ceil(log2(bound / longest))) if longest < bound < float("inf") else 0
    k, square = k / 2**halvings, square / 4**halvings
    change = add_product(square / 2, square, QUARTIC * square + CUBIC * k).add_(k)
    for _ in range(halvings):
        change = add_product(2 * change, change, change)
    y = add_product(x, x, change)
    return y if looks_orthonormal(y, 4 * eps) else near_polar(y)

"""Norms that are proved, not estimated: no true value lies above them, rounding errors included.

Notation: u = 2^-53, and gamma(k) = k u / (1 - k u). A sum of k products in float64 is wrong by at most gamma(k) times
the sum of their sizes, in whatever order it is formed (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd
ed., section 3.1). What the eigensolver returns is checked and need not be right, as in Rump (BIT 46, 2006; Acta
Numerica 19, 2010).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from modular_manifolds.linalg.checks import check_matrix

_UNIT = 2.0**-53
# The few scalar operations after the sums, all between non-negative numbers, lose at most u each; and products that
# underflow lose less than 1e-290 each, beside sums of 1/4 and more.
_SLACK = 1 + 64 * _UNIT


@torch.no_grad()
def spectral_norm_bound(x: Float[Tensor, "*b m n"], *, name: str = "x") -> Float[Tensor, "*b"]:
    """An upper bound on the largest singular value of every matrix, exactly as it is stored.

    With G = x^T x as computed (of the smaller side) and V diag(v) V^T its computed eigendecomposition,

        sigma^2 <= max |v| (1 + ||V^T V - I||) + ||G - V diag(v) V^T|| + ||x^T x - G||,

    Frobenius norms with a bound of their own rounding. It exceeds sigma by about k^2 u in relative terms, k the smaller
    side: 1e-10 at 1000, 2e-9 at 4000; and it is never above the Frobenius norm.

    Args:
        x: matrices in the last two axes, of any scale and any real floating-point dtype.
        name: what to call x in an error.

    Returns:
        float64, on the CPU, where the arithmetic is known. Zero for zero and for empty matrices; inf where the bound
        exceeds float64. Subnormal numbers count only while `torch.set_flush_denormal` is off.

    Raises:
        TypeError: x is not a real floating-point tensor.
        ValueError: x is no matrix, or has a NaN or an Inf.
    """
    check_matrix(x, "exact", True, name)
    if x.numel() == 0:
        return torch.zeros(x.shape[:-2], dtype=torch.float64)
    unit, exponent = _unit_scale(x)
    if x.shape[-2] < x.shape[-1]:
        unit = unit.mT
    m, n = unit.shape[-2:]
    frobenius_squared = _squared_length(unit, (-2, -1))
    gram = unit.mT @ unit
    try:
        values, vectors = torch.linalg.eigh(gram)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return _rounded_up(frobenius_squared, exponent)
    top = values.abs().amax(-1)
    products = _squared_length(vectors, (-2, -1))  # bounds ||  |V| |V|^T  ||, by which rounding in products of V goes
    identity = torch.eye(n, dtype=torch.float64)
    skewness = _length(vectors.mT @ vectors - identity) + _gamma(n) * products
    residual = _length(gram - (vectors * values[..., None, :]) @ vectors.mT) + _gamma(n + 1) * top * products
    squared = top * (1 + skewness) + residual + _gamma(m) * frobenius_squared
    return _rounded_up(torch.fmin(squared, frobenius_squared), exponent)


@torch.no_grad()
def row_norm_bound(x: Float[Tensor, "*b m n"], *, name: str = "x") -> Float[Tensor, "*b"]:
    """An upper bound on the Euclidean length of the longest row of every matrix, exactly as it is stored.

    It exceeds that length by at most about n u in relative terms. Arguments, result and errors are those of
    `spectral_norm_bound`.
    """
    check_matrix(x, "exact", True, name)
    if x.numel() == 0:
        return torch.zeros(x.shape[:-2], dtype=torch.float64)
    unit, exponent = _unit_scale(x)
    return _rounded_up(_squared_length(unit, -1).amax(-1), exponent)


def _unit_scale(x: Tensor) -> tuple[Float[Tensor, "*b m n"], Int[Tensor, "*b"]]:
    """x / 2^e in float64, largest entry from 1/2 to 1, and e; without rounding but below 2^-1022."""
    wide = x.detach().to("cpu", torch.float64)
    exponent = torch.frexp(wide.abs().amax((-2, -1))).exponent.long()
    return _times_power_of_two(wide, -exponent[..., None, None]), exponent


def _times_power_of_two(x: Tensor, exponent: Tensor) -> Tensor:
    # in two halves, as 2^1074 itself is no float64; from the bits, as `pow` need not be exact
    half = exponent // 2
    for part in (half, exponent - half):
        x = x * ((part + 1023) << 52).view(torch.float64)
    return x


def _rounded_up(squared: Float[Tensor, "*b"], exponent: Int[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """At least sqrt(squared) 2^exponent, also where that is subnormal; zero for zero."""
    root = _times_power_of_two(squared.sqrt() * _SLACK, exponent)
    above = torch.nextafter(root, torch.full_like(root, torch.inf))
    return above.masked_fill(squared == 0, 0.0)


def _squared_length(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """A bound on the sum of squares over `axes`."""
    squares = x.square().sum(axes)
    count = x.numel() // max(squares.numel(), 1)
    return squares / (1 - _gamma(count))


def _length(difference: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
    """A bound on the Frobenius norm of an exact difference that was rounded to `difference`."""
    return _squared_length(difference, (-2, -1)).sqrt() * _SLACK


def _gamma(count: int) -> float:
    return count * _UNIT / (1 - count * _UNIT)

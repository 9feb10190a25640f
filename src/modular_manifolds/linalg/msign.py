"""The matrix sign in the sense of the polar factor: msign(U S V^T) = U V^T, zero on the null space."""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg.checks import check_matrix
from modular_manifolds.linalg.polar_express import Quintic, schedule
from modular_manifolds.linalg.precision import Precision
from modular_manifolds.linalg.scaling import largest_entry
from modular_manifolds.linalg.symmetry import skew

REJECT: Quintic = (0.0, 5 / 2, -3 / 2)
"""p(x) = (5 x^3 - 3 x^5) / 2: keeps 1, with p(1 - d) = 1 - 7.5 d^2, and takes rounding noise on the null space to its
cube. The iterations before amplify that noise as they amplify the small singular values."""


def msign(
    x: Float[Tensor, "*b m n"],
    precision: Precision = "exact",
    *,
    check: bool = False,
    name: str = "x",
) -> Float[Tensor, "*b m n"]:
    """Polar factor U V^T of x = U S V^T, from matrix products alone (Polar Express, arXiv 2505.16932).

    Args:
        x: matrices in the last two axes, of any scale; tall, square or wide.
        precision: `exact` is accurate to about 1e-6 in float32 and 1e-14 in float64; singular values below 1e-5
            (float32) or 1e-12 (float64) times the Schatten-4 norm of x count as zero, with a soft edge. `fast`
            multiplies in bfloat16, accurate to about 1e-2; singular values below 1e-3 of the norm are at the mercy
            of its rounding, and may end anywhere in [0, 1].
        check: raise if x has a NaN or an Inf (reads one flag on the host).
        name: what to call x in that error.

    Returns:
        A tensor of x's shape and dtype. No singular value exceeds 1 by more than rounding.

    Raises:
        TypeError: x is not a real floating-point tensor.
        ValueError: x is no matrix, the precision is unknown, or x is not finite and `check` is on.
    """
    dtype = check_matrix(x, precision, check, name)
    if x.shape[-2] < x.shape[-1]:
        return msign(x.mT, precision).mT
    unit = x.to(dtype) / largest_entry(x.to(dtype))
    if precision == "fast":
        return _compose(unit.bfloat16(), schedule(1e-3, 1e-2, margin=0.02)).to(x.dtype)
    floor, tolerance = (1e-12, 1e-14) if dtype == torch.float64 else (1e-5, 1e-6)
    return _compose(unit, (*schedule(floor, (tolerance / 7.5) ** 0.5), REJECT)).to(x.dtype)


def msign_skew(
    x: Float[Tensor, "*b n n"],
    precision: Precision = "exact",
    *,
    check: bool = False,
    name: str = "x",
) -> Float[Tensor, "*b n n"]:
    """msign of a skew-symmetric x, itself skew-symmetric to the last bit. Arguments and errors as for `msign`.

    msign maps skew matrices to skew ones; only rounding leaves that space, and it is taken out at the end.
    """
    return skew(msign(x, precision, check=check, name=name))


def newton_schulz_polish(x: Float[Tensor, "*b m n"], gram_error: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b m n"]:
    """One quintic Newton-Schulz step for a tall x with x^T x = I + gram_error: x (I - E/2 + 3 E^2/8).

    Written as a correction to x, so that an x already orthonormal is not rounded again. Leaves 5/16 |E|^3.
    """
    return x + x @ (0.375 * (gram_error @ gram_error) - 0.5 * gram_error)


def _compose(x: Float[Tensor, "*b m n"], steps: tuple[Quintic, ...]) -> Float[Tensor, "*b m n"]:
    """Apply odd quintics in turn to the singular values of a tall x with entries of at most 1."""
    if x.numel() == 0:
        return x
    batch, (m, n) = x.shape[:-2], x.shape[-2:]
    x = x.reshape(-1, m, n)
    gram = x.mT @ x
    # ||x^T x||_F^(1/2), the Schatten-4 norm, is at most n^(1/4) times the spectral norm, and the Gram is needed anyway
    bound = torch.linalg.matrix_norm(gram.float() if gram.dtype == torch.bfloat16 else gram, keepdim=True).sqrt()
    bound = bound.masked_fill(bound == 0, 1.0)
    x, gram = (x / bound).to(x.dtype), (gram / bound**2).to(x.dtype)
    for i, (a, b, c) in enumerate(steps):
        if i > 0:
            gram = x.mT @ x
        x = torch.baddbmm(x, x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), beta=a)
    return x.reshape(*batch, m, n)

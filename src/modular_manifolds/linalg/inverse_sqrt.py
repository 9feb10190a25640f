"""The inverse square root of a symmetric positive semidefinite matrix."""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg.checks import check_matrix
from modular_manifolds.linalg.precision import Precision
from modular_manifolds.linalg.symmetric_function import eigenpairs
from modular_manifolds.linalg.symmetry import sym


def inverse_sqrt(
    x: Float[Tensor, "*b n n"],
    precision: Precision = "exact",
    *,
    check: bool = False,
    name: str = "x",
) -> Float[Tensor, "*b n n"]:
    """Pseudo-inverse square root of a symmetric positive semidefinite x: V D^(-1/2) V^T, zero on the null space.

    Args:
        x: symmetric positive semidefinite matrices of any scale in the last two axes.
        precision: both diagonalise x in its own dtype and count eigenvalues below n eps times the largest as zero, so
            that a rank-deficient x is handled alike; `fast` multiplies the factors in bfloat16, to about 1e-2.
        check: raise if x has a NaN or an Inf (reads one flag on the host).
        name: what to call x in that error.

    Raises:
        TypeError: x is not a real floating-point tensor.
        ValueError: x is not square, the precision is unknown, or x is not finite and `check` is on.
    """
    dtype = check_matrix(x, precision, check, name)
    if x.shape[-1] != x.shape[-2]:
        raise ValueError(f"{name} must be square, got shape {tuple(x.shape)}")
    values, vectors = eigenpairs(x.to(dtype))
    null = values <= x.shape[-1] * torch.finfo(dtype).eps * values[..., -1:]
    scaled = vectors * torch.where(null, 0.0, values.masked_fill(null, 1.0).rsqrt()).unsqueeze(-2)
    if precision == "fast":
        scaled, vectors = scaled.bfloat16(), vectors.bfloat16()
    return sym((scaled @ vectors.mT).to(dtype)).to(x.dtype)

"""Functions of a symmetric matrix, by way of its eigenvalues."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from modular_manifolds.linalg.scaling import largest_entry
from modular_manifolds.linalg.symmetry import sym


def eigenpairs(x: Float[Tensor, "*b n n"]) -> tuple[Float[Tensor, "*b n"], Float[Tensor, "*b n n"]]:
    """Ascending eigenvalues and orthonormal eigenvectors of the symmetric part of x, in its own dtype.

    The eigenvalues are NaN where x is not finite, which LAPACK raises on.
    """
    scale = largest_entry(x)
    unit = sym(x / scale)
    broken = ~torch.isfinite(unit).all(-1).all(-1)[..., None, None]
    values, vectors = _eigh(unit.masked_fill(broken, 0.0))
    return (values * scale[..., 0]).masked_fill(broken[..., 0], torch.nan), vectors


def eigenvalues(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n"]:
    """Of a symmetric x, ascending; NaN where x is not finite."""
    broken = ~torch.isfinite(x).all(-1).all(-1)[..., None, None]
    finite = x.masked_fill(broken, 0.0)
    try:
        values = torch.linalg.eigvalsh(finite)
    except LinAlgError:
        values = torch.linalg.eigvalsh(finite.double()).to(x.dtype)
    return values.masked_fill(broken[..., 0], torch.nan)


def _eigh(x: Float[Tensor, "*b n n"]) -> tuple[Float[Tensor, "*b n"], Float[Tensor, "*b n n"]]:
    """torch.linalg.eigh, in float64 where LAPACK's divide and conquer fails in float32: on some ordinary matrices."""
    try:
        values, vectors = torch.linalg.eigh(x)
    except LinAlgError:
        values, vectors = (y.to(x.dtype) for y in torch.linalg.eigh(x.double()))
    return values, vectors


def apply_to_eigenvalues(
    x: Float[Tensor, "*b n n"], f: Callable[[Float[Tensor, "*b n"]], Float[Tensor, "*b n"]]
) -> Float[Tensor, "*b n n"]:
    """V diag(f(d)) V^T of a symmetric x = V diag(d) V^T, symmetric to the last bit; NaN where x is not finite."""
    values, vectors = eigenpairs(x)
    return sym((vectors * f(values).unsqueeze(-2)) @ vectors.mT)

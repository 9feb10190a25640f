"""The nearest matrix of bounded spectral norm."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from modular_manifolds.linalg.host import readable
from modular_manifolds.linalg.precision import working_dtype

ROUNDING = 1e-2
"""Of two products in float32, over the norm of the result: far more than it is."""


def clip_singular_values(x: Float[Tensor, "*b m n"], bound: float = 1.0) -> Float[Tensor, "*b m n"]:
    """U min(S, bound) V^T of x = U S V^T; NaN where x is not finite.

    x V h(S^2) V^T with h(t) = min(1, bound t^-1/2), from the eigenvectors of the smaller Gram matrix: as h is bounded,
    small singular values, which a Gram matrix does not resolve, do no harm. In float64, as the error is that of the
    largest. On a CPU, only those matrices are taken apart that may have something to clip.
    """
    if x.shape[-2] < x.shape[-1]:
        return clip_singular_values(x.mT, bound).mT
    if not readable(x) or x.numel() == 0:
        return _clipped(x, bound)
    above = ~_surely_below(x.detach().to(working_dtype(x.dtype)) / bound)
    if not bool(above.any()):
        return x.clone()
    if bool(above.all()):
        return _clipped(x, bound)
    return x.masked_scatter(above[..., None, None], _clipped(x[above], bound))


def _surely_below(x: Float[Tensor, "*b m n"]) -> Bool[Tensor, "*b"]:
    """Whether no singular value of a tall x is above 1, by two products: all are at most the Schatten-8 norm.

    That is ||(x^T x)^2||_F^(1/4); an x so small that it underflows is below, one that overflows or is NaN, not surely.
    """
    gram = x.mT @ x
    return torch.linalg.matrix_norm(gram @ gram) < 1 - ROUNDING


def _clipped(x: Float[Tensor, "*b m n"], bound: float) -> Float[Tensor, "*b m n"]:
    """The same of a tall x, whatever its singular values."""
    x_ = x.double()
    gram = x_.mT @ x_
    broken = ~torch.isfinite(gram).all(-1).all(-1)[..., None, None]  # eigh raises on NaN, which is to be passed on
    values, vectors = torch.linalg.eigh(gram.masked_fill(broken, 0.0))
    excess = 1 - (values / bound**2).clamp(min=1).rsqrt()
    # as a correction, so that an x of norm at most the bound is returned to the last bit
    clipped = x_ - x_ @ (vectors * excess.unsqueeze(-2)) @ vectors.mT
    return clipped.masked_fill(broken, torch.nan).to(x.dtype)

"""The nearest matrix of bounded spectral norm."""

import torch
from jaxtyping import Float
from torch import Tensor


def clip_singular_values(x: Float[Tensor, "*b m n"], bound: float = 1.0) -> Float[Tensor, "*b m n"]:
    """U min(S, bound) V^T of x = U S V^T; NaN where x is not finite.

    x V h(S^2) V^T with h(t) = min(1, bound t^-1/2), from the eigenvectors of the smaller Gram matrix: as h is bounded,
    small singular values, which a Gram matrix does not resolve, do no harm. In float64, as the error is that of the
    largest.
    """
    if x.shape[-2] < x.shape[-1]:
        return clip_singular_values(x.mT, bound).mT
    x_ = x.double()
    gram = x_.mT @ x_
    broken = ~torch.isfinite(gram).all(-1).all(-1)[..., None, None]  # eigh raises on NaN, which is to be passed on
    values, vectors = torch.linalg.eigh(gram.masked_fill(broken, 0.0))
    excess = 1 - (values / bound**2).clamp(min=1).rsqrt()
    # as a correction, so that an x of norm at most the bound is returned to the last bit
    clipped = x_ - x_ @ (vectors * excess.unsqueeze(-2)) @ vectors.mT
    return clipped.masked_fill(broken, torch.nan).to(x.dtype)

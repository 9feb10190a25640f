"""Whether columns are orthonormal, by a look that costs next to nothing."""

import torch
from jaxtyping import Float
from torch import Tensor

PIECE = 2**16
"""Entries of a matrix that are converted at a time: fresh memory would cost more than the products."""


def looks_orthonormal(x: Float[Tensor, "*b m n"], tolerance: float) -> bool:
    """Whether ||x^T x - I|| is below tolerance sqrt(n), in the Frobenius norm, by what x^T x does to one vector.

    Rounding knows nothing of that vector, so that the estimate is good to a factor 1 + O(1 / sqrt(n)). In float64, as
    the rounding of these two products would hide what is looked for. Reads the host.

    Args:
        x: tall matrices.
        tolerance: a few times the resolution of x's dtype.
    """
    if x.numel() == 0:
        return True
    probe = torch.arange(x.shape[-1], dtype=torch.float64, device=x.device).cos().unsqueeze(-1)
    off = -probe
    for rows in torch.split(x, max(1, PIECE // x.shape[-1]), -2):
        exact = rows.double()
        off = off + exact.mT @ (exact @ probe)
        del exact  # before the next is made
    return bool(torch.linalg.vector_norm(off, dim=-2).amax() <= tolerance * torch.linalg.vector_norm(probe))

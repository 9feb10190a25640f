"""The singular value decomposition."""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg.scaling import largest_entry


def thin_svd(
    x: Float[Tensor, "*b m n"],
) -> tuple[Float[Tensor, "*b m k"], Float[Tensor, "*b k"], Float[Tensor, "*b n k"]]:
    """U, s and V of every x = U diag(s) V^T, with k = min(m, n) and s descending, from LAPACK.

    In float64 whatever the dtype of x, as the float32 routine fails on matrices with many equal singular values. NaN
    where x is not finite.
    """
    scale = largest_entry(x).double()
    broken = ~torch.isfinite(x).all(-1).all(-1)[..., None, None]
    u, s, vh = torch.linalg.svd((x.double() / scale).masked_fill(broken, 0.0), full_matrices=False)
    s = (s * scale[..., 0]).masked_fill(broken[..., 0], torch.nan)
    return u.masked_fill(broken, torch.nan), s, vh.mT.masked_fill(broken, torch.nan)

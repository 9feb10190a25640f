"""The sum of singular values."""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg.scaling import largest_entry


def nuclear_norm(x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
    """Sum of the singular values of every matrix, from LAPACK: for certificates, not for the step.

    In float64, as the float32 routine fails on matrices with many equal singular values. NaN where x is not finite.
    """
    scale = largest_entry(x)
    broken = ~torch.isfinite(x).all(-1).all(-1)
    values = torch.linalg.svdvals((x / scale).double().masked_fill(broken[..., None, None], 0.0))
    return (values.sum(-1) * scale[..., 0, 0]).to(x.dtype).masked_fill(broken, torch.nan)

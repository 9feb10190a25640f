"""The check that a tensor holds numbers."""

import torch
from jaxtyping import Float
from torch import Tensor


def check_finite(x: Float[Tensor, "..."], name: str) -> None:
    """Raise ValueError naming the tensor if any entry of `x` is NaN or infinite. Reads one flag on the host."""
    finite = torch.isfinite(x)
    if not bool(finite.all()):
        bad = x.numel() - int(finite.sum())
        kind = "NaN" if bool(torch.isnan(x).any()) else "Inf"
        raise ValueError(f"{name} of shape {tuple(x.shape)} has {bad} non-finite entries ({kind})")

"""Checks of what matrix functions are given."""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg.precision import Precision, check_precision, working_dtype


def check_finite(x: Float[Tensor, "..."], name: str) -> None:
    """Raise ValueError naming the tensor if any entry of `x` is NaN or infinite. Reads one flag on the host."""
    finite = torch.isfinite(x)
    if not bool(finite.all()):
        bad = x.numel() - int(finite.sum())
        kind = "NaN" if bool(torch.isnan(x).any()) else "Inf"
        raise ValueError(f"{name} of shape {tuple(x.shape)} has {bad} non-finite entries ({kind})")


def check_matrix(x: Float[Tensor, "*b m n"], precision: Precision, check: bool, name: str) -> torch.dtype:
    """The dtype to compute a function of `x` in.

    Raises:
        TypeError: x is not a real floating-point tensor.
        ValueError: x has fewer than two axes, the precision is unknown, or x is not finite and `check` is on.
    """
    check_precision(precision)
    dtype = working_dtype(x.dtype)
    if x.ndim < 2:
        raise ValueError(f"{name} must be a matrix or a batch of them, got shape {tuple(x.shape)}")
    if check:
        check_finite(x, name)
    return dtype

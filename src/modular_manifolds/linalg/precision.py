"""How accurately, and in which dtype, a matrix function is evaluated."""

from typing import Literal

import torch

Precision = Literal["exact", "fast"]
"""`exact`: the input's own float32 or float64 (lower dtypes are lifted to float32). `fast`: bfloat16 products."""


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which a tensor of `dtype` is computed with: float64 stays, every other float becomes float32.

    Raises:
        TypeError: for integer, boolean and complex tensors, which have no matrix functions here.
    """
    if not dtype.is_floating_point:
        raise TypeError(f"expected a real floating-point tensor, got {dtype}; convert it, e.g. with .float()")
    return torch.float64 if dtype == torch.float64 else torch.float32


def check_precision(precision: Precision) -> None:
    """Raise ValueError unless `precision` is one of the policies above."""
    if precision not in ("exact", "fast"):
        raise ValueError(f"precision must be 'exact' or 'fast', got {precision!r}")

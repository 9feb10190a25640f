"""How accurately, and in which dtype, a matrix function is evaluated."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch

Precision = Literal["exact", "balanced", "fast"]
"""`exact`: products in the input's own float32 or float64 (lower dtypes are lifted to float32). `balanced` and `fast`:
in bfloat16, as few as promise the gap below; where bfloat16 cannot promise it, as `exact`."""

GAP: Mapping[Precision, float] = {"exact": 1e-4, "balanced": 1e-2, "fast": 5e-2}
"""How far a direction may stay below steepest descent, relative to it: what each promises in float32."""


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
    if precision not in get_args(Precision):
        names = ", ".join(map(repr, get_args(Precision)))
        raise ValueError(f"precision must be one of {names}, got {precision!r}")

"""How exact a result must be, by dtype: the one table that every check measures against."""

from typing import NamedTuple

import torch


class Tolerance(NamedTuple):
    """What only rounding explains."""

    on: float
    """Largest violation, or excess of a norm over 1, of what counts as being on the manifold or in the ball."""
    same: float
    """Largest difference, relative to the size of what is compared, between two ways to one result."""
    gap: float
    """Largest relative gap of a direction from the best, unless a check is told another."""


TOLERANCES = {
    torch.float64: Tolerance(on=1e-13, same=1e-11, gap=1e-9),
    torch.float32: Tolerance(on=5e-6, same=3e-5, gap=1e-4),
    torch.bfloat16: Tolerance(on=2e-2, same=5e-2, gap=3e-2),
}

DTYPES = tuple(TOLERANCES)

FIRST_ORDER, SECOND_ORDER = 1.9, 2.8
"""Least slope, in a plot of both logarithms, of an error that is to shrink like t^2, and like t^3."""

SCALES = (1e-30, 1e-10, 1e10, 1e30)
"""Factors on a gradient that change no direction."""

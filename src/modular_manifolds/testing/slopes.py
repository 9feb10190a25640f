"""The order of an error, read off without looking at a plot."""

from collections.abc import Callable
from math import inf, log10

from torch import Tensor

STEPS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)

RESOLVED = 1e-10
"""Errors below this, relative to the size of the numbers in them, may be rounding, or where an iteration ended."""


def order(error: Callable[[float], Tensor | float], size: float) -> float:
    """The p with which error(t) shrinks like t^p, from the two smallest steps t that rounding does not hide.

    The smallest are what counts: far away, higher orders can hide a low one, and a kink can look like one. Infinity
    where fewer than two are resolved.
    """
    errors = [float(error(t)) for t in STEPS]
    if any(e != e for e in errors):
        return -inf
    above = [e for e in errors if e > RESOLVED * size]
    if len(above) < 2:
        return inf
    return log10(above[-2] / above[-1])

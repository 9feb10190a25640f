"""Odd quintic polynomials whose composition is the best approximation of the sign function.

Amsel, Persson, Musco & Gower, "The Polar Express" (arXiv 2505.16932), theorem 3.1: composing, step after step, the
odd polynomial closest to 1 on the interval that the last one has left gives the best composition of its length.
Here the coefficients are derived rather than tabulated, so that a schedule exists for every interval, and each
polynomial is divided by its own maximum: every singular value then stays in [0, 1], the last step included.
"""

from functools import cache
from math import prod
from typing import NamedTuple

import torch

Quintic = tuple[float, float, float]
"""(a, b, c) of p(x) = a x + b x^3 + c x^5."""

NEWTON_SCHULZ: Quintic = (15 / 8, -10 / 8, 3 / 8)
"""The limit of the best quintic as its interval shrinks to 1: p(1) = 1, p'(1) = p''(1) = 0, and p <= 1 on [0, 1]."""

CUSHION = 0.1
"""Smallest lower end of an interval. The best quintic on [low, 1] takes some value near 0.8 down to about 4 low, and
costs it as many digits; from 0.1 on it keeps a third of it, and small values still grow 3.85-fold instead of 4.26."""


def evaluate(p: Quintic, x: float) -> float:
    """p(x)."""
    a, b, c = p
    return x * (a + x * x * (b + x * x * c))


def best_quintic(low: float, high: float = 1.0) -> tuple[Quintic, float]:
    """The odd quintic closest to 1 on [low, high] in the maximum norm, and its error, by Remez exchange."""
    inner = (low + (high - low) / 4, low + 3 * (high - low) / 4)
    for _ in range(6):  # the exchange converges quadratically; below low = 1e-9 rounding keeps it from standing still
        p, error = _equioscillate((low, *inner, high))
        a, b, c = p
        # the extrema inside are the roots of p'(x) = a + 3 b x^2 + 5 c x^4
        root = (9 * b * b - 20 * a * c) ** 0.5
        inner = (((-3 * b - root) / (10 * c)) ** 0.5, ((-3 * b + root) / (10 * c)) ** 0.5)
    return p, error


def _equioscillate(points: tuple[float, ...]) -> tuple[Quintic, float]:
    """The odd quintic with p(x_i) = 1 - (-1)^i e at four points, and e.

    With p(x) = x q(x^2), q is a quadratic through four points, so its third divided difference is zero: that
    equation gives e, and Newton's interpolation the rest.
    """
    y = [x * x for x in points]
    weights = [1 / prod(y[i] - y[j] for j in range(4) if j != i) / points[i] for i in range(4)]
    e = sum(weights) / sum(w * (-1) ** i for i, w in enumerate(weights))
    q = [(1 - (-1) ** i * e) / x for i, x in enumerate(points)]
    first = (q[1] - q[0]) / (y[1] - y[0])
    second = ((q[2] - q[1]) / (y[2] - y[1]) - first) / (y[2] - y[0])
    return (q[0] - y[0] * (first - y[1] * second), first - (y[0] + y[1]) * second, second), abs(e)


class Schedule(NamedTuple):
    """Quintics, and the smallest value that they are sure to carry to within their tolerance of 1.

    A value x below the floor ends no lower than x / floor, up to the tolerance: that is how much of it is resolved.
    """

    floor: float
    steps: tuple[Quintic, ...]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def schedule_of_length(length: int, tolerance: float, margin: float) -> Schedule:
    """The schedule of that many quintics, at least 3, with the lowest floor; arguments as for `schedule`."""
    return _schedule_of_length(length, tolerance, margin)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def schedule(floor: float, tolerance: float, margin: float = 1e-3) -> tuple[Quintic, ...]:
    """Quintics that carry every x in [floor, 1] into [1 - tolerance, 1], and never above 1.

    Args:
        floor: smallest relative singular value to be resolved; those below it end below 1.
        tolerance: how far below 1 the result may end.
        margin: what rounding may add to a singular value between two steps. Each best polynomial is designed for
            [low, 1 + margin], beyond which it is free to diverge.
    """
    return _schedule(floor, tolerance, margin)


@cache
def _schedule_of_length(length: int, tolerance: float, margin: float) -> Schedule:
    low, high = -16.0, -0.1  # powers of 10
    for _ in range(40):
        middle = (low + high) / 2
        if len(_schedule(10**middle, tolerance, margin)) > length:
            low = middle
        else:
            high = middle
    return Schedule(10**high, _schedule(10**high, tolerance, margin))


@cache
def _schedule(floor: float, tolerance: float, margin: float) -> tuple[Quintic, ...]:
    if not 0 < floor < 1 or not 0 < tolerance < 1:
        raise ValueError(f"floor and tolerance must lie strictly between 0 and 1, got {floor} and {tolerance}")
    steps: list[Quintic] = []
    low, stretch = floor, 1 + margin
    while 1 - low > tolerance:
        if low > 0.7:  # from here on the limit is as good as the best, and forgives rounding above 1
            steps.append(NEWTON_SCHULZ)
            low = evaluate(NEWTON_SCHULZ, low)
        else:
            (a, b, c), error = best_quintic(max(low, CUSHION) / stretch)
            top = 1 + error
            steps.append((a / stretch / top, b / stretch**3 / top, c / stretch**5 / top))
            low = min(evaluate(steps[-1], low), (1 - error) / top)
    return tuple(steps)

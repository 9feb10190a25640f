"""Sharpness: how fast the first derivative of a module changes (Large et al., arXiv 2405.14813)."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Sharpness:
    """Bounds on a module's second derivatives, in the norms of its weights w, of its input x and of its output:

    |D_ww[u, v]| <= alpha |u| |v|,   |D_wx[u, v]| <= beta |u| |v|,   |D_xx[u, v]| <= gamma |u| |v|,

    where the module is within the bounds that its sensitivity assumes. inf where nothing is known.
    """

    alpha: float = inf
    beta: float = inf
    gamma: float = inf


LINEAR = Sharpness(0.0, 0.0, 0.0)
"""Of what is linear in its input and has no weights."""
BILINEAR = Sharpness(0.0, 1.0, 0.0)
"""Of weights that act linearly on the input."""
KINKED = Sharpness(0.0, 0.0, inf)
"""Of what has no weights, and no second derivative that is bounded at any width."""


def composed(
    second: Sharpness,
    first: Sharpness,
    shares: tuple[float, float],
    sensitivities: tuple[float, float],
    least: float | None = None,
) -> Sharpness:
    """Of one module after another.

    With p = shares, mu = sensitivities, and (a, b, c) each one's sharpness, it is
    a = a1 p1^2/mu2 + a2 p2^2 + 2 b2 p1 p2/mu2 + c2 p1^2/mu2^2,  b = b1 p1 + mu1 p2 b2 + (mu1/mu2) p1 c2,
    c = mu2 c1 + mu1^2 c2.

    Args:
        second: of the later module.
        first: of the earlier one, whose output it takes.
        shares: their parts of the total mass, the first module's first.
        sensitivities: theirs, the first module's first.
        least: the second module's smallest sensitivity to a member of its input, where that is a tuple: the first
            module's weights are stepped by the inverse of it, and all that they move is stretched by the largest.
    """
    (p1, p2), (mu1, mu2) = shares, sensitivities
    reach = _over(p1, mu2 if least is None else least)  # |w1| is at most this much of |w|
    return Sharpness(
        _product(mu2, first.alpha, reach, reach)
        + _product(second.alpha, p2, p2)
        + _product(2 * second.beta, reach, p2)
        + _product(second.gamma, reach, reach),
        _product(mu2, first.beta, reach) + _product(mu1, p2, second.beta) + _product(mu1, reach, second.gamma),
        _product(mu2, first.gamma) + _product(mu1, mu1, second.gamma),
    )


def parallel(parts: Iterable[tuple[float, Sharpness]]) -> Sharpness:
    """Of modules side by side, with their shares of the mass: a = sum p^2 a, b = sum p b, c = sum c."""
    parts = list(parts)
    return Sharpness(
        sum((_product(p, p, sharpness.alpha) for p, sharpness in parts), 0.0),
        sum((_product(p, sharpness.beta) for p, sharpness in parts), 0.0),
        sum((sharpness.gamma for _, sharpness in parts), 0.0),
    )


def _product(*factors: float) -> float:
    """With 0 * inf = 0: an unknown bound does not matter to what does not move."""
    result = 1.0
    for factor in factors:
        result *= factor
    return 0.0 if 0.0 in factors else result


def _over(p: float, mu: float) -> float:
    return 0.0 if p == 0 else p / mu if mu else inf

"""Which learning rates to try: a factor of 2 apart, around the best one of the network before."""

from collections.abc import Callable, Sequence
from math import inf

Loss = Callable[[int, float], float | None]
"""Of a size and a learning rate; infinite where training diverged, None where it has not been tried."""

FACTOR = 2.0

FURTHEST = 8
"""Factors of 2 that a search goes from where it began, at most."""


def wanted(sizes: Sequence[int], start: float, reach: int, loss: Loss) -> list[tuple[int, float]]:
    """The sizes and learning rates to try next; nothing if the best learning rate of every size is known.

    A size begins with `reach` rates on either side of the best one of the size before, and is extended on the side of
    its best rate while that is the outermost. The best rate of the first size is tried on every other, too: what it
    costs to keep it.

    Args:
        sizes: of the networks, in the order in which they are searched.
        start: learning rate in the middle of the first size's.
        reach: at least 1.
        loss: what is known.
    """
    centre = start
    kept: list[float] = []
    for size in sizes:
        low, high = -reach, reach
        while True:
            rates = [centre * FACTOR**k for k in range(low, high + 1)]
            untried = [(size, rate) for rate in dict.fromkeys([*rates, *kept]) if loss(size, rate) is None]
            if untried:
                return untried
            best = _lowest(loss, size, rates)
            if best == rates[0] and low > -FURTHEST:
                low -= 1
            elif best == rates[-1] and high < FURTHEST:
                high += 1
            else:
                break
        centre = best
        kept = kept or [best]
    return []


def _lowest(loss: Loss, size: int, rates: Sequence[float]) -> float:
    """The rate of lowest loss; the smallest of several, as when all diverge."""

    def known(rate: float) -> float:
        value = loss(size, rate)
        return inf if value is None else value

    return min(rates, key=known)

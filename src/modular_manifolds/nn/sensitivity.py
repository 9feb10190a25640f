"""Sensitivities: how far a value can move the output, per unit that it moves itself.

A value that is a tuple has one for each member, or one number that holds for all of them; a tuple's length is the sum
of its members'.
"""

from typing import TypeAlias

Sensitivity: TypeAlias = "float | tuple[Sensitivity, ...]"


def plus(one: Sensitivity, other: Sensitivity) -> Sensitivity:
    """Of a value that reaches the output in two ways."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return tuple(plus(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, tuple):
        return tuple(plus(a, other) for a in one)
    if isinstance(other, tuple):
        return tuple(plus(one, b) for b in other)
    return one + other


def times(one: Sensitivity, stretch: float) -> Sensitivity:
    """Of a value that is stretched on its way."""
    return tuple(times(a, stretch) for a in one) if isinstance(one, tuple) else one * stretch


def members(one: Sensitivity, count: int) -> tuple[Sensitivity, ...]:
    """Of each member of a tuple.

    Raises:
        ValueError: the tuple has another number of them.
    """
    each = one if isinstance(one, tuple) else (one,) * count
    if len(each) != count:
        raise ValueError(f"a tuple of {len(each)} meets a module for {count} tensors")
    return each


def numbers(one: Sensitivity) -> list[float]:
    """All of them in a row."""
    return [number for a in one for number in numbers(a)] if isinstance(one, tuple) else [one]

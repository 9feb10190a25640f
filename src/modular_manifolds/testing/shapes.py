"""Which shapes a subject has."""

from collections.abc import Hashable
from functools import lru_cache, singledispatch
from math import prod
from typing import Any

import torch

from modular_manifolds.geometry import Geometry
from modular_manifolds.manifolds import Manifold
from modular_manifolds.norms import Norm

CORNERS = ((5, 5), (7, 3), (3, 7), (1, 1), (6, 1), (1, 6), (2, 3, 6, 4), (2, 1, 4, 4))
"""Square, tall, wide, single entries, columns and rows, and batches."""

EMPTY = ((0, 3), (3, 0), (0, 0), (0, 4, 3), (2, 0, 3), (2, 3, 0), (0, 4, 4), (2, 0, 0))
"""Without rows, columns, or matrices."""

SIDES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12)


@singledispatch
def has_shape(subject: Any, shape: tuple[int, ...]) -> bool:
    """Whether a subject has matrices of this shape: whatever it has not, it answers with a ValueError.

    Any other exception is a fault for the checks to find.
    """
    raise TypeError(f"expected a manifold, a norm or a geometry, got {subject!r}")


@has_shape.register
def _(subject: Manifold, shape: tuple[int, ...]) -> bool:
    try:
        subject.dimension(shape)
    except ValueError:
        return False
    except Exception:
        return True
    return True


@has_shape.register
def _(subject: Norm, shape: tuple[int, ...]) -> bool:
    try:
        subject.norm(torch.zeros(shape))
    except ValueError:
        return False
    except Exception:
        return True
    return True


@has_shape.register
def _(subject: Geometry, shape: tuple[int, ...]) -> bool:
    return has_shape(subject.manifold, shape) and has_shape(subject.norm, shape)


def matrix_shapes(subject: Any) -> tuple[tuple[int, int], ...]:
    """Every shape that a subject has of those with sides in SIDES, small ones first.

    Raises:
        ValueError: there are none.
    """
    found = _remembered(subject) if isinstance(subject, Hashable) else _tried(subject)
    if not found:
        raise ValueError(f"{subject} has no matrices with sides of at most {SIDES[-1]}; say which `shapes` it has")
    return found


def _tried(subject: Any) -> tuple[tuple[int, int], ...]:
    every = sorted(((m, n) for m in SIDES for n in SIDES), key=lambda shape: (prod(shape), shape))
    return tuple(shape for shape in every if has_shape(subject, shape))


_remembered = lru_cache(_tried)
"""As every check asks for them."""


def corner_shapes(subject: Any) -> list[tuple[int, ...]]:
    """CORNERS, as far as the subject has them; for one that has few, the first of its shapes instead."""
    found: list[tuple[int, ...]] = [shape for shape in CORNERS if has_shape(subject, shape)]
    if len(found) < 3:
        first, *rest = matrix_shapes(subject)
        found = [first, *rest[:: max(1, len(rest) // 3)][:3], (2, 3, *first)]
    return found

"""The largest eigenvalue of a symmetric map, by Lanczos's method."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

_TOLERANCE = 1e-4
_BREAKDOWN = 1e-12


class Top(NamedTuple):
    """A Ritz value. An eigenvalue lies within `residual` of it, and the largest is not smaller."""

    value: float
    residual: float
    vector: Float[Tensor, " n"]
    steps: int


def largest_eigenvalue(
    apply: Callable[[Float[Tensor, " n"]], Float[Tensor, " n"]],
    start: Float[Tensor, " n"],
    steps: int,
    tolerance: float = _TOLERANCE,
    on_step: Callable[[float], None] = lambda value: None,
) -> Top:
    """Largest in the algebraic sense; with full reorthogonalisation, until the residual is within `tolerance` of it.

    Args:
        apply: the map, symmetric on the space that it keeps `start` in.
        start: any vector that is not zero.
        steps: at most so many products.
        tolerance: relative.
        on_step: told the value after every product.
    """
    basis = [start / start.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        image = apply(basis[-1])
        diagonal.append(float(image @ basis[-1]))
        for _ in range(2):  # once leaves what rounding has mixed in
            stacked = torch.stack(basis)
            image = image - stacked.mT @ (stacked @ image)
        rest = float(image.norm())
        small = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        if beside:
            off = torch.tensor(beside, dtype=torch.float64)
            small += torch.diag(off, 1) + torch.diag(off, -1)
        values, vectors = torch.linalg.eigh(small)
        value, weights = float(values[-1]), vectors[:, -1]
        residual = rest * abs(float(weights[-1]))
        on_step(value)
        size = max(abs(float(values[0])), abs(value))
        if len(basis) == steps or residual <= tolerance * abs(value) or rest <= _BREAKDOWN * size:
            vector = torch.stack(basis).mT @ weights.to(start.dtype)
            return Top(value, residual, vector, len(basis))
        beside.append(rest)
        basis.append(image / rest)

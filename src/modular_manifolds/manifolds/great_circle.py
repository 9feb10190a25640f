"""Great circles, the geodesics of a sphere. A point is one vector, the last axis; every leading axis is a batch."""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import length, normalise


def follow(x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"], radius: float) -> Float[Tensor, "*b n"]:
    """x cos t + radius e sin t, the end of the arc that leaves x with velocity u = radius t e."""
    t = length(u, -1) / radius
    return x * t.cos() + radius * t.sin() * normalise(u, -1)


def angle(x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
    """2 atan(|x - y| / |x + y|) of the unit vectors, accurate for equal and for opposite ones alike (Kahan).

    Raises:
        ValueError: the vectors have one entry, and two of them are opposite: no arc joins them.
    """
    if x.shape[-1] == 1 and bool((x * y < 0).any()):
        raise ValueError("two opposite vectors of one entry are different components: no path joins them")
    x, y = normalise(x, -1), normalise(y, -1)
    return 2 * torch.atan2(length(x - y, -1), length(x + y, -1))


def departure(x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"], radius: float) -> Float[Tensor, "*b n"]:
    """The velocity at x of the shortest arc that is at y at time 1 (of one of them, where y = -x).

    Raises:
        ValueError: as `angle`.
    """
    arc = radius * angle(x, y)
    if x.shape[-1] == 0:
        return x.clone()
    x, y = normalise(x, -1), normalise(y, -1)
    opposite = (x * y).sum(-1, keepdim=True) < 0
    towards = _beside(x, torch.where(opposite, y + x, y - x))  # both differences are free of rounding where small
    lost = opposite & (length(towards, -1) <= 8 * torch.finfo(x.dtype).eps)
    anywhere = torch.zeros_like(x).scatter_(-1, x.abs().argmin(-1, keepdim=True), 1.0)
    return arc * normalise(torch.where(lost, _beside(x, anywhere), towards), -1)


def carry(
    x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"], radius: float
) -> Float[Tensor, "*b n"]:
    """v, with its part along u turned as u turns on the way to `follow(x, u, radius)`."""
    t, e = length(u, -1) / radius, normalise(u, -1)
    return v + (e * (t.cos() - 1) - x / radius * t.sin()) * (e * v).sum(-1, keepdim=True)


def _beside(x: Float[Tensor, "*b n"], g: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
    """The part of g orthogonal to the unit vector x."""
    return g - x * (x * g).sum(-1, keepdim=True)

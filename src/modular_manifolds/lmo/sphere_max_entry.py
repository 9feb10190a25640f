"""Sphere x largest entry, exact by a weighted median."""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import Precision, largest_entry
from modular_manifolds.lmo.direct import tangent_part
from modular_manifolds.lmo.table import bounds, directions
from modular_manifolds.manifolds import Sphere
from modular_manifolds.norms import MaxEntry


@directions.register(Sphere, MaxEntry, cost="1 sort", source="a weighted median; weak duality in one variable")
def sphere_max_entry(
    manifold: Sphere, norm: MaxEntry, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
) -> Float[Tensor, "*b m n"]:
    """a_i = -sign(g_i + lambda w_i), where lambda is a weighted median and the median entry takes what <w, a> = 0 asks.

    Lagrangian duality: max_lambda -||g + lambda w||_1 is attained at the median of -g_i / w_i with weights |w_i|.
    """
    # a multiple of w added to g changes nothing; without it, a normal g is exactly zero
    g = tangent_part(manifold, w, g)
    ratio = -(g / w).masked_fill(w == 0, 0.0)
    # g_i + lambda w_i = w_i (lambda - r_i); with r_i itself compared, a tie at the median is an exact zero
    side = norm.lmo(ratio - _weighted_median(ratio, w.abs()))
    a = torch.where(w == 0, norm.lmo(g), -w.sign() * side)
    at_median = (side == 0) & (w != 0)
    missing = -(w * a).sum((-2, -1), keepdim=True)
    mass = (w.abs() * at_median).sum((-2, -1), keepdim=True)
    return a + w.sign() * at_median * (missing / mass.masked_fill(mass == 0, 1.0)).clamp(-1, 1)


@bounds.register(Sphere, MaxEntry)
def sphere_max_entry_bound(
    manifold: Sphere, norm: MaxEntry, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]
) -> Float[Tensor, "*b"]:
    """min_lambda ||g + lambda w||_1, an upper bound for every lambda."""
    shift = _weighted_median(-(g / w).masked_fill(w == 0, 0.0), w.abs())
    return norm.dual(g + shift * w)


def _weighted_median(values: Float[Tensor, "*b m n"], weights: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b 1 1"]:
    """The value at which half of the weight is reached; zero where there are no values."""
    if values.numel() == 0:
        return values.sum((-2, -1), keepdim=True)
    ordered, order = values.flatten(-2).sort(-1)
    reached = (weights / largest_entry(weights)).flatten(-2).gather(-1, order).cumsum(-1)
    place = (reached < reached[..., -1:] / 2).sum(-1, keepdim=True)
    return ordered.gather(-1, place).unsqueeze(-1)

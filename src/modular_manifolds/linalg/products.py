"""Matrix products that cost less than a product and then something else."""

import torch
from jaxtyping import Float
from torch import Tensor

LARGE = 2**20
"""Entries from which on a matrix is worth cutting up for a symmetric product."""


def symmetric_product(x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b n n"]:
    """x^T y, where that is known to be symmetric: on a CPU, large blocks above the diagonal are copied from below."""
    m, n = x.shape[-2:]
    if m * n < LARGE or n < 2 or x.device.type != "cpu":
        return x.mT @ y
    (x1, x2), (y1, y2) = x.tensor_split(2, -1), y.tensor_split(2, -1)
    below = x2.mT @ y1
    upper = torch.cat([symmetric_product(x1, y1), below.mT], -1)
    return torch.cat([upper, torch.cat([below, symmetric_product(x2, y2)], -1)], -2)


def gram_error(x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b n n"]:
    """x^T x - I."""
    gram = symmetric_product(x, x)
    gram.diagonal(dim1=-2, dim2=-1).sub_(1)
    return gram


def add_product(
    c: Float[Tensor, "*b m n"], x: Float[Tensor, "*b m k"], y: Float[Tensor, "*b k n"], scale: float = 1.0
) -> Float[Tensor, "*b m n"]:
    """c + scale x y, without a tensor for the product."""
    if c.numel() == 0:
        return c.clone()
    flat = (t.reshape(-1, *t.shape[-2:]) for t in (c, x, y))
    return torch.baddbmm(*flat, alpha=scale).reshape(c.shape)

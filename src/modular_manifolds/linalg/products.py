"""Matrix products that cost less than a product and then something else."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg.host import readable
from modular_manifolds.linalg.symmetry import skew

LARGE = 2**18
"""Entries from which on a matrix is worth cutting up for a product that is symmetric or skew."""


def symmetric_product(
    x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"], space: Float[Tensor, "*b n n"] | None = None
) -> Float[Tensor, "*b n n"]:
    """x^T y, where that is known to be symmetric: on a CPU, large blocks above the diagonal are copied from below.

    The result is put in `space` where that saves an allocation: fresh memory costs a CPU more than sums and scalings.
    """
    n = x.shape[-1]
    bands = _bands(x)
    if not bands:
        return _product(x.mT, y, space)
    result = x.new_empty(*x.shape[:-2], n, n) if space is None else space
    for xi, yi, ri in _each(x, y, result):
        for start, end in bands:
            torch.mm(xi[:, start:end].mT, yi[:, :end], out=ri[start:end, :end])
            ri[:start, start:end] = ri[start:end, :start].mT
    return result


def skew_product(
    x: Float[Tensor, "*b n n"],
    y: Float[Tensor, "*b n n"],
    scale: float,
    space: Float[Tensor, "*b n n"] | None = None,
) -> Float[Tensor, "*b n n"]:
    """scale x + x y, where that and x are known to be skew: on a CPU, large blocks are mirrored likewise.

    The result is then skew to the last bit, without which rounding, amplified by an iteration, would see two matrices.
    """
    bands = _bands(x)
    if not bands:
        return add_product(x, x, y, beta=scale, space=space)
    result = torch.empty_like(x) if space is None else space
    for xi, yi, ri in _each(x, y, result):
        for start, end in bands:
            torch.addmm(xi[start:end, :end], xi[start:end], yi[:, :end], beta=scale, out=ri[start:end, :end])
            torch.neg(ri[start:end, :start].mT, out=ri[:start, start:end])
            corner = ri[start:end, start:end]
            corner.copy_(skew(corner))
    return result


def gram_error(x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b n n"]:
    """x^T x - I."""
    gram = symmetric_product(x, x)
    gram.diagonal(dim1=-2, dim2=-1).sub_(1)
    return gram


def add_product(
    c: Float[Tensor, "*b m n"],
    x: Float[Tensor, "*b m k"],
    y: Float[Tensor, "*b k n"],
    scale: float = 1.0,
    beta: float = 1.0,
    space: Float[Tensor, "*b m n"] | None = None,
) -> Float[Tensor, "*b m n"]:
    """beta c + scale x y, without a tensor for the product."""
    if c.numel() == 0:
        return c.clone()
    flat = (t.reshape(-1, *t.shape[-2:]) for t in (c, x, y))
    if space is None or not readable(x):
        return torch.baddbmm(*flat, alpha=scale, beta=beta).reshape(c.shape)
    torch.baddbmm(*flat, alpha=scale, beta=beta, out=space.reshape(-1, *c.shape[-2:]))
    return space


def _product(x: Float[Tensor, "*b m k"], y: Float[Tensor, "*b k n"], space: Tensor | None) -> Float[Tensor, "*b m n"]:
    """x y, in `space` if there is any, and writing to it is not in the way of a compiler."""
    return x @ y if space is None or not readable(x) else torch.matmul(x, y, out=space)


def _each(*batches: Float[Tensor, "*b m n"]) -> Iterator[tuple[Tensor, ...]]:
    """Matrix by matrix: those that are cut into bands are large enough."""
    return zip(*(batch.reshape(-1, *batch.shape[-2:]).unbind() for batch in batches), strict=True)


def _bands(x: Float[Tensor, "*b m n"]) -> list[tuple[int, int]]:
    """Rows of the n x n result that are computed together, up to the diagonal; none where one product is faster.

    Bands of four leave out 3/8 of the work, and are worth it from n = 768 on; two leave out 1/4.
    """
    m, n = x.shape[-2:]
    if m * n < LARGE or n < 4 or not readable(x):
        return []
    count = 4 if n >= 768 else 2
    return [(n * i // count, n * (i + 1) // count) for i in range(count)]

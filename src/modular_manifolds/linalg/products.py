"""Matrix products that cost less than a product and then something else."""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg.host import multiplies_tiles, readable, recorded
from modular_manifolds.linalg.symmetry import skew

LARGE = 2**20
"""Bytes from which on a matrix is worth cutting up for a product that is symmetric or skew."""

SMALL = 2**12
"""Entries below which mm may round unlike bmm, and copies cost nothing."""

PIECE = 2**17
"""Entries of a sum with a rough product that are made at a time."""


def symmetric_product(
    x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"], space: Float[Tensor, "*b n n"] | None = None
) -> Float[Tensor, "*b n n"]:
    """x^T y, where that is known to be symmetric: on a CPU, large blocks above the diagonal are copied from below.

    The result is put in `space` where that saves an allocation: fresh memory costs a CPU more than sums and scalings.
    """
    n = x.shape[-1]
    cut = bands(x)
    if not cut:
        return product(x.mT, y, space)
    result = x.new_empty(*x.shape[:-2], n, n) if space is None else space
    for xi, yi, ri in _each(x, y, result):
        for start, end in cut:
            torch.mm(xi[:, start:end].mT, yi[:, :end], out=ri[start:end, :end])
            ri[:start, start:end] = ri[start:end, :start].mT
    return result


def skew_gram(x: Float[Tensor, "*b n n"], space: Float[Tensor, "*b n n"] | None = None) -> Float[Tensor, "*b n n"]:
    """x^T x of a skew x, likewise; as a whole as x x^T, which reads by rows what x^T x would read by columns."""
    return symmetric_product(x, x, space) if bands(x) else product(x, x.mT, space)


def symmetric_square(
    x: Float[Tensor, "*b n n"], space: Float[Tensor, "*b n n"] | None = None
) -> Float[Tensor, "*b n n"]:
    """x^2 of a symmetric x, likewise."""
    return symmetric_product(x, x, space) if bands(x) else product(x, x, space)


def symmetric_quadratic(
    x: Float[Tensor, "*b n n"], b: float, c: float, space: Float[Tensor, "*b n n"] | None = None
) -> Float[Tensor, "*b n n"]:
    """b x + c x^2 of a symmetric x, likewise."""
    if not bands(x):
        return add_product(x, x, x, c, b, space)
    return symmetric_product(x, x, space).mul_(c).add_(x, alpha=b)


def skew_product(
    x: Float[Tensor, "*b n n"],
    y: Float[Tensor, "*b n n"],
    scale: float,
    space: Float[Tensor, "*b n n"] | None = None,
) -> Float[Tensor, "*b n n"]:
    """scale x + x y, where that and x are known to be skew, and y so to be symmetric and to commute with x.

    On a CPU large blocks are mirrored likewise. From those the result is skew to the last bit, without which rounding,
    amplified by an iteration, would see two matrices. As a whole it is scale x + y x, the product that goes with x x^T.
    """
    cut = bands(x)
    if not cut:
        return add_product(x, y, x, beta=scale, space=space)
    result = torch.empty_like(x) if space is None else space
    for xi, yi, ri in _each(x, y, result):
        for start, end in cut:
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


def product(
    x: Float[Tensor, "*b m k"], y: Float[Tensor, "*b k n"], space: Float[Tensor, "*b m n"] | None = None
) -> Float[Tensor, "*b m n"]:
    """x y, in `space` where that saves an allocation. A large matrix alone by mm, as bmm would copy transposes."""
    writable = space if readable(x) and not recorded(x) and not recorded(y) else None
    if not _by_itself(x):
        return x @ y if writable is None else torch.matmul(x, y, out=writable)
    if writable is None:
        return torch.mm(_alone(x), _alone(y)).reshape(*x.shape[:-1], y.shape[-1])
    torch.mm(_alone(x), _alone(y), out=_alone(writable))
    return writable


def add_product(
    c: Float[Tensor, "*b m n"],
    x: Float[Tensor, "*b m k"],
    y: Float[Tensor, "*b k n"],
    scale: float = 1.0,
    beta: float = 1.0,
    space: Float[Tensor, "*b m n"] | None = None,
) -> Float[Tensor, "*b m n"]:
    """beta c + scale x y, without a tensor for the product, laid out in memory as c is."""
    if c.numel() == 0:
        return c.clone()
    if c.stride(-1) > 1 and c.stride(-2) == 1 and readable(c):  # or c would be copied from columns to rows
        return add_product(c.mT, y.mT, x.mT, scale, beta, None if space is None else space.mT).mT
    one = _by_itself(c)
    add: Callable[..., Tensor] = torch.addmm if one else torch.baddbmm
    flatten = _alone if one else _listed
    if space is None or not readable(x) or recorded(c) or recorded(x) or recorded(y):
        return add(flatten(c), flatten(x), flatten(y), alpha=scale, beta=beta).reshape(c.shape)
    add(flatten(c), flatten(x), flatten(y), alpha=scale, beta=beta, out=flatten(space))
    return space


def add_rough_products(
    c: Float[Tensor, "*b m n"],
    xs: Sequence[Float[Tensor, "*b m k"]],
    ys: Sequence[Float[Tensor, "*b k n"]],
    scale: float,
    space: Float[Tensor, "*b m n"],
) -> Float[Tensor, "*b m n"]:
    """c + scale (x y + x' y' + ...), the sum in bfloat16, as it is small beside c; in `space`, which may be c or an x.

    Some rows at a time, so that no copies are made of all.
    """
    if c.stride(-1) > 1 and c.stride(-2) == 1 and all(c is not x for x in xs):
        return add_rough_products(c.mT, [y.mT for y in ys], [x.mT for x in xs], scale, space.mT).mT
    rows = max(1, PIECE * c.shape[-2] // max(1, c.numel()))
    factor = _joined(ys, -2)
    for start, new, *left in zip(*(torch.split(z, rows, -2) for z in (c, space, *xs)), strict=True):
        torch.add(start, product(_joined(left, -1), factor), alpha=scale, out=new)
    return space


def _joined(blocks: Sequence[Float[Tensor, "*b m n"]], dim: int) -> Float[Tensor, "*b k l"]:
    """In bfloat16."""
    rough = [block.bfloat16() for block in blocks]
    return rough[0] if len(rough) == 1 else torch.cat(rough, dim)


def _by_itself(x: Float[Tensor, "*b m n"]) -> bool:
    """Whether to multiply a matrix by mm. A small one by bmm, like a batch, so that both are rounded alike."""
    return x.shape[:-2].numel() == 1 and (x.numel() >= SMALL or x.ndim == 2)


def _alone(x: Float[Tensor, "*b m n"]) -> Float[Tensor, "m n"]:
    """The one matrix of a batch of one."""
    return x.reshape(x.shape[-2:])


def _listed(x: Float[Tensor, "*b m n"]) -> Float[Tensor, "k m n"]:
    """Any batch as one axis."""
    return x.reshape(-1, *x.shape[-2:])


def _each(*batches: Float[Tensor, "*b m n"]) -> Iterator[tuple[Tensor, ...]]:
    """Matrix by matrix: those that are cut into bands are large enough."""
    return zip(*(_listed(batch).unbind() for batch in batches), strict=True)


def bands(x: Float[Tensor, "*b m n"]) -> list[tuple[int, int]]:
    """Rows of the n x n result that are computed together, up to the diagonal; none where one product is faster.

    Bands of four leave out 3/8 of the work, and are worth it from n = 768 on; two leave out 1/4.
    """
    m, n = x.shape[-2:]
    if m * n * x.element_size() < LARGE or n < 4 or not readable(x) or recorded(x) or multiplies_tiles(x):
        return []
    count = 4 if n >= 768 else 2
    return [(n * i // count, n * (i + 1) // count) for i in range(count)]

"""Coordinates in which steepest descent on the Stiefel manifold is a problem of size min(m, 2n).

Everything happens in the span of w and g, both m x n with m >= n and w^T w = I. A `Frame` is a basis of a space that
holds both, knows skew(g w^T) in it, and lets k x k matrices act on w.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import (
    GAP,
    Precision,
    add_product,
    add_rough_product,
    product,
    readable,
    recorded,
    skew,
    symmetric_product,
)

RIDGE_SHARE = 0.1
"""Of a promised gap, what `Grams` may use up."""

PIECE = 2**19
"""Bytes of a batch that are converted, or overwritten, at a time."""


class Frame(Protocol):
    """An orthonormal basis of k vectors, not always spelled out."""

    def columns(self, c: Float[Tensor, "*b k k"]) -> Float[Tensor, "*b k j"]:
        """Those that act on w."""
        ...

    def act(
        self,
        c: Float[Tensor, "*b k j"],
        onto: Float[Tensor, "*b m n"] | None = None,
        scale: float = 1.0,
        space: Float[Tensor, "*b m n"] | None = None,
    ) -> Float[Tensor, "*b m n"]:
        """scale c w, added to a copy of `onto` if there is one, made in `space`; of c only its `columns`.

        The memory of g may be that space: it is not needed afterwards.
        """
        ...


class Whole(NamedTuple):
    """All m dimensions, for m <= 2n."""

    w: Float[Tensor, "*b m n"]
    rough: bool = False
    """Whether Omega is known to bfloat16 only, so that no more is asked of what it does to w."""

    def generator(self, g: Float[Tensor, "*b m n"], dtype: torch.dtype) -> Float[Tensor, "*b m m"]:
        """skew(g w^T), skew to the last bit, computed in `dtype`."""
        return skew(product(g.to(dtype), self.w.to(dtype).mT))

    def columns(self, c: Float[Tensor, "*b m m"]) -> Float[Tensor, "*b m m"]:
        return c

    def act(
        self,
        c: Float[Tensor, "*b m m"],
        onto: Float[Tensor, "*b m n"] | None = None,
        scale: float = 1.0,
        space: Float[Tensor, "*b m n"] | None = None,
    ) -> Float[Tensor, "*b m n"]:
        if onto is None:
            return product(c, self.w) * scale
        if self.rough and space is not None and readable(c) and not recorded(c):
            return add_rough_product(onto, c, self.w, scale, space)
        return add_product(onto, c, self.w, scale, space=space)


class Span(NamedTuple):
    """An orthonormal basis of the span by Householder's QR: for every g, and slow."""

    generator: Float[Tensor, "*b k k"]
    w: Float[Tensor, "*b k n"]
    basis: Float[Tensor, "*b m k"]

    @classmethod
    def of(cls, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> "Span":
        """Of w and g; there is nothing to invert, and g may have any rank."""
        n = w.shape[-1]
        basis, r = torch.linalg.qr(torch.cat([w, g], -1))
        return cls(skew(r[..., n:] @ r[..., :n].mT), r[..., :n], basis)

    def columns(self, c: Float[Tensor, "*b k k"]) -> Float[Tensor, "*b k k"]:
        return c

    def act(
        self,
        c: Float[Tensor, "*b k k"],
        onto: Float[Tensor, "*b m n"] | None = None,
        scale: float = 1.0,
        space: Float[Tensor, "*b m n"] | None = None,
    ) -> Float[Tensor, "*b m n"]:
        inside = c @ self.w * scale
        return self.basis @ inside if onto is None else add_product(onto, self.basis, inside, space=space)


class Products(NamedTuple):
    """What `Grams` needs to know of w and g: n x n sums over their rows."""

    wg: Float[Tensor, "*b n n"]
    """w^T g."""
    gg: Float[Tensor, "*b n n"]
    """g^T g."""
    ww: Float[Tensor, "*b n n"] | None
    """w^T w, where its rounding matters."""

    @classmethod
    def of(cls, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], dtype: torch.dtype) -> "Products":
        """Computed in `dtype`; w^T w is taken to be I if that is all that w has itself."""
        gg = _summed(symmetric_product, g, g, dtype)
        wg = _summed(lambda x, y: product(x.mT, y), w, g, dtype)
        return cls(wg, gg, _summed(symmetric_product, w, w, dtype) if dtype != w.dtype else None)


class Grams(NamedTuple):
    """w and the columns of b L^-T, where b = g - w w^T g and L L^T = b^T b + ridge I, from w^T g and g^T g alone.

    Two tall products to look, and two to act. The ridge, of the size of the rounding of g^T g, keeps directions in
    which b is hardly more than that from being blown up to unit length: their columns are shorter than 1, and steps
    there shorter than they could be.
    """

    w: Float[Tensor, "*b m n"]
    g: Float[Tensor, "*b m n"]
    inside: Float[Tensor, "*b n n"]
    """w^T g."""
    factor: Float[Tensor, "*b n n"]
    """L."""
    inverse_size: Float[Tensor, "*b"]
    """||L^-1||_F."""

    @classmethod
    def of(
        cls, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision, dtype: torch.dtype
    ) -> "Grams | None":
        """None, where that can be read on the host, if the ridge may cost `RIDGE_SHARE` of the gap that is promised.

        It costs ridge tr((b^T b + ridge)^(-1/2)) <= ridge sqrt(n) ||L^-1||_F of a value that is at least the nuclear
        norm of L, which is at least its trace, and at least the Frobenius norm of the generator.

        Args:
            w, g: of any dtype.
            precision: what is promised.
            dtype: to compute in. In float64, where that is more than w has, b is told from the rounding of w as well.
        """
        return cls.with_products(w, g, Products.of(w, g, dtype), precision)

    @classmethod
    def with_products(
        cls,
        w: Float[Tensor, "*b m n"],
        g: Float[Tensor, "*b m n"],
        products: "Products",
        precision: Precision,
    ) -> "Grams | None":
        """The same from products that are known, which may be over more rows than w and g have; they are used up."""
        gram, across = products.gg, products.wg
        n, dtype = w.shape[-1], gram.dtype
        ridge = torch.finfo(dtype).eps * torch.linalg.matrix_norm(gram)
        inside = across
        if products.ww is not None:
            inside = torch.linalg.solve(products.ww, across)
            ridge = 16 * ridge  # b may be next to nothing here, and its Gram all rounding
        gram = gram.sub_(symmetric_product(across, inside))
        ridge = ridge.masked_fill(ridge == 0, 1.0)
        gram.diagonal(dim1=-2, dim2=-1).add_(ridge[..., None])
        factor, failed = torch.linalg.cholesky_ex(gram)
        inverse = torch.linalg.solve_triangular(factor, torch.eye(n, dtype=dtype, device=w.device), upper=False)
        inverse_size = torch.linalg.matrix_norm(inverse)
        if readable(w):
            cost = ridge * n**0.5 * inverse_size
            size = torch.hypot(torch.linalg.matrix_norm(skew(inside)), torch.linalg.matrix_norm(factor) / 2**0.5)
            value = torch.maximum(factor.diagonal(dim1=-2, dim2=-1).sum(-1), size)
            # a NaN in g is let through, to come out at the other end
            if bool(failed.any()) or bool((cost > RIDGE_SHARE * GAP[precision] * value).any()):
                return None
        return cls(w, g, inside, factor, inverse_size)

    @property
    def generator(self) -> Float[Tensor, "*b k k"]:
        """skew(g w^T), skew to the last bit, in w's dtype; made anew each time, being larger than all it is made of."""
        n = self.w.shape[-1]
        half = self.factor.to(self.w.dtype) / 2
        result = half.new_zeros(*half.shape[:-2], 2 * n, 2 * n)
        result[..., :n, :n] = skew(self.inside)
        result[..., :n, n:] = -half
        result[..., n:, :n] = half.mT
        return result

    def inverse_squares(self) -> Float[Tensor, "*b"]:
        """About the sum of 1 / s^2 over the generator's singular values s.

        Its inverse is [[0, 2 L^-T], [-2 L^-1, 4 L^-1 K L^-T]] with K = skew(w^T g), the corner estimated as if K were
        oriented at random.
        """
        n, dtype = self.w.shape[-1], self.w.dtype
        inverse = self.inverse_size.to(dtype) ** 2
        inside = torch.linalg.matrix_norm(skew(self.inside)).to(dtype) ** 2
        return 8 * inverse + 16 * inside * (inverse / n) ** 2

    def columns(self, c: Float[Tensor, "*b k k"]) -> Float[Tensor, "*b k n"]:
        return c[..., : self.w.shape[-1]]

    def act(
        self,
        c: Float[Tensor, "*b k n"],
        onto: Float[Tensor, "*b m n"] | None = None,
        scale: float = 1.0,
        space: Float[Tensor, "*b m n"] | None = None,
        also: Float[Tensor, "*b n n"] | None = None,
    ) -> Float[Tensor, "*b m n"]:
        """The same; `also` is another matrix that w is multiplied with, from the right."""
        dtype = self.factor.dtype
        upper, lower = c.to(dtype).chunk(2, -2)
        outside = torch.linalg.solve_triangular(self.factor.mT, lower, upper=True)
        within = add_product(upper if also is None else upper + also, self.inside, outside, -1.0)
        if onto is None or space is None or not readable(c) or recorded(c):
            w = self.w.to(dtype)
            start = product(w, within) * scale if onto is None else add_product(onto.to(dtype), w, within, scale)
            return add_product(start, self.g.to(dtype), outside, scale, space=start).to(c.dtype)
        for w, g, base, new in zip(*(_pieces(x, dtype) for x in (self.w, self.g, onto, space)), strict=True):
            wide = w.to(dtype)
            start = add_product(wide if onto is self.w else base.to(dtype), wide, within, scale)
            new.copy_(add_product(start, g.to(dtype), outside, scale, space=start))
        return space


def _summed(
    products: Callable[[Tensor, Tensor], Tensor],
    x: Float[Tensor, "*b m n"],
    y: Float[Tensor, "*b m n"],
    dtype: torch.dtype,
) -> Float[Tensor, "*b n n"]:
    """A sum over rows of products, in `dtype`; where that is not theirs, by pieces, so that no copy is made of all."""
    if x.dtype == dtype or not readable(x) or recorded(x) or recorded(y):
        return products(x.to(dtype), y.to(dtype))
    if x is y:
        wide = (piece.to(dtype) for piece in _pieces(x, dtype))
        return torch.stack([products(a, a) for a in wide]).sum(0)
    pieces = zip(_pieces(x, dtype), _pieces(y, dtype), strict=True)
    return torch.stack([products(a.to(dtype), b.to(dtype)) for a, b in pieces]).sum(0)


def _pieces(x: Float[Tensor, "*b m n"], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Some rows at a time, as many as come to `PIECE` in this dtype."""
    return torch.split(x, max(1, PIECE * x.shape[-2] // max(1, x.numel() * dtype.itemsize)), -2)

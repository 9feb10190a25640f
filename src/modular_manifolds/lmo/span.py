"""Coordinates in which steepest descent on the Stiefel manifold is a problem of size min(m, 2n).

Everything happens in the span of w and g, both m x n with m >= n and w^T w = I. A `Frame` is a basis of a space that
holds both, knows skew(g w^T) in it, and lets k x k matrices act on w.
"""

from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import (
    GAP,
    Precision,
    add_product,
    add_rough_products,
    product,
    readable,
    recorded,
    skew,
    symmetric_product,
)

RIDGE_SHARE = 0.1
"""Of a promised gap, what `Grams` may use up."""

PIECE = 2**19
"""Bytes of a batch that are overwritten at a time."""


class Frame(Protocol):
    """An orthonormal basis of k vectors, not always spelled out."""

    @property
    def rough(self) -> bool:
        """Whether Omega is known to bfloat16 only, so that no more is asked of what it does to w."""
        ...

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
            return add_rough_products(onto, [c], [self.w], scale, space)
        return add_product(onto, c, self.w, scale, space=space)


class Span(NamedTuple):
    """An orthonormal basis of the span by Householder's QR: for every g, and slow."""

    generator: Float[Tensor, "*b k k"]
    w: Float[Tensor, "*b k n"]
    basis: Float[Tensor, "*b m k"]
    rough: bool = False

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


class RidgeQR(NamedTuple):
    """w and a basis of b = g - w w^T g, of whatever rank, from products alone: Cholesky's QR with a ridge, twice.

    The first pass leaves singular values s / sqrt(s^2 + ridge), where s is b's and the ridge eps ||b^T b||; the second,
    the same of those. So all that is longer than eps ||b|| has unit length in the end, and what is shorter, which is
    rounding, has none or some: columns of a contraction, of which no direction is longer than it should be. The
    generator's corner is the basis's own product with b, and not the factor, which would give the ridge some weight.
    """

    w: Float[Tensor, "*b m n"]
    basis: Float[Tensor, "*b m n"]
    inside: Float[Tensor, "*b n n"]
    """w^T g."""
    outside: Float[Tensor, "*b n n"]
    """basis^T b."""
    rough: bool = False

    @classmethod
    def of(cls, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> "RidgeQR":
        """Of a g with entries of at most 1. Seven tall products."""
        inside = product(w.mT, g)
        b = add_product(g, w, inside, -1.0)
        # what rounding has left of w in it, and the first pass has made longer, the second would blow up
        basis = _shortened(b)
        basis = _shortened(add_product(basis, w, product(w.mT, basis), -1.0))
        return cls(w, basis, inside, product(basis.mT, b))

    @property
    def generator(self) -> Float[Tensor, "*b k k"]:
        """skew(g w^T), skew to the last bit; made anew each time."""
        return _bordered(self.inside, self.outside)

    def columns(self, c: Float[Tensor, "*b k k"]) -> Float[Tensor, "*b k n"]:
        return c[..., : self.w.shape[-1]]

    def act(
        self,
        c: Float[Tensor, "*b k n"],
        onto: Float[Tensor, "*b m n"] | None = None,
        scale: float = 1.0,
        space: Float[Tensor, "*b m n"] | None = None,
    ) -> Float[Tensor, "*b m n"]:
        upper, lower = c.chunk(2, -2)
        if self.rough and onto is not None and space is not None and readable(c) and not recorded(c):
            return add_rough_products(onto, [self.w, self.basis], [upper, lower], scale, space)
        within = (
            product(self.w, upper) * scale if onto is None else add_product(onto, self.w, upper, scale, space=space)
        )
        return add_product(within, self.basis, lower, scale, space=within)


def _bordered(inside: Float[Tensor, "*b n n"], outside: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b k k"]:
    """[[skew(inside), -outside^T / 2], [outside / 2, 0]] in the dtype of `outside`."""
    n, half = outside.shape[-1], outside / 2
    result = half.new_zeros(*half.shape[:-2], 2 * n, 2 * n)
    result[..., :n, :n] = skew(inside)
    result[..., :n, n:] = -half.mT
    result[..., n:, :n] = half
    return result


def _shortened(x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
    """x L^-T with L L^T = x^T x + ridge I: singular values s become s / sqrt(s^2 + ridge)."""
    gram = symmetric_product(x, x)
    ridge = torch.finfo(x.dtype).eps * torch.linalg.matrix_norm(gram)
    gram.diagonal(dim1=-2, dim2=-1).add_(ridge.masked_fill(ridge == 0, 1.0)[..., None])
    factor = torch.linalg.cholesky_ex(gram)[0]
    return torch.linalg.solve_triangular(factor.mT, x, upper=True, left=False)


class Products(NamedTuple):
    """What `Grams` needs to know of w and g: n x n sums over their rows."""

    wg: Float[Tensor, "*b n n"]
    """w^T g."""
    gg: Float[Tensor, "*b n n"]
    """g^T g."""
    ww: Float[Tensor, "*b n n"] | None
    """w^T w, where its rounding matters."""

    @classmethod
    def of(cls, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> "Products":
        """With w^T w taken to be I."""
        return cls(product(w.mT, g), symmetric_product(g, g), None)


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
    rough: bool = False

    @classmethod
    def of(cls, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision) -> "Grams | None":
        """None, where that can be read on the host, if the ridge may cost `RIDGE_SHARE` of the gap that is promised.

        It costs ridge tr((b^T b + ridge)^(-1/2)) <= ridge sqrt(n) ||L^-1||_F of a value that is at least the nuclear
        norm of L, which is at least its trace, and at least the Frobenius norm of the generator.
        """
        return cls.with_products(w, g, Products.of(w, g), precision)

    @classmethod
    def with_products(
        cls,
        w: Float[Tensor, "*b m n"],
        g: Float[Tensor, "*b m n"],
        products: "Products",
        precision: Precision,
    ) -> "Grams | None":
        """The same from products that are known, which may be over more rows than w and g have; they are used up.

        In float64, where that is more than w has, b is told from the rounding of w as well.
        """
        gram, across = products.gg, products.wg
        n, dtype = w.shape[-1], gram.dtype
        ridge = torch.finfo(dtype).eps * torch.linalg.matrix_norm(gram)
        inside = across
        if products.ww is not None:
            # (w^T w)^-1 w^T g, of a w^T w next to I
            off = products.ww - torch.eye(n, dtype=dtype, device=w.device)
            inside = across - product(off, across - product(off, across))
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
        return _bordered(self.inside, self.factor.to(self.w.dtype).mT)

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
        if self.rough:
            return add_rough_products(onto, [self.w, self.g], [within, outside], scale, space)
        for w, g, base, new in zip(*map(pieces, (self.w, self.g, onto, space)), strict=True):
            start = add_product(base, w, within, scale)
            new.copy_(add_product(start, g, outside, scale, space=start))
        return space


def pieces(x: Float[Tensor, "*b m n"]) -> tuple[Tensor, ...]:
    """Some rows at a time, as many as come to `PIECE`."""
    return torch.split(x, max(1, PIECE * x.shape[-2] // max(1, x.numel() * x.element_size())), -2)

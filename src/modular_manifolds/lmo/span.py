"""Coordinates in which steepest descent on the Stiefel manifold is a problem of size min(m, 2n).

Everything happens in the span of w and g, both m x n with m >= n and w^T w = I. A `Frame` is a basis of a space that
holds both, knows skew(g w^T) in it, and lets k x k matrices act on w.
"""

from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import GAP, Precision, add_product, product, readable, skew, symmetric_product

RIDGE_SHARE = 0.1
"""Of a promised gap, what `Grams` may use up."""


class Frame(Protocol):
    """An orthonormal basis of k vectors, not always spelled out."""

    @property
    def generator(self) -> Float[Tensor, "*b k k"]:
        """skew(g w^T), skew to the last bit."""
        ...

    def columns(self, c: Float[Tensor, "*b k k"]) -> Float[Tensor, "*b k j"]:
        """Those that act on w."""
        ...

    def act(
        self, c: Float[Tensor, "*b k j"], onto: Float[Tensor, "*b m n"] | None = None, scale: float = 1.0
    ) -> Float[Tensor, "*b m n"]:
        """scale c w, added to a copy of `onto` if there is one; of c only its `columns`."""
        ...


class Whole(NamedTuple):
    """All m dimensions, for m <= 2n."""

    generator: Float[Tensor, "*b m m"]
    w: Float[Tensor, "*b m n"]

    @classmethod
    def of(cls, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], dtype: torch.dtype) -> "Whole":
        """With a generator computed in `dtype`."""
        return cls(skew(product(g.to(dtype), w.to(dtype).mT)), w)

    def columns(self, c: Float[Tensor, "*b m m"]) -> Float[Tensor, "*b m m"]:
        return c

    def act(
        self, c: Float[Tensor, "*b m m"], onto: Float[Tensor, "*b m n"] | None = None, scale: float = 1.0
    ) -> Float[Tensor, "*b m n"]:
        return product(c, self.w) * scale if onto is None else add_product(onto, c, self.w, scale)


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
        self, c: Float[Tensor, "*b k k"], onto: Float[Tensor, "*b m n"] | None = None, scale: float = 1.0
    ) -> Float[Tensor, "*b m n"]:
        inside = c @ self.w * scale
        return self.basis @ inside if onto is None else add_product(onto, self.basis, inside)


class Products(NamedTuple):
    """What `Grams` needs to know of w and g: n x n matrices, sums over their rows."""

    wg: Float[Tensor, "*b n n"]
    """w^T g."""
    gg: Float[Tensor, "*b n n"]
    """g^T g."""
    ww: Float[Tensor, "*b n n"] | None
    """w^T w, where its rounding matters."""

    @classmethod
    def of(cls, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], dtype: torch.dtype) -> "Products":
        """Computed in `dtype`; w^T w is known to be I if that is all that w has itself."""
        lifted = w.to(dtype)
        ww = symmetric_product(lifted, lifted) if dtype != w.dtype else None
        return cls(product(lifted.mT, g.to(dtype)), symmetric_product(g.to(dtype), g.to(dtype)), ww)


class Grams(NamedTuple):
    """w and the columns of b L^-T, where b = g - w w^T g and L L^T = b^T b + ridge I, from w^T g and g^T g alone.

    Two tall products to look, and two to act. The ridge, of the size of the rounding of g^T g, keeps directions in
    which b is hardly more than that from being blown up to unit length: their columns are shorter than 1, and steps
    there shorter than they could be.
    """

    generator: Float[Tensor, "*b k k"]
    w: Float[Tensor, "*b m n"]
    g: Float[Tensor, "*b m n"]
    inside: Float[Tensor, "*b n n"]
    """w^T g."""
    inverse: Float[Tensor, "*b n n"]
    """L^-1."""

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
        lifted, g = w.to(dtype), g.to(dtype)
        return cls.with_products(lifted, g, Products.of(w, g, dtype), precision, w.dtype)

    @classmethod
    def with_products(
        cls,
        w: Float[Tensor, "*b m n"],
        g: Float[Tensor, "*b m n"],
        products: "Products",
        precision: Precision,
        given: torch.dtype,
    ) -> "Grams | None":
        """The same from products that are known, which may be those of more rows than w and g are of.

        Args:
            w, g: in the dtype of the products, which are used up.
            products: of the whole of w and g.
            precision: what is promised.
            given: dtype that w has been rounded to.
        """
        n, dtype = w.shape[-1], w.dtype
        gram, across = products.gg, products.wg
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
        upper = torch.cat([skew(inside), factor / -2], -1)
        lower = torch.cat([factor.mT / 2, torch.zeros_like(factor)], -1)
        generator = torch.cat([upper, lower], -2)
        if readable(w):
            cost = ridge * n**0.5 * torch.linalg.matrix_norm(inverse)
            value = torch.maximum(factor.diagonal(dim1=-2, dim2=-1).sum(-1), torch.linalg.matrix_norm(generator))
            # a NaN in g is let through, to come out at the other end
            if bool(failed.any()) or bool((cost > RIDGE_SHARE * GAP[precision] * value).any()):
                return None
        return cls(generator.to(given), w, g, inside, inverse)

    def inverse_squares(self) -> Float[Tensor, "*b"]:
        """About the sum of 1 / s^2 over the generator's singular values s.

        Its inverse is [[0, 2 L^-T], [-2 L^-1, 4 L^-1 K L^-T]] with K = skew(w^T g), the corner estimated as if K were
        oriented at random.
        """
        n = self.w.shape[-1]
        inverse = torch.linalg.matrix_norm(self.inverse).to(self.generator) ** 2
        inside = torch.linalg.matrix_norm(self.generator[..., :n, :n]) ** 2
        return 8 * inverse + 16 * inside * (inverse / n) ** 2

    def columns(self, c: Float[Tensor, "*b k k"]) -> Float[Tensor, "*b k n"]:
        return c[..., : self.w.shape[-1]]

    def act(
        self,
        c: Float[Tensor, "*b k n"],
        onto: Float[Tensor, "*b m n"] | None = None,
        scale: float = 1.0,
        also: Float[Tensor, "*b n n"] | None = None,
    ) -> Float[Tensor, "*b m n"]:
        """The same; `also` is another n x n matrix that w is multiplied with, from the right."""
        upper, lower = c.to(self.g.dtype).chunk(2, -2)
        outside = product(self.inverse.mT, lower)
        within = add_product(upper if also is None else upper + also, self.inside, outside, -1.0)
        start = product(self.w, within) * scale if onto is None else add_product(onto.to(self.w), self.w, within, scale)
        return add_product(start, self.g, outside, scale, space=start).to(c.dtype)

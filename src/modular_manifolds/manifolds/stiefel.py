"""Matrices whose singular values are all equal."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import (
    add_product,
    gram_error,
    lifted,
    looks_orthonormal,
    msign,
    near_polar,
    newton_schulz_polish,
    readable,
    rotation_exp,
    rotation_log,
    skew,
    sym,
    turn,
    working_dtype,
)
from modular_manifolds.manifolds.manifold import Manifold, check_radius


@dataclass(frozen=True)
class Stiefel(Manifold):
    """Matrices whose singular values all equal `radius`: W^T W = radius^2 I, or W W^T for wide ones."""

    radius: float = 1.0

    retraction_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_radius(self.radius)

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius times the polar factor of x. A rank-deficient x is completed, always in the same way."""
        if x.shape[-2] < x.shape[-1]:
            return self.project(x.mT).mT
        polar = msign(x.to(working_dtype(x.dtype)))
        if bool((Stiefel().violation(polar) < 1e-3).all()):
            return (self.radius * polar).to(x.dtype)
        haar = Stiefel().random(x.shape[-2:], generator=torch.Generator().manual_seed(0), device="cpu").to(polar)
        # in float32, one filling in some thousands is itself too close to singular on the null space of x
        for filling in (haar, haar.flip(-1)):
            missing = filling - polar @ (polar.mT @ filling)
            polar = msign(polar + missing - (missing @ polar.mT) @ polar)
        return (self.radius * polar).to(x.dtype)

    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """g - x sym(x^T g) / radius^2 (Edelman, Arias & Smith 1998, eq. 2.4); transposed for a wide x."""
        if x.shape[-2] < x.shape[-1]:
            return self.to_tangent(x.mT, g.mT).mT
        unit = x if self.radius == 1 else x / self.radius
        return add_product(g, unit, sym(unit.mT @ g), -1.0)

    @lifted
    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius times the polar factor of x + u, whose singular values are at least radius for a tangent u.

        On a CPU x + u is looked at first: after a small step it is its own polar factor, to rounding.
        """
        if x.shape[-2] < x.shape[-1]:
            return self.retract(x.mT, u.mT).mT
        moved = x + u
        unit = moved if self.radius == 1 else moved.div_(self.radius)
        if not (readable(unit) and looks_orthonormal(unit, 4 * torch.finfo(unit.dtype).eps)):
            unit = near_polar(unit)
        return unit if self.radius == 1 else unit.mul_(self.radius)

    @lifted
    def descend(
        self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], length: float | Tensor
    ) -> Float[Tensor, "*b m n"]:
        """By `retract`; for square matrices x R, with a rotation R next to the exponential of -length x^T gradient.

        That saves a product: only its generator, skew(x^T g), is needed of the gradient. On accelerators by `retract`.
        """
        if x.shape[-2] != x.shape[-1] or not readable(x):
            return super().descend(x, g, length)
        unit = x / self.radius
        return turn(unit, skew(unit.mT @ g).mul_(-length / self.radius)).mul_(self.radius)

    @lifted
    def exp(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Geodesic of the Frobenius metric (Edelman, Arias & Smith 1998, eq. 2.42).

        With x^T u = A and u = x A + Q R, for radius 1, it ends at [x, Q] exp([[2A, -R^T], [R, 0]]) [exp(-A); 0], which
        is their formula in an orthonormal basis, where only rotations are exponentiated; for a square x at x exp(A).
        """
        if x.shape[-2] < x.shape[-1]:
            return self.exp(x.mT, u.mT).mT
        n = x.shape[-1]
        x, u = x / self.radius, u / self.radius
        inside = skew(x.mT @ u)
        if x.shape[-2] == n:
            return self.polish(self.radius * (x @ rotation_exp(inside)))
        # where u - x A has not full rank, some columns of Q are arbitrary, and meet only zeros
        frame, outside = torch.linalg.qr(u - x @ inside)
        upper = torch.cat([2 * inside, -outside.mT], -1)
        lower = torch.cat([outside, torch.zeros_like(outside)], -1)
        turned = rotation_exp(torch.cat([upper, lower], -2))[..., :n] @ rotation_exp(-inside)
        return self.polish(self.radius * (torch.cat([x, frame], -1) @ turned))

    @lifted
    def log(self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """x times the logarithm of the rotation x^T y / radius^2, for square matrices.

        Raises:
            NoClosedFormError: the matrices are not square.
            ValueError: x and y are in different components (see `component`).
        """
        self._check_group(x.shape, "logarithm")
        if bool((self.component(x) * self.component(y) < 0).any()):
            raise ValueError(
                f"x and y of shape {tuple(x.shape)} are in different components of {self}, their determinants having "
                "opposite signs: no path joins them"
            )
        return x @ rotation_log((x / self.radius).mT @ (y / self.radius))

    @lifted
    def transport(
        self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        """x e^(A/2) B e^(A/2) with u = x A and v = x B, for square matrices.

        Raises:
            NoClosedFormError: the matrices are not square.
        """
        self._check_group(x.shape, "parallel transport")
        unit = x / self.radius
        half = rotation_exp(skew(unit.mT @ (u / self.radius)) / 2)
        return unit @ half @ (unit.mT @ v) @ half

    def component(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """Which component x is in: for a square x the sign of its determinant; otherwise 1, as there is only one.

        `retract`, `exp` and the steps of a geometry end continuous paths on the manifold, so that the component of the
        start decides: rotations stay rotations. `project` keeps the sign of the determinant, too.
        """
        if x.shape[-2] != x.shape[-1]:
            return x.new_ones(x.shape[:-2])
        return torch.linalg.det(x.to(working_dtype(x.dtype)) / self.radius).sign().to(x.dtype)

    def _check_group(self, shape: torch.Size, what: str) -> None:
        if shape[-2] != shape[-1]:
            raise self._no_closed_form(what, " of non-square matrices")

    def from_gaussian(self, normal: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Uniform: Q of the Gaussian, with the signs that make R's diagonal positive (Mezzadri 2007, section 5)."""
        if normal.shape[-2] < normal.shape[-1]:
            return self.from_gaussian(normal.mT).mT
        q, r = torch.linalg.qr(normal)
        return self.radius * q * torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).unsqueeze(-2)

    def spectral_bound(self, m: int, n: int) -> float:
        return self.radius

    def matrix_dimension(self, m: int, n: int) -> int:
        k = min(m, n)
        return m * n - k * (k + 1) // 2

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """Largest entry of |x^T x / radius^2 - I|, or of |x x^T / radius^2 - I| for a wide x."""
        if x.shape[-2] < x.shape[-1]:
            return self.violation(x.mT)
        off = self.gram_error(x.to(working_dtype(x.dtype))).abs().flatten(-2)
        return off.amax(-1) if off.shape[-1] else off.sum(-1)

    def polish(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """One quintic Newton-Schulz step towards the manifold: a violation d becomes about 0.3 d^3."""
        if x.shape[-2] < x.shape[-1]:
            return self.polish(x.mT).mT
        return newton_schulz_polish(x, self.gram_error(x))

    def gram_error(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b n n"]:
        """x^T x / radius^2 - I of a tall x."""
        return gram_error(x / self.radius)

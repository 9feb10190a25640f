"""How the nearest point of a manifold moves when the matrix moves that it is nearest to."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import eigenpairs, largest_entry, length, skew, sym, thin_svd
from modular_manifolds.manifolds import (
    DoublyStochastic,
    Euclidean,
    FixedRank,
    Grassmann,
    LowRankFactors,
    Manifold,
    NoClosedFormError,
    Oblique,
    Product,
    SpectralBall,
    SpectralBand,
    SpectralSphere,
    Sphere,
    Stiefel,
    SymmetricPositiveDefinite,
)

Rule = Callable[..., Tensor]
"""(manifold, x, p, u) -> the derivative of manifold.project at x along u, where p = manifold.project(x)."""

_rules: dict[type[Manifold], Rule] = {}


def register(*kinds: type[Manifold]) -> Callable[[Rule], Rule]:
    """Decorator that enters a rule for types of manifolds; a subclass, which may project otherwise, needs its own."""

    def enter(rule: Rule) -> Rule:
        _rules.update(dict.fromkeys(kinds, rule))
        return rule

    return enter


def projection_derivative(
    manifold: Manifold,
    x: Float[Tensor, "*b m n"],
    p: Float[Tensor, "*b m n"],
    u: Float[Tensor, "*b m n"],
) -> Float[Tensor, "*b m n"]:
    """Derivative at x, along u, of the nearest point p = manifold.project(x).

    project is the gradient of the convex function (||x||^2 - dist(x)^2) / 2 (Moreau), so its Jacobian is symmetric and
    this is the vector-Jacobian product as well. Where x has several nearest points there is no Jacobian; the directions
    along which p would jump then get zero. On a kink, such as the boundary of a ball, it is that of one side.

    Raises:
        NoClosedFormError: there is no rule for this type of manifold.
    """
    rule = _rules.get(type(manifold))
    if rule is None:
        kind, known = type(manifold).__name__, ", ".join(kind.__name__ for kind in _rules)
        raise NoClosedFormError(
            f"{manifold} has no known derivative of its projection, so no gradient can pass through it; {known} have "
            f"one. A rule for {kind} can be added with @modular_manifolds.projection_derivative.register({kind})"
        )
    return rule(manifold, x, p, u)


@register(Euclidean, LowRankFactors)
def _everywhere(manifold: Manifold, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
    return u.clone()


@register(Sphere)
def _sphere(manifold: Sphere, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
    """radius / ||x|| times the tangent part of u."""
    size = length(x)
    return manifold.radius * manifold.to_tangent(p, u) / size.masked_fill(size == 0, torch.inf)


@register(Oblique)
def _oblique(manifold: Oblique, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
    """As on the sphere, row by row."""
    size = length(x, manifold.along)
    return manifold.radius * manifold.to_tangent(p, u) / size.masked_fill(size == 0, torch.inf)


@register(Stiefel, Grassmann)
def _polar_factor(manifold: Stiefel | Grassmann, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
    """radius (q Omega + (I - q q^T) u H^-1) for x = q H, with the Omega for which H Omega + Omega H = 2 skew(q^T u)."""
    if x.shape[-2] < x.shape[-1]:
        return _polar_factor(manifold, x.mT, p.mT, u.mT).mT
    q = p / manifold.radius
    s, v = eigenpairs(q.mT @ x)
    turned = q.mT @ u
    moved = q @ v @ (2 * skew(v.mT @ turned @ v) / _resolved(_sums(s), s))
    if x.shape[-2] > x.shape[-1]:
        moved = moved + (u - q @ turned) @ v / _resolved(s.unsqueeze(-2), s)
    return manifold.radius * moved @ v.mT


@register(SpectralBall)
def _ball(manifold: SpectralBall, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
    return _by_singular_values(x, u, lambda s: s <= manifold.radius, lambda s: s.clamp(max=manifold.radius))


@register(SpectralBand)
def _band(manifold: SpectralBand, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
    low, high = manifold.low, manifold.high
    return _by_singular_values(x, u, lambda s: (s >= low) & (s <= high), lambda s: s.clamp(low, high))


@register(SpectralSphere)
def _spectral_sphere(manifold: SpectralSphere, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
    below = torch.arange(min(x.shape[-2:]), device=x.device) > 0  # the largest singular value always becomes radius
    return _by_singular_values(
        x,
        u,
        lambda s: below & (s <= manifold.radius),
        lambda s: torch.where(below, s.clamp(max=manifold.radius), manifold.radius),
    )


@register(FixedRank)
def _fixed_rank(manifold: FixedRank, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
    leading = torch.arange(min(x.shape[-2:]), device=x.device) < manifold.rank
    return _by_singular_values(x, u, lambda s: leading.expand_as(s), lambda s: torch.where(leading, s, 0.0))


@register(SymmetricPositiveDefinite)
def _positive_definite(manifold: SymmetricPositiveDefinite, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
    """V (D o V^T sym(u) V) V^T, with D as for singular values (Daleckii & Krein 1965)."""
    s, v = eigenpairs(x)
    slope = (s >= manifold.floor).to(s)
    return v @ (_divided_differences(s, s.clamp(min=manifold.floor), slope) * (v.mT @ sym(u) @ v)) @ v.mT


@register(DoublyStochastic)
def _doubly_stochastic(manifold: DoublyStochastic, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
    """The nearest matrix to u that is zero where p is, and whose rows and columns sum to 0: u + a 1^T + 1 b^T there."""
    free = (p > 0).double()
    wide = u.double() * free
    share = free / free.sum(-1, keepdim=True)
    laplacian = torch.diag_embed(free.sum(-2)) - free.mT @ share
    excess = wide.sum(-2) - (share.mT @ wide.sum(-1, keepdim=True))[..., 0]
    b = -torch.linalg.pinv(laplacian, hermitian=True) @ excess.unsqueeze(-1)
    a = -(wide.sum(-1, keepdim=True) + free @ b) / free.sum(-1, keepdim=True)
    return (wide + free * (a + b.mT)).to(u.dtype)


@register(Product)
def _product(manifold: Product, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
    return manifold.blocks.matrices(manifold.factors, projection_derivative, x, p, u)


def _by_singular_values(
    x: Tensor, u: Tensor, kept: Callable[[Tensor], Tensor], function: Callable[[Tensor], Tensor]
) -> Tensor:
    """Derivative of U f(s) V^T, where every f_i is either s_i itself (`kept`) or does not depend on s; in float64.

    With Z = U^T u V it is U (D o sym(Z) + S o skew(Z)) V^T + (I - U U^T) u V diag(f / s) V^T, where D_ij is
    (f_i - f_j) / (s_i - s_j) and S_ij is (f_i + f_j) / (s_i + s_j) (Noferini 2017).
    """
    if x.shape[-2] < x.shape[-1]:
        return _by_singular_values(x.mT, u.mT, kept, function).mT
    left, s, right = thin_svd(x)
    f, slope = function(s), kept(s).to(s)
    turned = u.double() @ right
    z = left.mT @ turned
    inside = _divided_differences(s, f, slope) * sym(z) + _quotients(_sums(f), _sums(s), s, _sums(slope) / 2) * skew(z)
    outside = (turned - left @ z) * _quotients(f.unsqueeze(-2), s.unsqueeze(-2), s, slope.unsqueeze(-2))
    return ((left @ inside + outside) @ right.mT).to(u.dtype)


def _divided_differences(s: Tensor, f: Tensor, slope: Tensor) -> Tensor:
    """(f_i - f_j) / (s_i - s_j), and the mean slope where s_i = s_j."""
    f_gap, s_gap = (t.unsqueeze(-1) - t.unsqueeze(-2) for t in (f, s))
    return _quotients(f_gap, s_gap, s, _sums(slope) / 2)


def _sums(t: Tensor) -> Tensor:
    """t_i + t_j."""
    return t.unsqueeze(-1) + t.unsqueeze(-2)


def _quotients(numerator: Tensor, denominator: Tensor, s: Tensor, otherwise: Tensor) -> Tensor:
    """numerator / denominator, or `otherwise` where the denominator is rounding error."""
    resolved = _resolved(denominator, s)
    return torch.where(resolved.isinf(), otherwise, numerator / resolved)


def _resolved(denominator: Tensor, s: Float[Tensor, "*b k"]) -> Tensor:
    """The denominator, or inf where it is rounding error beside the largest |s|: as small as what msign takes for 0."""
    floor = 1e-12 if s.dtype == torch.float64 else 1e-5
    return denominator.masked_fill(denominator.abs() <= floor * largest_entry(s.unsqueeze(-1)), torch.inf)

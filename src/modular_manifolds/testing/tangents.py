"""What a manifold promises of its tangent projection and its metric."""

import torch

from modular_manifolds.manifolds import Manifold
from modular_manifolds.testing.case import Case
from modular_manifolds.testing.check import Checks
from modular_manifolds.testing.samples import inner, interior, point, size, tangent

tangent_checks: Checks[Manifold] = Checks()


@tangent_checks.add(varied=True)
def tangent_projection_is_idempotent(case: Case[Manifold]) -> None:
    x, g = point(case), case.matrix(1)
    p = case.subject.to_tangent(x, g)
    case.same("change of a tangent vector by projection", case.subject.to_tangent(x, p), p, size(g))


@tangent_checks.add(varied=True)
def tangent_projection_is_linear(case: Case[Manifold]) -> None:
    """At a boundary it is so for nonnegative multiples only."""
    x, g, h = point(case), case.matrix(1), case.matrix(2)
    p, q = case.subject.to_tangent(x, g), case.subject.to_tangent(x, h)
    case.same("error of P(2 g) = 2 P(g)", case.subject.to_tangent(x, 2 * g), 2 * p, size(g))
    if not case.subject.conic:
        total = size(g) + size(h)
        case.same(
            "error of P(2 g - 3 h) = 2 P(g) - 3 P(h)", case.subject.to_tangent(x, 2 * g - 3 * h), 2 * p - 3 * q, total
        )


@tangent_checks.add(varied=True)
def tangent_projection_is_orthogonal(case: Case[Manifold]) -> None:
    """Self-adjoint; onto a cone, by Moreau's conditions: g - P(g) is at right angles to P(g), and to no P(h) acute."""
    x, g, h = point(case), case.matrix(1), case.matrix(2)
    p, q = case.subject.to_tangent(x, g), case.subject.to_tangent(x, h)
    # divided first, as the product of two sizes may leave the range of floats
    g, p = (t.double() / max(size(g), 1e-300) for t in (g, p))
    h, q = (t.double() / max(size(h), 1e-300) for t in (h, q))
    same = case.tolerance.same
    case.at_most("|<g - P(g), P(g)>| over |g|^2", inner(g - p, p).abs(), same)
    if case.subject.conic:
        case.at_most("<g - P(g), P(h)> over |g| |h|", inner(g - p, q), same)
        case.at_most(
            "|P(g) - P(h)| - |g - h| over |g| + |h|", (p - q).norm(dim=(-2, -1)) - (g - h).norm(dim=(-2, -1)), same
        )
    else:
        case.at_most("|<P(g), h> - <g, P(h)>| over |g| |h|", (inner(p, h) - inner(g, q)).abs(), same)


@tangent_checks.add()
def tangent_projection_can_be_prepared(case: Case[Manifold]) -> None:
    """`tangent_projection`, made once for a point and used for many vectors, is `to_tangent` there."""
    x = point(case)
    project = case.subject.tangent_projection(x)
    for number in (1, 2):
        g = case.gaussian(number)
        case.same("difference from to_tangent", project(g), case.subject.to_tangent(x, g), size(g))


@tangent_checks.add()
def gradient_represents_the_differential(case: Case[Manifold]) -> None:
    """inner(x, gradient, v) = <g, v> for tangent v. At a boundary, only inside."""
    manifold = case.subject
    x, g = interior(case), case.gaussian(2)
    v = tangent(case, x)
    gradient = manifold.gradient(x, g)
    case.same("what sticks out of the tangent space", manifold.to_tangent(x, gradient), gradient, size(g))
    paired = inner(manifold.whiten(x, gradient), manifold.whiten(x, v))
    unit = size(manifold.whiten(x, gradient)) * size(manifold.whiten(x, v)) + size(g) * size(v)
    case.same("error of <gradient, v>_x = <g, v>", paired, inner(g, v), unit)
    case.same("error of inner", manifold.inner(x, gradient, v), paired, unit)


@tangent_checks.add()
def inner_product_is_positive(case: Case[Manifold]) -> None:
    x = point(case)
    u, v = tangent(case, x), tangent(case, x, 2)
    case.same("asymmetry", case.subject.inner(x, u, v), case.subject.inner(x, v, u))
    square = case.subject.inner(x, u, u)
    some = inner(u, u) > 0
    case.at_least("square of a length", square[some], torch.finfo(case.dtype).tiny)


@tangent_checks.add()
def whitening_is_invertible(case: Case[Manifold]) -> None:
    manifold = case.subject
    x = point(case)
    v = tangent(case, x)
    case.same("error of unwhiten(whiten(v)) = v", manifold.unwhiten(x, manifold.whiten(x, v)), v)
    case.same("error of whiten(unwhiten(v)) = v", manifold.whiten(x, manifold.unwhiten(x, v)), v)


@tangent_checks.add()
def whitening_is_self_adjoint(case: Case[Manifold]) -> None:
    x = point(case)
    u, v = tangent(case, x), tangent(case, x, 2)
    for name, map in (("whiten", case.subject.whiten), ("unwhiten", case.subject.unwhiten)):
        a, b = map(x, u), map(x, v)
        unit = size(a) * size(v) + size(u) * size(b)
        case.same(f"error of <{name}(u), v> = <u, {name}(v)>", inner(a, v), inner(u, b), unit)

"""What a manifold promises of its exponential, logarithm, distance and transport, where they have a closed form.

Points are compared by their distance, as several matrices may stand for one point.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.manifolds import Manifold, NoClosedFormError
from modular_manifolds.testing.case import Case
from modular_manifolds.testing.check import Checks
from modular_manifolds.testing.samples import flat, inner, interior, size, tangent
from modular_manifolds.testing.slopes import order
from modular_manifolds.testing.tolerances import FIRST_ORDER

geodesic_checks: Checks[Manifold] = Checks()

SMOOTH = 1e-5
"""Largest relative error of a derivative by differences."""


def departure(case: Case[Manifold]) -> tuple[Float[Tensor, "*b m n"], Float[Tensor, "*b m n"]]:
    """A point and a tangent vector along which the geodesic stays on the manifold, also where this has an edge.

    With a logarithm, that is half of one; otherwise, on a manifold with boundary, one of a few that end before it.
    """
    manifold = case.subject
    x = interior(case)
    u = 0.4 * tangent(case, x)
    try:
        return x, manifold.log(x, manifold.retract(x, u)) / 2
    except NoClosedFormError:
        for _ in range(10 if manifold.conic else 0):
            if bool((manifold.violation(manifold.exp(x, u)) > case.tolerance.on).any()):
                u = u / 2
        return x, u


@geodesic_checks.add(optional=True)
def exp_stays_on_the_manifold(case: Case[Manifold]) -> None:
    x, u = departure(case)
    case.at_most("violation", case.subject.violation(case.subject.exp(x, u)), case.tolerance.on)
    case.same("change by exp of 0", case.subject.exp(x, torch.zeros_like(x)), x)


@geodesic_checks.add(exact=True, optional=True)
def exp_starts_along_its_tangent(case: Case[Manifold]) -> None:
    x, u = departure(case)
    slope = order(lambda t: size(case.subject.exp(x, t * u) - x - t * u), size(x))
    case.at_least("order of |exp(x, t u) - x - t u|", slope, FIRST_ORDER)


@geodesic_checks.add(exact=True, optional=True)
def exp_follows_a_geodesic(case: Case[Manifold]) -> None:
    """Of constant speed; and, in the Frobenius metric, accelerated at right angles to the tangent space only."""
    manifold = case.subject
    x, u = departure(case)
    h = 1e-3
    speed = manifold.inner(x, u, u).sqrt()
    for t in (0.0, 0.6):
        before, here, after = (manifold.exp(x, (t + s) * u) for s in (-h, 0.0, h))
        velocity = manifold.to_tangent(here, (after - before) / (2 * h))
        change = (manifold.inner(here, velocity, velocity).sqrt() - speed).abs()
        case.at_most("change of the speed, over |x|", change / size(x), 10 * SMOOTH)
        if flat(manifold, x, u):
            bend = manifold.to_tangent(here, (after - 2 * here + before) / h**2)
            case.at_most("acceleration along the manifold, over |x|", size(bend) / size(x), 10 * SMOOTH)


@geodesic_checks.add(optional=True)
def log_inverts_exp(case: Case[Manifold]) -> None:
    x, u = departure(case)
    case.same("error of log(x, exp(x, u)) = u", case.subject.log(x, case.subject.exp(x, u)), u, size(x))


@geodesic_checks.add(optional=True)
def exp_inverts_log(case: Case[Manifold]) -> None:
    manifold = case.subject
    x = interior(case)
    y = manifold.retract(x, 0.4 * tangent(case, x))
    u = manifold.log(x, y)
    if not manifold.conic:
        case.same("what of the logarithm is not tangent", manifold.to_tangent(x, u), u, size(x))
    missed = manifold.distance(manifold.exp(x, u), y)
    unit = max(size(x), size(manifold.whiten(x, x)))
    case.at_most("distance of exp(x, log(x, y)) from y, over |x|", missed / unit, case.tolerance.same)


@geodesic_checks.add(optional=True)
def distance_is_the_length_of_log(case: Case[Manifold]) -> None:
    manifold = case.subject
    x = interior(case)
    y = manifold.retract(x, 0.4 * tangent(case, x))
    d = manifold.distance(x, y)
    case.holds(f"distance has the shape {case.shape[:-2]}", d.shape == case.shape[:-2])
    u = manifold.whiten(x, manifold.log(x, y)).double()
    case.same("error of distance(x, y) = |log(x, y)|", d, u.norm(dim=(-2, -1)))


@geodesic_checks.add(optional=True)
def distance_is_a_metric(case: Case[Manifold]) -> None:
    manifold = case.subject
    x = interior(case)
    u = tangent(case, x)
    y, z = manifold.retract(x, 0.4 * u), manifold.retract(x, 0.2 * u + 0.3 * tangent(case, x, 2))
    xy, yz, xz = (manifold.distance(a, b).double() for a, b in ((x, y), (y, z), (x, z)))
    unit = max(size(x), float(xy.max()))
    case.same("asymmetry", manifold.distance(y, x), xy, unit)
    case.at_most("excess over the way round a third point", xz - xy - yz, case.tolerance.same * unit)
    case.at_most("distance of a point from itself, over |x|", manifold.distance(x, x) / unit, case.tolerance.same)
    if manifold.dimension(case.shape) > 0:
        case.at_least("distance of different points", xy, 1e-3 * unit)


@geodesic_checks.add(optional=True)
def transport_is_tangent_and_linear(case: Case[Manifold]) -> None:
    manifold = case.subject
    x, u = departure(case)
    v, w = tangent(case, x, 2), tangent(case, x, 3)
    tv, tw = manifold.transport(x, u, v), manifold.transport(x, u, w)
    y = manifold.exp(x, u)
    if not manifold.conic:
        case.same("what of a transported vector is not tangent", manifold.to_tangent(y, tv), tv, size(v))
    both = manifold.transport(x, u, 2 * v - 3 * w)
    case.same("error of T(2 v - 3 w) = 2 T(v) - 3 T(w)", both, 2 * tv - 3 * tw, size(v) + size(w))
    case.same("change by transport along 0", manifold.transport(x, torch.zeros_like(u), v), v)


@geodesic_checks.add(optional=True)
def transport_is_isometric(case: Case[Manifold]) -> None:
    manifold = case.subject
    x, u = departure(case)
    v, w = tangent(case, x, 2), tangent(case, x, 3)
    y = manifold.exp(x, u)
    before = [manifold.whiten(x, a) for a in (v, w)]
    after = [manifold.whiten(y, manifold.transport(x, u, a)) for a in (v, w)]
    unit = size(before[0]) * size(before[1])
    case.same("change of an inner product", inner(*after), inner(*before), unit)


@geodesic_checks.add(exact=True, optional=True)
def transport_carries_the_velocity_along(case: Case[Manifold]) -> None:
    manifold = case.subject
    x, u = departure(case)
    h = 1e-4
    velocity = (manifold.exp(x, (1 + h) * u) - manifold.exp(x, (1 - h) * u)) / (2 * h)
    error = size(manifold.transport(x, u, u) - velocity) / size(x)
    case.at_most("difference of the transported and the end velocity, over |x|", error, SMOOTH)


@geodesic_checks.add(exact=True, optional=True)
def transport_is_parallel(case: Case[Manifold]) -> None:
    """In the Frobenius metric: along the way, a transported vector changes at right angles to the tangent space."""
    manifold = case.subject
    x, u = departure(case)
    v = tangent(case, x, 2)
    h = 1e-4
    for t in (0.0, 0.6) if flat(manifold, x, u) else ():
        before, after = (manifold.transport(x, (t + s) * u, v) for s in (-h, h))
        turned = manifold.to_tangent(manifold.exp(x, t * u), (after - before) / (2 * h))
        case.at_most("change along the manifold, over |x|", size(turned) / size(x), SMOOTH)

"""What a manifold promises of its points: where they are, which is nearest, and how many dimensions they have."""

import torch

from modular_manifolds.linalg import length, normalise
from modular_manifolds.manifolds import Manifold, NoClosedFormError
from modular_manifolds.testing.case import Case
from modular_manifolds.testing.check import Checks
from modular_manifolds.testing.samples import interior, numbers, point, size, tangent
from modular_manifolds.testing.slopes import order
from modular_manifolds.testing.tolerances import FIRST_ORDER

point_checks: Checks[Manifold] = Checks()


@point_checks.add()
def random_points_are_on_the_manifold(case: Case[Manifold]) -> None:
    x = interior(case)
    case.holds(f"random makes {case.dtype}", x.dtype == case.dtype)
    case.holds(f"random makes the shape {case.shape}, not {tuple(x.shape)}", x.shape == case.shape)
    case.at_most("violation of a random point", case.subject.violation(x), case.tolerance.on)


@point_checks.add()
def random_points_follow_the_generator(case: Case[Manifold]) -> None:
    x = interior(case)
    case.holds("one seed makes one point", torch.equal(x, interior(case)))
    if case.subject.dimension(case.shape) > 0:
        case.holds("other seeds make other points", not torch.equal(x, interior(case, 1)))


@point_checks.add(varied=True)
def projection_lands_on_the_manifold(case: Case[Manifold]) -> None:
    y = case.subject.project(case.matrix())
    case.at_most("violation of a projection", case.subject.violation(y), case.tolerance.on)


@point_checks.add(varied=True)
def projection_is_idempotent(case: Case[Manifold]) -> None:
    y = case.subject.project(case.matrix())
    case.same("change of a projection by another one", case.subject.project(y), y)


@point_checks.add()
def projection_leaves_points_alone(case: Case[Manifold]) -> None:
    x = interior(case)
    case.same("change of a point by projection", case.subject.project(x), x)


@point_checks.add(varied=True)
def projection_is_nearest(case: Case[Manifold]) -> None:
    """Against points anywhere, points nearby, and those that lie towards the matrix projected."""
    manifold = case.subject
    x = case.matrix()
    y = manifold.project(x)
    towards = manifold.to_tangent(y, normalise(x - y)) * length(y)
    nearby = [towards, *(tangent(case, y, number) for number in range(1, 5))]
    others = [interior(case, number) for number in range(1, 5)]
    # what is only open has no nearest point but as project sees it
    others += [manifold.project(manifold.retract(y, t * u)) for u in nearby for t in (1e-3, 0.1)]
    distance = length((x - y).double())
    slack = case.tolerance.same * (length(x.double()) + size(others[0]))
    for other in others:
        excess = distance - length((x - other).double())
        case.at_most("how much nearer another point is, relative to all sizes", excess / slack, 1.0)


@point_checks.add(exact=True)
def projection_differentiates_to_the_tangent_projection(case: Case[Manifold]) -> None:
    """project(x + t g) and project(x + t to_tangent(x, g)) are one point up to t^2, for every g.

    That says which vectors are tangent without any formula for the constraint. Points are compared by their distance,
    if that has a closed form, as several matrices may stand for one point.
    """
    manifold = case.subject

    def slope(number: int) -> float:
        x, g = interior(case, number), case.gaussian(number + 1)
        g, v = g / size(g) * size(x), manifold.to_tangent(x, g) / size(g) * size(x)

        def error(t: float) -> float:
            y, z = manifold.project(x + t * g), manifold.project(x + t * v)
            try:
                return float(manifold.distance(y, z).max())
            except NoClosedFormError:
                return size(y - z)

        return order(error, size(x))

    best = max(slope(number) for number in numbers(manifold))
    case.at_least("order at which normal parts of a displacement are lost", best, FIRST_ORDER)


@point_checks.add(exact=True)
def tangent_vectors_stay_on_the_manifold_to_first_order(case: Case[Manifold]) -> None:

    def slope(number: int) -> float:
        x = point(case, number)
        u = tangent(case, x)
        return order(lambda t: size(case.subject.project(x + t * u) - x - t * u), size(x))

    best = max(slope(number) for number in numbers(case.subject))
    case.at_least("order of the distance of x + t u from the manifold", best, FIRST_ORDER)


@point_checks.add(exact=True, effort=0.5)
def dimension_is_that_of_the_tangent_space(case: Case[Manifold]) -> None:
    """Or of the smallest space with the whole tangent cone in it."""
    m, n = case.shape[-2:]
    x = interior(case)[(0,) * len(case.shape[:-2])]
    axes = torch.eye(m * n, dtype=x.dtype).reshape(-1, m, n)
    both = torch.cat([axes, -axes])
    vectors = case.subject.to_tangent(x.expand_as(both), both).flatten(-2)
    rank = int(torch.linalg.matrix_rank(vectors, rtol=1e-8)) if size(vectors) > 1e-8 else 0
    claimed = case.subject.dimension((m, n))
    case.holds(f"the tangent space has dimension {claimed}, but {rank}", claimed == rank)
    case.holds("dimensions of a batch add up", case.subject.dimension((3, 2, m, n)) == 6 * claimed)


@point_checks.add()
def violation_tells_what_is_off(case: Case[Manifold]) -> None:
    """Of matrices that projection moves far, and of Gaussian ones where the manifold has fewer dimensions than they."""
    manifold = case.subject
    x = point(case)
    case.at_most("violation of a point", manifold.violation(x), case.tolerance.on)
    y = 2 * x + length(x).to(x.dtype) * case.gaussian(1) / (case.shape[-1] * case.shape[-2]) ** 0.5
    off = manifold.violation(y)
    case.holds(f"violation has the shape {case.shape[:-2]}", off.shape == case.shape[:-2])
    moved = (length((manifold.project(y) - y).double()) / length(y.double()))[..., 0, 0]
    fewer = manifold.dimension(case.shape[-2:]) < case.shape[-1] * case.shape[-2]
    far = (moved > 0.1) | torch.tensor(fewer)
    case.at_least("violation of a matrix that is off", off[far], 2 * case.tolerance.on)

"""What a manifold promises of its retraction."""

from math import inf

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck

from modular_manifolds.manifolds import Manifold, NoClosedFormError
from modular_manifolds.testing.case import Case
from modular_manifolds.testing.check import Checks
from modular_manifolds.testing.samples import flat, interior, numbers, point, size, tangent
from modular_manifolds.testing.slopes import order
from modular_manifolds.testing.tolerances import FIRST_ORDER, SECOND_ORDER

retraction_checks: Checks[Manifold] = Checks()


@retraction_checks.add()
def retraction_lands_on_the_manifold(case: Case[Manifold]) -> None:
    """However long the way."""
    x = point(case)
    u = tangent(case, x)
    for t in (1e-3, 1.0, 30.0):
        landed = case.subject.violation(case.subject.retract(x, t * u))
        case.at_most(f"violation after {t:g} times the size of x", landed, case.tolerance.on)


@retraction_checks.add()
def retraction_of_zero_stays(case: Case[Manifold]) -> None:
    x = point(case)
    case.same("change by a retraction of 0", case.subject.retract(x, torch.zeros_like(x)), x)


@retraction_checks.add(exact=True)
def retraction_starts_along_its_tangent(case: Case[Manifold]) -> None:
    def slope(number: int) -> float:
        x = point(case, number)
        u = tangent(case, x)
        return order(lambda t: size(case.subject.retract(x, t * u) - x - t * u), size(x))

    best = max(slope(number) for number in numbers(case.subject))
    case.at_least("order of |retract(x, t u) - x - t u|", best, FIRST_ORDER)


@retraction_checks.add(exact=True)
def retraction_is_of_the_order_it_claims(case: Case[Manifold]) -> None:
    """Where `retraction_order` is 2: it follows the geodesic, or bends in normal directions only, up to t^3.

    A manifold whose metric is not the Frobenius inner product is only checked where it has an exponential.
    """
    manifold = case.subject

    def from_exp(x: Tensor, u: Tensor) -> Tensor:
        return manifold.retract(x, u) - manifold.exp(x, u)

    def tangential(x: Tensor, u: Tensor) -> Tensor:
        # at a boundary, what is bent inwards is normal: against it, no direction in the cone is acute
        return manifold.to_tangent(x, x + u - manifold.retract(x, u))

    def slope(number: int) -> float:
        x = point(case, number)
        u = tangent(case, x)
        straight = manifold.conic or not _has_exp(manifold, x)
        if straight and not flat(manifold, x, u):
            return inf
        error = tangential if straight else from_exp
        return order(lambda t: size(error(x, t * u)), size(x))

    if manifold.retraction_order == 2:
        best = max(slope(number) for number in numbers(manifold))
        case.at_least("order of what leads away from the geodesic", best, SECOND_ORDER)


@retraction_checks.add(exact=True, effort=0.5)
def retraction_has_the_gradient_it_returns(case: Case[Manifold]) -> None:
    """By gradcheck, with respect to coordinates of the tangent vector; unless the result has no gradient at all."""
    manifold = case.subject
    x = interior(case)
    axes = torch.stack([tangent(case, x, number) for number in (1, 2, 3)], -1)

    def retract(coordinates: Tensor) -> Tensor:
        return manifold.retract(x, axes @ coordinates)

    start = torch.tensor([0.1, -0.05, 0.02], dtype=x.dtype, requires_grad=True)
    if retract(start).requires_grad:
        try:
            gradcheck(retract, (start,), eps=1e-6, atol=1e-6 * size(x), rtol=1e-5, fast_mode=True)
        except GradcheckError as error:
            case.fail(" ".join(str(error).split()))


def _has_exp(manifold: Manifold, x: Tensor) -> bool:
    try:
        manifold.exp(x, torch.zeros_like(x))
    except NoClosedFormError:
        return False
    return True

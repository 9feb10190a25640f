"""What a norm promises of its lengths, its dual lengths and its LMO."""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import largest_entry, length
from modular_manifolds.norms import Norm
from modular_manifolds.testing.case import Case
from modular_manifolds.testing.check import Checks
from modular_manifolds.testing.samples import inner
from modular_manifolds.testing.tolerances import SCALES

axiom_checks: Checks[Norm] = Checks()


def lengths(case: Case[Norm], x: Float[Tensor, "*b m n"]) -> list[tuple[str, Float[Tensor, "*b"]]]:
    """The norm and the dual norm, by name, in float64."""
    return [("norm", case.subject.norm(x).double()), ("dual", case.subject.dual(x).double())]


@axiom_checks.add(varied=True)
def norm_is_positive(case: Case[Norm]) -> None:
    """Of everything but zero."""
    u = case.matrix()
    for name, value in lengths(case, u):
        some = largest_entry(u)[..., 0, 0] * (u != 0).any(-1).any(-1)
        case.at_least(f"least {name} where an entry is not zero", value[some > 0], torch.finfo(u.dtype).tiny)
        case.holds(f"the {name} of zero is zero", bool((value[some == 0] == 0).all()))


@axiom_checks.add(varied=True)
def norm_is_homogeneous(case: Case[Norm]) -> None:
    u = case.matrix()
    for factor in (-1.0, 0.0, 3.0, 1e-3):
        for (name, value), (_, unit) in zip(lengths(case, factor * u), lengths(case, u), strict=True):
            error = (value - abs(factor) * unit).abs()
            case.at_most(f"error of {name}({factor:g} u)", error, case.tolerance.same * abs(factor) * unit)


@axiom_checks.add(varied=True)
def norm_obeys_the_triangle_inequality(case: Case[Norm]) -> None:
    """For two matrices, and for one cut into two that have no entry in common."""
    u, v = case.matrix(), case.matrix(1)
    here = case.gaussian(2) > 0
    for x, y in ((u, v), (u, -v), (u, 1e-3 * v), (u * here, u * ~here)):
        for (name, value), (_, one), (_, other) in zip(
            lengths(case, x + y), lengths(case, x), lengths(case, y), strict=True
        ):
            excess = value - one - other
            case.at_most(f"{name}(u + v) - {name}(u) - {name}(v)", excess, case.tolerance.same * (one + other))


@axiom_checks.add(varied=True)
def dual_norm_bounds_inner_products(case: Case[Norm]) -> None:
    """Hölder's inequality, on matrices at random and close to the best: the dual norm is large enough."""
    g = case.matrix()
    best, dual = case.subject.lmo(g), case.subject.dual(g).double()
    unit = largest_entry(best)
    for size in (0.0, 1e-3, 0.1, 1e3):
        u = best + size * unit * case.gaussian(1)
        # g has any size, and is divided by it first: a product of two may leave the range of floats
        product = inner(g.double() / largest_entry(g.double()), u).abs() * largest_entry(g.double())[..., 0, 0]
        bound = dual * case.subject.norm(u).double()
        case.at_most("|<g, u>| beside dual(g) norm(u)", product, bound * (1 + case.tolerance.same))


@axiom_checks.add(varied=True)
def lmo_attains_the_dual_norm(case: Case[Norm]) -> None:
    """On the unit ball: the dual norm is not too large. Zero where the gradient is."""
    g = case.matrix()
    a, dual = case.subject.lmo(g), case.subject.dual(g).double()
    case.at_most("norm of the LMO, less 1", case.subject.norm(a) - 1, case.tolerance.same)
    scale = largest_entry(g.double())[..., 0, 0]
    value = -inner(g.double() / largest_entry(g.double()), a) * scale
    case.at_most("dual(g) + <g, lmo(g)>", (dual - value).abs(), case.tolerance.same * dual)
    free = a[(g == 0).all(-1).all(-1)]
    case.holds("the LMO of zero is zero", torch.equal(free, torch.zeros_like(free)))


@axiom_checks.add(varied=True)
def lmo_does_not_depend_on_scale(case: Case[Norm]) -> None:
    """By what it attains, as several may be equally good."""
    g = (case.matrix().double() / case.scale).to(case.dtype)
    value = -inner(g, case.subject.lmo(g))
    for scale in SCALES:
        error = (-inner(g, case.subject.lmo(scale * g)) - value).abs()
        case.at_most(f"change of <g, lmo(g)> at scale {scale:g}", error, case.tolerance.same * value)


@axiom_checks.add(varied=True)
def ball_projection_is_nearest(case: Case[Norm]) -> None:
    """If the norm has one: <u - p, q - p> <= 0 for every q in the ball, the variational inequality of convex sets."""
    try:
        p = case.subject.to_ball(case.matrix())
    except NotImplementedError:
        return
    u = case.matrix()
    case.at_most("norm of the projection, less 1", case.subject.norm(p) - 1, case.tolerance.same)
    scale = largest_entry(u.double())
    rest = (u.double() - p.double()) / scale
    for q in (case.subject.lmo(-rest.to(u.dtype)), case.subject.lmo(case.gaussian(1)), torch.zeros_like(p)):
        excess = inner(rest, q.double() - p.double())
        unit = (length(u.double() / scale) * (length(q.double()) + length(p.double())))[..., 0, 0]
        case.at_most("<u - p, q - p> of a q in the ball", excess, case.tolerance.same * unit)
    inside = u / (2 * case.subject.norm(u)).clamp(min=1)[..., None, None].to(u.dtype)
    case.same("change of a matrix in the ball", case.subject.to_ball(inside), inside)

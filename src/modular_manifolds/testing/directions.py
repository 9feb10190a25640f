"""What a geometry promises of its directions and its steps."""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.geometry import Geometry
from modular_manifolds.linalg import largest_entry, length
from modular_manifolds.testing.case import Case
from modular_manifolds.testing.check import Checks
from modular_manifolds.testing.dual_bound import dual_bound
from modular_manifolds.testing.matrices import gaussian
from modular_manifolds.testing.samples import inner, normal_gradient, numbers, size, to_boundary
from modular_manifolds.testing.slopes import order
from modular_manifolds.testing.tolerances import FIRST_ORDER, SCALES

direction_checks: Checks[Geometry] = Checks()

INDEPENDENT = 1e-5
"""What the search for an independent bound may leave."""


def weight(case: Case[Geometry], number: int = 0) -> Float[Tensor, "*b m n"]:
    """A random point, or one on the boundary, as in checks of manifolds."""
    generator = torch.Generator().manual_seed(1000 * case.seed + number)
    w = case.subject.manifold.random(case.shape, generator=generator, dtype=case.dtype)
    return to_boundary(case.subject.manifold, w, case.seed + number)


def gradient(case: Case[Geometry], w: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
    """Of the case's spectrum and scale; one seed in four has it nearly normal, and another one nearly along w."""
    g = case.matrix(1).double() / case.scale
    match case.seed % 4:
        case 1:
            g = 1e-2 * g + normal_gradient(case.subject.manifold, w.double(), gaussian(case.shape, case.seed))
        case 2:
            g = w.double() + 1e-2 * g
    return (g * case.scale).to(w.dtype)


@direction_checks.add(varied=True)
def direction_is_feasible(case: Case[Geometry]) -> None:
    """Tangent, and at most as long as 1 in whitened coordinates."""
    if _hidden(case):
        return
    w = weight(case)
    a = case.subject.lmo(w, gradient(case, w))
    certificate = case.subject.certificate(w, a, a)
    case.at_most("norm of the direction, less 1", certificate.norm - 1, case.tolerance.same)
    case.at_most("what sticks out of the tangent space", certificate.tangency, case.tolerance.same)


@direction_checks.add(varied=True)
def direction_is_optimal(case: Case[Geometry]) -> None:
    """By its certificate, the numbers of which are checked, too. Up to what rounding of g and a hides."""
    if _hidden(case):
        return
    manifold, norm = case.subject.manifold, case.subject.norm
    w = weight(case)
    g = gradient(case, w)
    a = case.subject.lmo(w, g)
    certificate = case.subject.certificate(w, g, a)
    unit = largest_entry(g.double())
    bound, attained = (field / unit[..., 0, 0] for field in (certificate.upper_bound, certificate.value))
    whole = norm.dual(manifold.unwhiten(w.double(), g.double() / unit))
    rounding = 8 * torch.finfo(case.dtype).eps * whole
    case.at_most("bound less what is attained", bound - attained, case.tolerance.gap * bound + rounding)
    case.at_most("what is attained beyond the bound", attained - bound, case.tolerance.same * bound + rounding)
    case.at_least("decrease", attained + rounding, 0.0)
    error = (attained + inner(g.double() / unit, a)).abs()
    case.at_most("error of the certified value", error, 1e-9 * whole)
    gap = (certificate.gap - ((bound - attained) / bound).nan_to_num()).abs()[bound > 1e-3 * whole]
    case.at_most("error of the certified gap", gap, 1e-9)


@direction_checks.add(exact=True, effort=0.3)
def direction_meets_an_independent_bound(case: Case[Geometry]) -> None:
    """One that knows the norm's dual and the tangent projection only. For the first matrix of a batch."""
    first = (0,) * len(case.shape[:-2])
    w, g = weight(case)[first], case.gaussian(1)[first]
    value, bound = -inner(g, case.subject.lmo(w, g)), dual_bound(case.subject, w, g)
    resolution = 1e-9 * size(g)
    gap = max(case.tolerance.gap, INDEPENDENT)
    case.at_most("independent bound less what is attained", bound - value, gap * bound + resolution)
    case.at_most("what is attained beyond an independent bound", value - bound, resolution)


@direction_checks.add(exact=True)
def no_tangent_direction_does_better(case: Case[Geometry]) -> None:
    """At random, and close to the best."""
    w = weight(case)
    g = case.gaussian(1)
    best = case.subject.lmo(w, g)
    value = -inner(g, best)
    unit = length(best).clamp(min=1e-3)
    for distance in (1e-6, 1e-3, 0.1, 1e3):
        for number in range(2, 6):
            other = best + distance * unit * case.gaussian(number)
            u = case.subject.manifold.to_tangent(w, other)
            long = case.subject.norm(case.subject.manifold.whiten(w, u))
            excess = -inner(g, u) - value * long * (1 + case.tolerance.gap)
            case.at_most("excess of another direction", excess, case.tolerance.same * size(g) * size(other))


@direction_checks.add()
def direction_does_not_depend_on_scale(case: Case[Geometry]) -> None:
    """By what it attains, as several may be equally good."""
    w = weight(case)
    g = case.gaussian(1)
    a = case.subject.lmo(w, g)
    value, rounding = -inner(g, a), case.tolerance.same * size(g) * size(a)
    for scale in SCALES:
        error = (-inner(g, case.subject.lmo(w, scale * g)) - value).abs()
        case.at_most(f"change of <g, lmo(g)> at scale {scale:g}", error, 2 * case.tolerance.gap * value + rounding)


@direction_checks.add()
def direction_of_zero_is_zero(case: Case[Geometry]) -> None:
    """And a step along it goes nowhere."""
    w = weight(case)
    zero = torch.zeros_like(w)
    case.holds("the direction of a zero gradient is zero", torch.equal(case.subject.lmo(w, zero), zero))
    certificate = case.subject.certificate(w, zero, zero)
    case.holds("so is every field of its certificate", all(bool((field == 0).all()) for field in certificate))
    case.same("change by a step along it", case.subject.step(w, zero, 0.5), w)


@direction_checks.add()
def direction_of_a_normal_gradient_is_zero(case: Case[Geometry]) -> None:
    """And not its rounding error, scaled up to full length. Not in bfloat16, whose rounding is no small part of it."""
    if case.dtype == torch.bfloat16:
        return
    w = weight(case)
    for scale in (1.0, 0.7e-20):
        g = scale * normal_gradient(case.subject.manifold, w, case.gaussian(1))
        a = case.subject.lmo(w, g)
        case.at_most("largest entry of the direction", a.abs(), 0.0)


@direction_checks.add()
def step_lands_on_the_manifold(case: Case[Geometry]) -> None:
    w = weight(case)
    g = case.gaussian(1)
    for lr in (1e-3, 0.1, torch.tensor(2.0)):
        landed = case.subject.manifold.violation(case.subject.step(w, g, lr))
        case.at_most(f"violation after a step of {float(lr):g}", landed, case.tolerance.on)
    case.same("change by a step of 0", case.subject.step(w, g, 0.0), w)


@direction_checks.add(exact=True)
def step_follows_the_direction(case: Case[Geometry]) -> None:
    def slope(number: int) -> float:
        w, g = weight(case, number), case.gaussian(number + 1)
        a = case.subject.lmo(w, g)
        unit = size(w) / size(a) if size(a) > 0 else 1.0
        return order(lambda t: size(case.subject.step(w, g, t * unit) - w - t * unit * a), size(w))

    best = max(slope(number) for number in numbers(case.subject.manifold))
    case.at_least("order of |step(w, g, lr) - w - lr lmo(w, g)|", best, FIRST_ORDER)


@direction_checks.add(exact=True)
def step_decreases(case: Case[Geometry]) -> None:
    """The linear part of the loss, for short steps, by about as much as the direction says."""
    w = weight(case)
    g = case.gaussian(1)
    a = case.subject.lmo(w, g)
    lr = 1e-5 * size(w) / size(a) if size(a) > 0 else 1.0
    promised = -inner(g, a)
    resolution = size(g) * (1e-6 * size(a) + 1e-13 * size(w) / lr)
    case.at_least(
        "decrease, beside half of what is promised",
        -inner(g, case.subject.step(w, g, lr) - w) / lr - promised / 2,
        -resolution,
    )


def _hidden(case: Case[Geometry]) -> bool:
    """Whether the rounding of a bfloat16 weight is larger than all that is tangent: where nothing is."""
    return case.dtype == torch.bfloat16 and case.subject.manifold.dimension(case.shape) == 0

"""Any pair by projections alone, for where no closed form is known.

The problem is to minimise <G, A> over the intersection of two convex sets, the norm's unit ball and the tangent space
or cone T, whose nearest points are known: `Norm.to_ball` and `Manifold.to_tangent`. Douglas-Rachford splitting (Lions &
Mercier 1979; over-relaxed, Eckstein & Bertsekas 1992) finds it from Z alone:

    A = to_ball(Z - G / rho),   B = to_tangent(2 A - Z),   Z <- Z + relaxation (B - A).

2 A - Z - B is normal to T: rho times it, N, makes ||G + N||_dual an upper bound on -<G, A> over all tangent A of unit
length, by weak duality. A made tangent, and shortened to fit, is a lower one. The gap between them is what stops.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from modular_manifolds.linalg import Precision, drop_rounding, largest_entry
from modular_manifolds.lmo.solver import Solver
from modular_manifolds.manifolds import Manifold
from modular_manifolds.norms import Norm


class Solution(NamedTuple):
    """The best found for every matrix of a batch."""

    a: Float[Tensor, "*b m n"]
    """Tangent, of norm at most 1."""
    bound: Float[Tensor, "*b"]
    """Upper bound on -<g, A> over all of those."""
    value: Float[Tensor, "*b"]
    """-<g, a>."""
    memory: Float[Tensor, "*b m n"]
    """Z, at which to start when w and g have moved a little."""
    iterations: int


@dataclass(frozen=True)
class Splitting(Solver):
    """Douglas-Rachford splitting between the norm's ball and the manifold's tangent space, up to a certified gap.

    Args:
        tolerance: relative gap at which a matrix is solved.
        iterations: at most so many, each with one projection onto the ball and one onto the tangent space.
        check_every: iterations between two looks at the gap, which take a dual norm each (and read the host).
        relaxation: in (0, 2).

    Raises:
        ValueError: a setting is out of range.
    """

    tolerance: float = 1e-3
    iterations: int = 1000
    check_every: int = 10
    relaxation: float = 1.6

    remembers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.tolerance > 0 or not self.iterations > 0 or not self.check_every > 0:
            raise ValueError(f"tolerance, iterations and check_every must be positive, got {self}")
        if not 0 < self.relaxation < 2:
            raise ValueError(f"relaxation must lie in (0, 2), got {self.relaxation}")

    def check_pair(self, manifold: Manifold, norm: Norm) -> None:
        """Raise TypeError for a manifold with a metric of its own, or a norm without `to_ball`."""
        if type(manifold).whiten is not Manifold.whiten:
            raise TypeError(f"Splitting needs a manifold with the Frobenius metric, got {manifold!r}")
        if type(norm).to_ball is Norm.to_ball:
            raise TypeError(f"Splitting needs a norm that knows the nearest point of its ball (to_ball), got {norm!r}")

    def __call__(
        self,
        manifold: Manifold,
        norm: Norm,
        w: Float[Tensor, "*b m n"],
        g: Float[Tensor, "*b m n"],
        precision: Precision = "exact",
        memory: Float[Tensor, "*b m n"] | None = None,
    ) -> Float[Tensor, "*b m n"]:
        """The direction. With a `memory`, starts there and leaves there where it ended (zeros to begin with)."""
        solution = self.solve(manifold, norm, w, g, memory)
        if memory is not None:
            memory.copy_(solution.memory)
        return solution.a

    def solve(
        self,
        manifold: Manifold,
        norm: Norm,
        w: Float[Tensor, "*b m n"],
        g: Float[Tensor, "*b m n"],
        start: Float[Tensor, "*b m n"] | None = None,
    ) -> Solution:
        """The direction with its certificate, for a g of any size."""
        if w.numel() == 0:
            zero = w.new_zeros(w.shape[:-2])
            return Solution(torch.zeros_like(w), zero, zero, torch.zeros_like(w), 0)
        size = largest_entry(g)
        g = g / size
        to_tangent = manifold.tangent_projection(w)
        t = drop_rounding(-to_tangent(to_tangent(-g)), g)
        if manifold.conic:  # what is normal to a cone still decides between the directions in it
            t = torch.where((t == 0).all(-1, keepdim=True).all(-2, keepdim=True), t, g)
        step = self._step(norm, t)
        z = torch.zeros_like(t) if start is None else start.to(t.dtype)
        best = Solution(torch.zeros_like(t), norm.dual(to_tangent(-t)), t.new_zeros(t.shape[:-2]), z, 0)
        broken = best.bound.isnan()  # to be passed on, not to be iterated upon
        solved = (best.bound <= 0) | broken
        for iteration in range(1, self.iterations + 1):
            a = norm.to_ball(z - step * t)
            b = to_tangent(2 * a - z)
            if iteration % self.check_every == 0 or iteration == self.iterations:
                best = _better(best, norm, to_tangent, t, a, (2 * a - z - b) / step)
                best = best._replace(iterations=iteration)
                solved = solved | (best.bound - best.value <= self.tolerance * best.bound)
                if bool(solved.all()):
                    break
            z = torch.where(solved[..., None, None], z, z + self.relaxation * (b - a))
        scale = size[..., 0, 0]
        a = best.a.masked_fill(broken[..., None, None], torch.nan)
        return best._replace(a=a, bound=best.bound * scale, value=best.value * scale, memory=z)

    def _step(self, norm: Norm, t: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b 1 1"]:
        """1 / rho, with which G / rho is as large as the norm's LMO: free of scale, and right for every norm alike."""
        a = norm.lmo(t)
        decrease = -(t * a).sum((-2, -1), keepdim=True)
        step = (a * a).sum((-2, -1), keepdim=True) / decrease.masked_fill(decrease <= 0, 1.0)
        return step.masked_fill(step == 0, 1.0)


def _better(
    best: Solution,
    norm: Norm,
    to_tangent: Callable[[Tensor], Tensor],
    t: Float[Tensor, "*b m n"],
    a: Float[Tensor, "*b m n"],
    n: Float[Tensor, "*b m n"],
) -> Solution:
    """The better of the best and of what the iterate a and the normal n certify, each bound for itself."""
    a = to_tangent(to_tangent(a))
    a = a / norm(a)[..., None, None].clamp(min=1.0)
    value, bound = -(t * a).sum((-2, -1)), norm.dual(t + n)
    better: Bool[Tensor, "*b"] = value > best.value
    return best._replace(
        a=torch.where(better[..., None, None], a, best.a),
        value=torch.where(better, value, best.value),
        bound=torch.minimum(bound, best.bound),
    )

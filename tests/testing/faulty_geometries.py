"""Solvers and geometries with one fault each."""

from dataclasses import dataclass

from torch import Tensor

from modular_manifolds import Certificate, Geometry, Solver
from modular_manifolds.manifolds import Manifold
from modular_manifolds.norms import Norm


@dataclass(frozen=True)
class Direction(Solver):
    """A way to find directions that is wrong."""

    def check_pair(self, manifold: Manifold, norm: Norm) -> None: ...


class ForgetsTheTangentSpace(Direction):
    """The norm's LMO of the gradient as it is."""

    def __call__(self, manifold: Manifold, norm: Norm, w: Tensor, g: Tensor, precision: str) -> Tensor:
        return norm.lmo(g)


class ProjectsTooLate(Direction):
    """The norm's LMO, made tangent: feasible, but not optimal."""

    def __call__(self, manifold: Manifold, norm: Norm, w: Tensor, g: Tensor, precision: str) -> Tensor:
        a = manifold.to_tangent(w, norm.lmo(g))
        return a / norm(a)[..., None, None].clamp(min=1)


class TooLong(Direction):
    """Of length 1.01."""

    def __call__(self, manifold: Manifold, norm: Norm, w: Tensor, g: Tensor, precision: str) -> Tensor:
        return 1.01 * norm.lmo(manifold.to_tangent(w, g))


class Uphill(Direction):
    """The wrong way."""

    def __call__(self, manifold: Manifold, norm: Norm, w: Tensor, g: Tensor, precision: str) -> Tensor:
        return -norm.lmo(manifold.to_tangent(w, g))


class AsLongAsTheGradient(Direction):
    """At most 1, but less for small gradients, as published solvers with fixed steps do."""

    def __call__(self, manifold: Manifold, norm: Norm, w: Tensor, g: Tensor, precision: str) -> Tensor:
        t = manifold.to_tangent(w, g)
        return norm.lmo(t) * norm(t)[..., None, None].clamp(max=1)


class NormalisesRounding(Direction):
    """Full length, even where there is nothing but rounding."""

    def __call__(self, manifold: Manifold, norm: Norm, w: Tensor, g: Tensor, precision: str) -> Tensor:
        return norm.lmo(manifold.to_tangent(w, g))


class NeverRests(Direction):
    """A direction even where the gradient is zero."""

    def __call__(self, manifold: Manifold, norm: Norm, w: Tensor, g: Tensor, precision: str) -> Tensor:
        return norm.lmo(manifold.to_tangent(w, g + 1e-3))


@dataclass(frozen=True)
class LongSteps(Geometry):
    """Steps twice as far as it says."""

    def step(self, w: Tensor, g: Tensor, lr: float | Tensor, memory: Tensor | None = None) -> Tensor:
        return super().step(w, g, 2 * lr, memory)


@dataclass(frozen=True)
class StepsOff(Geometry):
    """Does not land."""

    def step(self, w: Tensor, g: Tensor, lr: float | Tensor, memory: Tensor | None = None) -> Tensor:
        return w + lr * self.lmo(w, g, memory)


@dataclass(frozen=True)
class LooseCertificate(Geometry):
    """Claims that every direction is the best."""

    def certificate(self, w: Tensor, g: Tensor, a: Tensor) -> Certificate:
        true = super().certificate(w, g, a)
        return true._replace(gap=0 * true.gap, upper_bound=true.value)

"""Manifolds with one fault each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from modular_manifolds.manifolds import (
    Euclidean,
    Manifold,
    SpectralBall,
    Sphere,
    Stiefel,
    SymmetricPositiveDefinite,
)


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=(-2, -1), keepdim=True)


@dataclass(frozen=True)
class DoubledRotation(Stiefel):
    """The rotational part twice, as in geoopt's CanonicalStiefel.proju."""

    def to_tangent(self, x: Tensor, g: Tensor) -> Tensor:
        if x.shape[-2] < x.shape[-1]:
            return self.to_tangent(x.mT, g.mT).mT
        return g - x @ g.mT @ x


@dataclass(frozen=True)
class HalfwayProjection(Sphere):
    """A projection that has to be repeated."""

    def project(self, x: Tensor) -> Tensor:
        return (x + super().project(x)) / 2


@dataclass(frozen=True)
class FarProjection(Sphere):
    """A projection to the wrong point: along a turned axis."""

    def project(self, x: Tensor) -> Tensor:
        y = super().project(x)
        off = (y - super().project(y.roll(1, -1))).abs().amax((-2, -1), keepdim=True)
        return torch.where(
            super().violation(x)[..., None, None] > 0.01, super().project(y + 0.1 * off * y.roll(1, -1)), y
        )


@dataclass(frozen=True)
class FirstOrderRetraction(Stiefel):
    """The polar factor of x + u + x x^T u."""

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        if x.shape[-2] < x.shape[-1]:
            return self.retract(x.mT, u.mT).mT
        return super().retract(x, u + x @ (x.mT @ u))


@dataclass(frozen=True)
class ClaimsSecondOrder(SymmetricPositiveDefinite):
    """Retracts by x + u, and says that this follows the geodesics of the affine-invariant metric."""

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        return x + u


@dataclass(frozen=True)
class OffRetraction(Sphere):
    """x + u, which is not on the sphere."""

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        return x + u


@dataclass(frozen=True)
class FrozenGradient(Sphere):
    """A retraction through which no gradient flows as it should."""

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        return unit(x + u) * self.radius + (u - u.detach())


@dataclass(frozen=True)
class NotNormal(Sphere):
    """Projects along x + 0.1 times its roll: onto the right space, but not at right angles."""

    def to_tangent(self, x: Tensor, g: Tensor) -> Tensor:
        slanted = x + 0.1 * x.roll(1, -1)
        return g - slanted * (x * g).sum((-2, -1), keepdim=True) / (x * slanted).sum((-2, -1), keepdim=True)


@dataclass(frozen=True)
class SmallTangentSpace(Euclidean):
    """Without the first entry, which may in fact move."""

    def to_tangent(self, x: Tensor, g: Tensor) -> Tensor:
        g = g.clone()
        g[..., 0, 0] = 0
        return g

    def matrix_dimension(self, m: int, n: int) -> int:
        return max(m * n - 1, 0)


@dataclass(frozen=True)
class RoundCone(SpectralBall):
    """A tangent cone that lets half of what points outwards through."""

    def to_tangent(self, x: Tensor, g: Tensor) -> Tensor:
        return (g + super().to_tangent(x, g)) / 2


@dataclass(frozen=True)
class StretchedExp(Sphere):
    """Twice as far as the velocity says."""

    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        return super().exp(x, 2 * u)


@dataclass(frozen=True)
class RetractionAsExp(Sphere):
    """Not of constant speed."""

    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        return self.retract(x, u)


@dataclass(frozen=True)
class ShortLog(Sphere):
    """The chord, made tangent."""

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        return self.to_tangent(x, y - x)


@dataclass(frozen=True)
class ChordDistance(Sphere):
    """Through the inside."""

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).norm(dim=(-2, -1))


@dataclass(frozen=True)
class ShorteningTransport(Sphere):
    """By projection, which is no isometry."""

    def transport(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return self.to_tangent(self.exp(x, u), v)


@dataclass(frozen=True)
class WrongGradient(SymmetricPositiveDefinite):
    """Forgets the metric."""

    def gradient(self, x: Tensor, g: Tensor) -> Tensor:
        return self.to_tangent(x, g)


@dataclass(frozen=True)
class OneWayWhitening(SymmetricPositiveDefinite):
    """Whitens in one direction only."""

    def unwhiten(self, x: Tensor, v: Tensor) -> Tensor:
        return v.clone()


@dataclass(frozen=True)
class OneSidedWhitening(SymmetricPositiveDefinite):
    """x^-1 u, which is invertible, but not self-adjoint on symmetric matrices."""

    def whiten(self, x: Tensor, u: Tensor) -> Tensor:
        return torch.linalg.solve(x, u)

    def unwhiten(self, x: Tensor, v: Tensor) -> Tensor:
        return x @ v


@dataclass(frozen=True)
class Opposite(Sphere):
    """The farthest point instead of the nearest."""

    def project(self, x: Tensor) -> Tensor:
        return -super().project(x)


@dataclass(frozen=True)
class Restless(Sphere):
    """A retraction that moves on without being told to."""

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        return super().retract(x, u + 1e-3 * self.to_tangent(x, torch.ones_like(x)))


@dataclass(frozen=True)
class NotLinear(Sphere):
    """Clips the tangent vector."""

    def to_tangent(self, x: Tensor, g: Tensor) -> Tensor:
        t = super().to_tangent(x, g)
        return t / t.norm(dim=(-2, -1), keepdim=True).clamp(min=1)


@dataclass(frozen=True)
class PreparesElsewhere(Sphere):
    """Prepares its tangent projection at another point."""

    def tangent_projection(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        return super().tangent_projection(x.roll(1, -1))


@dataclass(frozen=True)
class StraightExp(Sphere):
    """Off along the tangent."""

    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        return x + u


@dataclass(frozen=True)
class FarFromHere(Sphere):
    """A distance that depends on where it is measured from."""

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        return super().distance(x, y) * (1 + x[..., 0, 0].abs())


@dataclass(frozen=True)
class NegativeLengths(Sphere):
    """An inner product of the wrong sign."""

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return -super().inner(x, u, v)


@dataclass(frozen=True)
class KeepsVectors(Sphere):
    """Transports vectors as they are, out of the tangent space."""

    def transport(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return v.clone()


@dataclass(frozen=True)
class TurnsBack(Euclidean):
    """An isometric transport that turns the velocity round."""

    def transport(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return -v


@dataclass(frozen=True)
class GrowingTransport(Euclidean):
    """Vectors that change on the way."""

    def transport(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return v * (1 + u.square().sum((-2, -1), keepdim=True))


@dataclass(frozen=True)
class OffByOne(Stiefel):
    """A dimension too many."""

    def matrix_dimension(self, m: int, n: int) -> int:
        return super().matrix_dimension(m, n) + 1


@dataclass(frozen=True)
class NeverContent(Sphere):
    """A violation that is not zero on the manifold."""

    def violation(self, x: Tensor) -> Tensor:
        return super().violation(x) + 1e-3


@dataclass(frozen=True)
class AlwaysContent(Sphere):
    """A violation that is zero everywhere."""

    def violation(self, x: Tensor) -> Tensor:
        return 0 * super().violation(x)


@dataclass(frozen=True)
class OffRandom(Sphere):
    """Random points of the wrong radius."""

    def from_gaussian(self, normal: Tensor) -> Tensor:
        return 1.1 * super().from_gaussian(normal)


@dataclass(frozen=True)
class OwnRandom(Sphere):
    """Random points that ignore the generator."""

    def from_gaussian(self, normal: Tensor) -> Tensor:
        return super().from_gaussian(torch.rand_like(normal))


@dataclass(frozen=True)
class InPlace(Sphere):
    """Writes into its argument."""

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        return self.project(u.add_(x))


@dataclass(frozen=True)
class Aliasing(Euclidean):
    """Returns its argument."""

    def project(self, x: Tensor) -> Tensor:
        return x


@dataclass(frozen=True)
class MixesTheBatch(Sphere):
    """Divides by the length of the whole batch."""

    def project(self, x: Tensor) -> Tensor:
        return self.radius * x / x.norm()


@dataclass(frozen=True)
class AlwaysDouble(Sphere):
    """Returns float64 whatever it is given."""

    def to_tangent(self, x: Tensor, g: Tensor) -> Tensor:
        return super().to_tangent(x.double(), g.double())


@dataclass(frozen=True)
class HidesNaN(Sphere):
    """Takes NaN for zero."""

    def to_tangent(self, x: Tensor, g: Tensor) -> Tensor:
        return super().to_tangent(x, g.nan_to_num())


@dataclass(frozen=True)
class FailsOnEmpty(Sphere):
    """Looks at the first matrix."""

    def project(self, x: Tensor) -> Tensor:
        return super().project(x + 0 * x.reshape(-1, *x.shape[-2:])[0])


@dataclass(eq=False)
class Mutable(Manifold):
    """No value: every instance differs from every other."""

    def project(self, x: Tensor) -> Tensor:
        return x.clone()

    def to_tangent(self, x: Tensor, g: Tensor) -> Tensor:
        return g.clone()

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        return x + u

    def matrix_dimension(self, m: int, n: int) -> int:
        return m * n

    def violation(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[:-2])

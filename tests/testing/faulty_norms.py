"""Norms with one fault each."""

from dataclasses import dataclass

from torch import Tensor

from modular_manifolds.norms import Frobenius, Spectral


@dataclass(frozen=True)
class WrongDual(Frobenius):
    """Half of the dual norm."""

    factor: float = 0.5

    def dual(self, g: Tensor) -> Tensor:
        return self.factor * super().dual(g)


@dataclass(frozen=True)
class ScaleBoundLMO(Frobenius):
    """Divides by at least 1e-8."""

    def lmo(self, g: Tensor, precision: str = "exact") -> Tensor:
        return -g / g.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-8)


@dataclass(frozen=True)
class Ascends(Frobenius):
    """The LMO of the other sign."""

    def lmo(self, g: Tensor, precision: str = "exact") -> Tensor:
        return -super().lmo(g)


@dataclass(frozen=True)
class Squared(Frobenius):
    """No norm, but its square."""

    def norm(self, u: Tensor) -> Tensor:
        return super().norm(u) ** 2


@dataclass(frozen=True)
class HalfNorm(Frobenius):
    """The square of the sum of square roots, which is not convex."""

    def norm(self, u: Tensor) -> Tensor:
        return u.abs().sqrt().sum((-2, -1)) ** 2


@dataclass(frozen=True)
class Seminorm(Frobenius):
    """Blind to what all entries have in common."""

    def norm(self, u: Tensor) -> Tensor:
        return super().norm(u - u.mean((-2, -1), keepdim=True))


@dataclass(frozen=True)
class RadialBall(Spectral):
    """Scales down to the ball instead of finding what is nearest."""

    def to_ball(self, u: Tensor) -> Tensor:
        return u / self.norm(u).clamp(min=1)[..., None, None]

"""The updates that are compared, all of one length: every step moves every layer by lr in the RMS operator norm."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import sqrt
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from modular_manifolds import Euclidean, Geometry, RMSOperator, Stiefel

_NORM = RMSOperator()
_FREE = Geometry(Euclidean(), _NORM)


class Updates(ABC):
    """Takes the steps of one matrix. Methods differ in the shape of an update, and in where it leads."""

    summary: ClassVar[str]

    def start(self, w: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        """Where the matrix begins instead of at `w`."""
        return w

    @abstractmethod
    def step(self, w: Float[Tensor, "out in"], g: Float[Tensor, "out in"], lr: float) -> Float[Tensor, "out in"]:
        """The matrix after a step against the gradient `g` there, of length `lr` at most."""


class Plain(Updates):
    """Gradient descent, its updates brought to length: the published control."""

    summary = "the gradient"

    def step(self, w: Float[Tensor, "out in"], g: Float[Tensor, "out in"], lr: float) -> Float[Tensor, "out in"]:
        return w - lr * _to_length(g)


class Adam(Updates):
    """Adam's update (Kingma & Ba 2015, with its published constants), brought to length."""

    summary = "Adam's update"
    betas = (0.9, 0.999)
    eps = 1e-8

    def __init__(self) -> None:
        self._taken = 0
        self._first: Tensor | float = 0.0
        self._second: Tensor | float = 0.0

    def step(self, w: Float[Tensor, "out in"], g: Float[Tensor, "out in"], lr: float) -> Float[Tensor, "out in"]:
        self._taken += 1
        slow, slower = self.betas
        self._first = slow * self._first + (1 - slow) * g
        self._second = slower * self._second + (1 - slower) * g.square()
        mean = self._first / (1 - slow**self._taken)
        return w - lr * _to_length(mean / ((self._second / (1 - slower**self._taken)).sqrt() + self.eps))


class Dualised(Updates):
    """Steepest descent in the RMS operator norm, weights free: msign of the gradient, as in Muon without momentum."""

    summary = "msign of the gradient"

    def step(self, w: Float[Tensor, "out in"], g: Float[Tensor, "out in"], lr: float) -> Float[Tensor, "out in"]:
        return _FREE.step(w, g, lr)


class OnManifold(Updates):
    """The same norm, with every singular value of the weight held at sqrt(out / in)."""

    summary = "steepest tangent direction on the Stiefel manifold"

    def start(self, w: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        return _held(w).manifold.project(w)

    def step(self, w: Float[Tensor, "out in"], g: Float[Tensor, "out in"], lr: float) -> Float[Tensor, "out in"]:
        return _held(w).step(w, g, lr)


METHODS: Mapping[str, type[Updates]] = {"plain": Plain, "adam": Adam, "dualised": Dualised, "manifold": OnManifold}


def radius(out: int, fan_in: int) -> float:
    """Singular values of a weight of RMS operator norm 1."""
    return sqrt(out / fan_in)


def _held(w: Tensor) -> Geometry:
    return Geometry(Stiefel(radius(*w.shape)), _NORM)


def _to_length(u: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
    # in float64, as the eigenvalues behind the norm do not always converge in float32 where most gradients are 0
    norm = _NORM(u.double()).to(u)
    return u / norm.masked_fill(norm == 0, 1.0)

"""The geometries that a layer may have in the study behind `modular-manifolds geometries`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt

from modular_manifolds import Geometry
from modular_manifolds.manifolds import (
    DGram,
    Euclidean,
    Manifold,
    Oblique,
    SpectralBall,
    SpectralBand,
    SpectralSphere,
    Sphere,
    Stiefel,
)
from modular_manifolds.norms import Frobenius, MaxColumn, MaxRow, Norm, Schatten, Spectral

Scale = Callable[[int, int], float]
"""A number for an (out, in) weight."""

MULTIPLES = (0.03, 0.1, 0.3)
"""Learning rates to try, as multiples of a candidate's natural scale."""

FROBENIUS_MULTIPLES = (0.01, 0.03, 0.1, 0.3)
"""One more: gradients are nearly of low rank, so that the spectral norm of such an update is almost as large."""


@dataclass(frozen=True)
class Candidate:
    """A manifold and a norm for a weight of any shape.

    Args:
        manifold: of an (out, in) weight; its points are about as long as a Stiefel point, sqrt(min(out, in)).
        norm: of updates.
        scale: the natural learning rate: that of an update that is at most as long as a Stiefel point, in the Frobenius
            norm; sqrt(min(out, in)) over the length of the longest matrix in the norm's unit ball.
        multiples: of it, to try as learning rates.
    """

    manifold: Callable[[int, int], Manifold]
    norm: Norm
    scale: Scale
    multiples: tuple[float, ...] = MULTIPLES

    def geometry(self, m: int, n: int) -> Geometry:
        """For a weight of this shape, with the direction that the table has for it."""
        return Geometry(self.manifold(m, n), self.norm)

    def removed(self, m: int, n: int) -> float:
        """The share of a weight's degrees of freedom that the manifold takes away."""
        return 1 - self.manifold(m, n).dimension((m, n)) / (m * n)


def _length(m: int, n: int) -> float:
    return sqrt(min(m, n))


def _always(manifold: Manifold) -> Callable[[int, int], Manifold]:
    return lambda m, n: manifold


def _rows(m: int, n: int) -> Manifold:
    return Oblique("rows", _length(m, n) / sqrt(m))


def _columns(m: int, n: int) -> Manifold:
    return Oblique("columns", _length(m, n) / sqrt(n))


_STIEFEL = _always(Stiefel())
_FREE = _always(Euclidean())


def _sphere(m: int, n: int) -> Manifold:
    return Sphere(_length(m, n))


def _one(m: int, n: int) -> float:
    return 1.0


def _root_mean_square(m: int, n: int) -> float:
    return _length(m, n) / sqrt(m * n)


REFERENCE = "Stiefel x Spectral"
REFERENCE_MULTIPLE = 0.1
"""What a layer has while another one is studied."""

CANDIDATES: Mapping[str, Candidate] = {
    REFERENCE: Candidate(_STIEFEL, Spectral(), _one),
    "Stiefel x Frobenius": Candidate(_STIEFEL, Frobenius(), _length, FROBENIUS_MULTIPLES),
    "Stiefel x Schatten(4)": Candidate(_STIEFEL, Schatten(4.0), lambda m, n: min(m, n) ** 0.25),
    "Sphere x Spectral": Candidate(_sphere, Spectral(), _one),
    "Sphere x Frobenius": Candidate(_sphere, Frobenius(), _length, FROBENIUS_MULTIPLES),
    "SpectralSphere x Spectral": Candidate(_always(SpectralSphere()), Spectral(), _one),
    "SpectralBall x Spectral": Candidate(_always(SpectralBall()), Spectral(), _one),
    "SpectralBand(0.5 to 1) x Spectral": Candidate(_always(SpectralBand(0.5, 1.0)), Spectral(), _one),
    "DGram x Spectral": Candidate(_always(DGram()), Spectral(), _one),
    "Oblique rows x MaxRow": Candidate(_rows, MaxRow(), _root_mean_square),
    "Oblique rows x Spectral": Candidate(_rows, Spectral(), _one),
    "Oblique columns x MaxColumn": Candidate(_columns, MaxColumn(), _root_mean_square),
    "Oblique columns x Spectral": Candidate(_columns, Spectral(), _one),
    "Euclidean x Spectral": Candidate(_FREE, Spectral(), _one),
    "Euclidean x Frobenius": Candidate(_FREE, Frobenius(), _length, FROBENIUS_MULTIPLES),
}

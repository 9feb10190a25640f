"""Manifolds: the sets that weights live on. One file each."""

from modular_manifolds.manifolds.dgram import DGram
from modular_manifolds.manifolds.doubly_stochastic import DoublyStochastic
from modular_manifolds.manifolds.euclidean import Euclidean
from modular_manifolds.manifolds.fixed_rank import FixedRank
from modular_manifolds.manifolds.grassmann import Grassmann
from modular_manifolds.manifolds.low_rank_factors import LowRankFactors
from modular_manifolds.manifolds.manifold import Manifold, NoClosedFormError
from modular_manifolds.manifolds.oblique import Oblique
from modular_manifolds.manifolds.product import Product
from modular_manifolds.manifolds.spectral_ball import SpectralBall
from modular_manifolds.manifolds.spectral_band import SpectralBand
from modular_manifolds.manifolds.spectral_sphere import SpectralSphere
from modular_manifolds.manifolds.sphere import Sphere
from modular_manifolds.manifolds.stiefel import Stiefel
from modular_manifolds.manifolds.symmetric_positive_definite import SymmetricPositiveDefinite

__all__ = [
    "DGram",
    "DoublyStochastic",
    "Euclidean",
    "FixedRank",
    "Grassmann",
    "LowRankFactors",
    "Manifold",
    "NoClosedFormError",
    "Oblique",
    "Product",
    "SpectralBall",
    "SpectralBand",
    "SpectralSphere",
    "Sphere",
    "Stiefel",
    "SymmetricPositiveDefinite",
]

"""Manifolds: the sets that weights live on. One file each."""

from modular_manifolds.manifolds.euclidean import Euclidean
from modular_manifolds.manifolds.manifold import Manifold
from modular_manifolds.manifolds.oblique import Oblique
from modular_manifolds.manifolds.sphere import Sphere
from modular_manifolds.manifolds.stiefel import Stiefel

__all__ = ["Euclidean", "Manifold", "Oblique", "Sphere", "Stiefel"]

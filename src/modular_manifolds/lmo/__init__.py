"""Linear minimisation oracles over tangent unit balls, by (manifold, norm) pair."""

from modular_manifolds.lmo import elementwise, stiefel_spectral
from modular_manifolds.lmo.solver import Solver
from modular_manifolds.lmo.table import NoLMOError, bounds, directions, find_direction, landings

__all__ = [
    "NoLMOError",
    "Solver",
    "bounds",
    "directions",
    "elementwise",
    "find_direction",
    "landings",
    "stiefel_spectral",
]

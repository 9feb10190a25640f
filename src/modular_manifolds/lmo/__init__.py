"""Linear minimisation oracles over tangent unit balls, by (manifold, norm) pair."""

from modular_manifolds.lmo import (
    direct,
    iterative,
    product,
    root,
    sphere_max_entry,
    stiefel_frobenius,
    stiefel_spectral,
)
from modular_manifolds.lmo.catalogue import geometries
from modular_manifolds.lmo.projected_step import ProjectedStep
from modular_manifolds.lmo.solver import Solver
from modular_manifolds.lmo.splitting import Splitting
from modular_manifolds.lmo.table import (
    NoLMOError,
    Rule,
    bounds,
    directions,
    find_direction,
    land,
    landings,
    upper_bound,
)

__all__ = [
    "NoLMOError",
    "ProjectedStep",
    "Rule",
    "Solver",
    "Splitting",
    "bounds",
    "direct",
    "directions",
    "find_direction",
    "geometries",
    "iterative",
    "land",
    "landings",
    "product",
    "root",
    "sphere_max_entry",
    "stiefel_frobenius",
    "stiefel_spectral",
    "upper_bound",
]

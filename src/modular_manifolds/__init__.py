"""Train neural networks with every weight on a manifold, exactly and fast."""

from modular_manifolds import baselines, linalg
from modular_manifolds.geometry import Certificate, Geometry
from modular_manifolds.lmo import NoLMOError, Solver
from modular_manifolds.manifolds import Euclidean, Manifold, Oblique, Sphere, Stiefel
from modular_manifolds.norms import Frobenius, MaxColumn, MaxEntry, MaxRow, Norm, RMSOperator, Spectral
from modular_manifolds.optim import ManifoldMuon, ModularOptimizer, project_

__all__ = [
    "Certificate",
    "Euclidean",
    "Frobenius",
    "Geometry",
    "Manifold",
    "ManifoldMuon",
    "MaxColumn",
    "MaxEntry",
    "MaxRow",
    "ModularOptimizer",
    "NoLMOError",
    "Norm",
    "Oblique",
    "RMSOperator",
    "Solver",
    "Spectral",
    "Sphere",
    "Stiefel",
    "baselines",
    "linalg",
    "project_",
]

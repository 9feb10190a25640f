"""Optimizers that step each parameter by its geometry, and the projection that puts weights where they belong."""

from modular_manifolds.optim.manifold_muon import ManifoldMuon
from modular_manifolds.optim.modular_optimizer import ModularOptimizer
from modular_manifolds.optim.riemannian_adam import RiemannianAdam
from modular_manifolds.optim.riemannian_sgd import RiemannianSGD
from modular_manifolds.projection import project_

__all__ = ["ManifoldMuon", "ModularOptimizer", "RiemannianAdam", "RiemannianSGD", "project_"]

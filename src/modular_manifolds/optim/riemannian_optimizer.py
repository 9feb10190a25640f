"""What Riemannian SGD and Adam have in common: groups with a manifold, and steps along the Riemannian gradient."""

from typing import Any

from modular_manifolds.manifolds import Manifold, Stiefel
from modular_manifolds.optim.checks import check_matrices, check_velocity, checked_group
from modular_manifolds.optim.manifold_optimizer import ManifoldOptimizer
from modular_manifolds.plain_data import describe, rebuild
from modular_manifolds.projection import named_parameters


class RiemannianOptimizer(ManifoldOptimizer):
    """Steps groups that live on their "manifold", by default on the optimizer's own.

    Velocities are carried from one weight to the next by projection onto the tangent space. What is kept is tangent to
    the weight of the last step; it is projected by the next one, so that a weight put elsewhere meanwhile does no harm.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as to any torch optimizer; it is checked first, and nothing changes if it is refused."""
        group = checked_group(param_group)
        if "manifold" not in group and isinstance(self.defaults["manifold"], Stiefel):
            named = named_parameters(group, f"params[{len(self.param_groups)}]")
            check_matrices(named, "with manifold=Euclidean(), for instance")
        super().add_param_group(group)

    def check_settings(self, group: dict[str, Any]) -> None:
        manifold = group["manifold"]
        if not isinstance(manifold, Manifold):
            raise TypeError(
                f"a group's manifold must be a Manifold, got {type(manifold).__name__}; Euclidean() is no constraint"
            )
        super().check_settings(group)
        check_velocity(manifold)

    def described(self, group: dict[str, Any]) -> dict[str, Any]:
        return {**group, "manifold": describe(group["manifold"])}

    def rebuilt(self, group: dict[str, Any]) -> dict[str, Any]:
        manifold = group["manifold"]
        return {**group, "manifold": rebuild(Manifold, manifold) if isinstance(manifold, dict) else manifold}

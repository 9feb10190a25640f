"""Manifold Muon: every weight matrix on the Stiefel manifold, stepped in the spectral norm."""

from collections.abc import Iterable
from typing import Any, Literal

from torch import Tensor
from torch.distributed import ProcessGroup

from modular_manifolds.distributed.routes import Machine
from modular_manifolds.geometry import Geometry
from modular_manifolds.linalg import Precision
from modular_manifolds.manifolds import Stiefel
from modular_manifolds.norms import Spectral
from modular_manifolds.optim.checks import check_matrices, checked_group
from modular_manifolds.optim.modular_optimizer import ModularOptimizer, MomentumOn
from modular_manifolds.projection import named_parameters


class ManifoldMuon(ModularOptimizer):
    """Steepest descent in the spectral norm on the Stiefel manifold, exactly (Bernstein, "Modular Manifolds", 2025).

    Usable wherever torch.optim.Muon is, on matrices or batches of them: first put them on the manifold with
    `project_(model)`. Biases and gains go in a group of their own, with geometry=None for AdamW.

    Args:
        params: matrices, bare or as (name, parameter) pairs, or groups of them. The singular values of each must all
            equal `radius`.
        lr: the angle in radians by which a step turns a matrix of radius 1; in general the spectral norm of the step.
        momentum, nesterov: as for torch.optim.Muon; momentum 0 follows the bare gradient.
        momentum_on: as for ModularOptimizer.
        radius: of the Stiefel manifold. A group may bring a `geometry` of its own instead.
        precision: how near the direction comes to steepest descent: "exact" within 1e-4 in float32 (mostly 1e-5),
            "balanced" within 1 % and "fast" within 5 %, both by products in bfloat16 where they suffice. The weights
            stay on the manifold to float32's rounding in all three.
        weight_decay: must be 0; it is an argument so that it can say why.
        maximize, nonfinite, process_group, machine: as for ModularOptimizer.

    Raises:
        TypeError, ValueError: as for ModularOptimizer; also for a parameter with fewer than two axes.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        *,
        momentum_on: MomentumOn = "gradient",
        radius: float = 1.0,
        precision: Precision = "exact",
        weight_decay: float = 0.0,
        maximize: bool = False,
        nonfinite: Literal["raise", "skip"] = "raise",
        process_group: ProcessGroup | None = None,
        machine: Machine | None = None,
    ) -> None:
        self._geometry = Geometry(Stiefel(radius), Spectral(), precision=precision)
        super().__init__(
            params,
            lr,
            momentum,
            nesterov,
            momentum_on=momentum_on,
            weight_decay=weight_decay,
            maximize=maximize,
            nonfinite=nonfinite,
            process_group=process_group,
            machine=machine,
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as to any torch optimizer; its geometry is Stiefel x spectral unless it says otherwise."""
        group = checked_group(param_group)
        if "geometry" not in group:
            named = named_parameters(group, f"params[{len(self.param_groups)}]")
            check_matrices(named, "with geometry=None to step it by AdamW")
        super().add_param_group({"geometry": self._geometry, **group})

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_geometry": self._geometry}

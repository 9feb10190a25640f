"""One optimizer for a whole model: steepest descent on a manifold for some groups, AdamW for the others."""

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from modular_manifolds.distributed import Spread, Team
from modular_manifolds.distributed.routes import Machine
from modular_manifolds.geometry import Geometry
from modular_manifolds.optim.adamw import adamw_, start_adamw
from modular_manifolds.optim.batches import State
from modular_manifolds.optim.checks import check_adam, check_fraction, check_velocity
from modular_manifolds.optim.descent import descend_, kept
from modular_manifolds.optim.jobs import Job
from modular_manifolds.optim.manifold_optimizer import ManifoldOptimizer
from modular_manifolds.optim.sharded_descent import descend_sharded_, is_local, to_add
from modular_manifolds.projection import NamedParameter, kernel_axes_of

MomentumOn = Literal["gradient", "tangent"]
"""What momentum averages: gradients as they are, or their tangent parts, carried along as the weight moves."""


@runtime_checkable
class HasGroups(Protocol):
    """What knows its parameter groups, as a plan does."""

    def param_groups(self) -> list[dict[str, Any]]:
        """Groups with a geometry and a budget each."""


class ModularOptimizer(ManifoldOptimizer):
    """Steps every group of parameters by the geometry that it carries.

    A group with a `Geometry` takes, on the exponential average of its gradients, the steepest tangent step of length
    `lr` and lands on its manifold; groups with `geometry=None` are stepped by AdamW. A group's `budget` (1 unless it
    says otherwise) is its share of the learning rate, so that one `lr` serves a whole network: its step has length
    lr * budget. Parameters of one shape are solved as one batch. Vectors count as 1 x d matrices; all axes but the
    last two are a batch (of convolutions see `Geometry.kernel_axes`). Parameters in bfloat16 or float16 keep a float32
    master copy in the state, and are rounded from it.

    Args:
        params: a plan of `modularize`; or parameter groups, each a dict with "params" and "geometry" (a Geometry, or
            None for AdamW), and any of the settings below. Pass (name, parameter) pairs, as from
            `model.named_parameters()`, to be told of parameters by name.
        lr: length of a step in the group's norm (for Stiefel x spectral: the angle in radians, over the radius), or
            AdamW's learning rate.
        momentum: weight of the past in the average of gradients; 0 for none.
        nesterov: look one step ahead, as torch.optim.Muon does.
        momentum_on: "gradient" averages the gradients as they come; "tangent" their tangent parts, and projects the
            average onto the tangent space wherever the weight has moved: a velocity, from which what has become
            normal to the manifold is gone for good. Not on manifolds with a boundary, where velocities form no space.
        weight_decay: decoupled, for AdamW and Euclidean groups only.
        betas, eps: of AdamW groups. (Schedulers that cycle momentum cycle `momentum`, and leave these alone.)
        process_group: ranks that all hold the same parameters, as under DDP: each solves its share, and the others get
            the results. Without it every rank solves everything. Parameters that are DTensors, as under `fully_shard`
            or tensor parallelism, say themselves where they are; adding and stepping them is then a collective call.
        maximize: ascend instead of descend.
        nonfinite: what to do about a gradient with a NaN or an Inf: "raise" an error that names the parameter, with
            nothing changed, or "skip" that parameter in this step.
        machine: speeds by which the way to step sharded parameters is chosen, see `distributed.routes`.

    Raises:
        TypeError: a parameter is not a real, dense floating-point tensor.
        ValueError: a setting is out of range; a group has no geometry; a parameter occurs twice or is off its
            manifold; weight decay on a manifold; ranks differ in their groups.
        RankError: a rank has failed, or has not come, when parameters lie on several.
    """

    signature: ClassVar[tuple[str, ...]] = ("geometry",)

    def __init__(
        self,
        params: Iterable[Any] | HasGroups,
        lr: float | Tensor = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        *,
        momentum_on: MomentumOn = "gradient",
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
        nonfinite: Literal["raise", "skip"] = "raise",
        process_group: ProcessGroup | None = None,
        machine: Machine | None = None,
    ) -> None:
        self._machine = machine
        # kept out of the defaults: schedulers that cycle momentum look for "betas" there, and would miss "momentum"
        self._adamw = {"betas": betas, "eps": eps}
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "momentum_on": momentum_on,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "nonfinite": nonfinite,
            "budget": 1.0,
        }
        replicas = None if process_group is None else Team.of_group(process_group)
        super().__init__(params.param_groups() if isinstance(params, HasGroups) else params, defaults, replicas)

    def check_claim(self, group: dict[str, Any], named: list[NamedParameter]) -> None:
        if "geometry" not in group:
            raise ValueError(
                "every group must claim its parameters with a 'geometry': a Geometry, e.g. Geometry(Stiefel(), "
                f"Spectral()), or None for AdamW; nothing claims {', '.join(name for name, _ in named[:3]) or 'these'}"
            )
        super().check_claim(group, named)
        axes = 2 + kernel_axes_of(group)
        for name, p in named:
            if axes > 2 and p.ndim < axes:
                raise ValueError(
                    f"{name} has shape {tuple(p.shape)}, but {group['geometry']} is for weights (out, in, *kernel) "
                    f"with {axes - 2} kernel axes"
                )

    def check_settings(self, group: dict[str, Any]) -> None:
        geometry = group["geometry"]
        if not isinstance(geometry, Geometry | None):
            raise TypeError(f"a group's geometry must be a Geometry or None, got {type(geometry).__name__}")
        super().check_settings(group)
        check_fraction(group, "momentum")
        if not 0 <= group["budget"] < float("inf"):
            raise ValueError(f"a group's budget must be finite and not negative, got {group['budget']}")
        if group["momentum_on"] not in ("gradient", "tangent"):
            raise ValueError(f"momentum_on must be 'gradient' or 'tangent', got {group['momentum_on']!r}")
        if geometry is None:
            check_adam(group)
        elif group["momentum_on"] == "tangent":
            check_velocity(geometry.manifold)

    def update_(self, group: dict[str, Any], weights: list[Tensor], grads: list[Tensor], states: list[State]) -> None:
        (adamw_ if group["geometry"] is None else descend_)(group, weights, grads, states)

    def check_spread(self, name: str, spread: Spread) -> None:
        pass

    def prepare_sharded(self, job: Job) -> Tensor | None:
        return to_add(job)

    def start_state(self, job: Job) -> None:
        if job.group["geometry"] is None:
            start_adamw(job.weight, job.state)
        else:
            for name in kept(job.group):
                if name not in job.state:
                    job.state[name] = torch.zeros_like(job.weight)

    def update_sharded_(self, jobs: list[Job]) -> None:
        at_home = [job for job in jobs if is_local(job)]
        for group in {id(job.group): job.group for job in at_home}.values():
            own = [job for job in at_home if job.group is group]
            self.update_(group, [job.weight for job in own], [job.grad for job in own], [job.state for job in own])
        descend_sharded_([job for job in jobs if not is_local(job)], self._machine)

    def choices(self) -> dict[str, Any]:
        return {"machine": self._machine}

    def with_defaults(self, group: dict[str, Any]) -> dict[str, Any]:
        for_adamw = self._adamw if group.get("geometry", ...) is None else {}
        return {**self.defaults, **for_adamw, **group}

    def described(self, group: dict[str, Any]) -> dict[str, Any]:
        return {**group, "geometry": None if group["geometry"] is None else group["geometry"].to_dict()}

    def rebuilt(self, group: dict[str, Any]) -> dict[str, Any]:
        geometry = group["geometry"]
        return {**group, "geometry": Geometry.from_dict(geometry) if isinstance(geometry, dict) else geometry}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_adamw": self._adamw, "_machine": self._machine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("budget", 1.0)  # checkpoints from before there were budgets

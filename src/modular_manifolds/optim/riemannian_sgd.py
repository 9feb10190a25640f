"""Stochastic gradient descent on a manifold, with momentum."""

from collections.abc import Iterable
from math import isfinite
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.manifolds import Manifold, Stiefel
from modular_manifolds.optim.batches import State, batches
from modular_manifolds.optim.checks import check_fraction
from modular_manifolds.optim.riemannian_optimizer import RiemannianOptimizer


class RiemannianSGD(RiemannianOptimizer):
    """torch.optim.SGD along Riemannian gradients (Bonnabel, arXiv 1111.5280): a step is as long as the gradient.

    The velocity v is a tangent vector: v <- momentum * (v projected to where the weight is) + (1 - dampening) * r, from
    the Riemannian gradient r, with v = r at first; the weight is retracted along -lr * v, or -lr * (r + momentum * v)
    with `nesterov`. On `Euclidean()` that is torch.optim.SGD.

    Args:
        params: matrices, bare or as (name, parameter) pairs, or groups of them, which may bring a "manifold" and any
            of the settings below. They must be on their manifold: see `project_`. Vectors count as 1 x d matrices,
            and are refused where no manifold is given for them; all axes but the last two are a batch.
        lr, momentum, dampening, nesterov: as for torch.optim.SGD.
        weight_decay: on `Euclidean()` only, as for torch.optim.SGD: added to the gradient.
        manifold: where groups live that do not say.
        maximize, nonfinite: as for ModularOptimizer.

    Raises:
        TypeError: a parameter is not a real, dense floating-point tensor.
        ValueError: a setting is out of range; nesterov without momentum, or with dampening; a manifold with a
            boundary; a parameter occurs twice or is off its manifold; weight decay on a manifold.
    """

    signature: ClassVar[tuple[str, ...]] = ("manifold", "momentum")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        manifold: Manifold = Stiefel(),  # noqa: B008
        maximize: bool = False,
        nonfinite: Literal["raise", "skip"] = "raise",
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "manifold": manifold,
            "maximize": maximize,
            "nonfinite": nonfinite,
        }
        super().__init__(params, defaults)

    def check_settings(self, group: dict[str, Any]) -> None:
        super().check_settings(group)
        check_fraction(group, "momentum")
        if not isfinite(group["dampening"]):
            raise ValueError(f"dampening must be finite, got {group['dampening']}")
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError(
                f"nesterov needs a momentum and no dampening, got momentum {group['momentum']} and dampening "
                f"{group['dampening']}"
            )

    def update_(self, group: dict[str, Any], weights: list[Tensor], grads: list[Tensor], states: list[State]) -> None:
        manifold, momentum = group["manifold"], group["momentum"]
        lr = group["lr"].reshape(()) if isinstance(group["lr"], Tensor) else group["lr"]
        for batch in batches(weights, grads, states):
            w, g = batch.w, batch.g
            if group["weight_decay"]:
                g = g + group["weight_decay"] * w
            if momentum == 0:
                batch.move(manifold.descend(w, g, lr))
                continue
            past = batch.load("momentum_buffer")
            direction = velocity(manifold, w, g, past, momentum, group["dampening"])
            batch.store("momentum_buffer", direction)
            if group["nesterov"]:
                direction = manifold.gradient(w, g) + momentum * direction
            batch.move(manifold.retract(w, direction.mul_(-lr)))


def velocity(
    manifold: Manifold,
    w: Float[Tensor, "*b m n"],
    g: Float[Tensor, "*b m n"],
    past: Float[Tensor, "*b m n"] | None,
    momentum: float,
    dampening: float,
) -> Float[Tensor, "*b m n"]:
    """momentum * (past, projected) + (1 - dampening) * gradient, tangent at w; at first the gradient itself."""
    if past is None:
        return manifold.gradient(w, g)
    if type(manifold).unwhiten is Manifold.unwhiten:  # the gradient is a projection too: one does for both
        return manifold.to_tangent(w, (g * (1 - dampening)).add_(past, alpha=momentum))
    return momentum * manifold.to_tangent(w, past) + (1 - dampening) * manifold.gradient(w, g)

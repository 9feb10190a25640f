"""Adam on a manifold."""

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.manifolds import Euclidean, Manifold, Oblique, Product, Stiefel
from modular_manifolds.optim.batches import Batch, State, batches
from modular_manifolds.optim.checks import check_adam
from modular_manifolds.optim.riemannian_optimizer import RiemannianOptimizer


class RiemannianAdam(RiemannianOptimizer):
    """torch.optim.Adam along Riemannian gradients (Bécigneul & Ganea, arXiv 1810.00760).

    The first moment is a tangent vector, projected to wherever the weight is. The second is the square of what a
    matrix of the manifold may be scaled by and stay a tangent vector: one length for each matrix, one for each row (or
    column) on `Oblique`, one for each entry on `Euclidean()`, and for a `Product` as on its blocks. On `Euclidean()`
    this is torch.optim.Adam. `lr` is thus about the Frobenius length of a step of a matrix on `Stiefel`, say.

    Args:
        params: matrices, bare or as (name, parameter) pairs, or groups of them, which may bring a "manifold" and any
            of the settings below. They must be on their manifold: see `project_`. Vectors count as 1 x d matrices,
            and are refused where no manifold is given for them; all axes but the last two are a batch.
        lr, betas, eps, amsgrad: as for torch.optim.Adam.
        weight_decay: on `Euclidean()` only, as for torch.optim.Adam: added to the gradient.
        manifold: where groups live that do not say.
        maximize, nonfinite: as for ModularOptimizer.

    Raises:
        TypeError: a parameter is not a real, dense floating-point tensor.
        ValueError: a setting is out of range; a manifold with a boundary; a parameter occurs twice or is off its
            manifold; weight decay on a manifold.
    """

    signature: ClassVar[tuple[str, ...]] = ("manifold", "betas")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        manifold: Manifold = Stiefel(),  # noqa: B008
        maximize: bool = False,
        nonfinite: Literal["raise", "skip"] = "raise",
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "manifold": manifold,
            "maximize": maximize,
            "nonfinite": nonfinite,
        }
        super().__init__(params, defaults)

    def check_settings(self, group: dict[str, Any]) -> None:
        super().check_settings(group)
        check_adam(group)

    def update_(self, group: dict[str, Any], weights: list[Tensor], grads: list[Tensor], states: list[State]) -> None:
        manifold = group["manifold"]
        lr = group["lr"].reshape(()) if isinstance(group["lr"], Tensor) else group["lr"]
        for batch in batches(weights, grads, states):
            batch.move(manifold.retract(batch.w, _direction(group, manifold, batch).mul_(-lr)))


def _direction(group: dict[str, Any], manifold: Manifold, batch: Batch) -> Float[Tensor, "k *b m n"]:
    """First moment over the root of the second, both without their bias towards the zeros that they started from."""
    w, g = batch.w, batch.g
    if group["weight_decay"]:
        g = g + group["weight_decay"] * w
    first, second = group["betas"]
    gradient = manifold.gradient(w, g)
    step = batch.count()

    past = batch.load("exp_avg")
    mean = (1 - first) * gradient if past is None else manifold.to_tangent(w, past).lerp_(gradient, 1 - first)
    batch.store("exp_avg", mean)

    square = squared_length(manifold, w, gradient)
    past = batch.load("exp_avg_sq")
    square = (1 - second) * square + (0 if past is None else second * past)
    batch.store("exp_avg_sq", square)
    if group["amsgrad"]:
        past = batch.load("max_exp_avg_sq")
        square = square if past is None else torch.maximum(past, square)
        batch.store("max_exp_avg_sq", square)

    scale = (square / (1 - second**step)).sqrt() + group["eps"]
    return mean / (scale * (1 - first**step))


def squared_length(
    manifold: Manifold, w: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]
) -> Float[Tensor, "*b _ _"]:
    """Squared lengths of the parts of u that the manifold is a product in, in a shape that can divide u."""
    match manifold:
        case Euclidean():
            return u.square()
        case Oblique():
            return u.square().sum(manifold.along, keepdim=True)
        case Product():
            return manifold.blocks.matrices(
                manifold.factors, lambda factor, w, u: squared_length(factor, w, u).expand_as(u), w, u
            )
        case _:
            return manifold.inner(w, u, u)[..., None, None]

"""An attack on a classifier: a search for the small change to an input that alters the decision."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from modular_manifolds.robustness import margin

_STRIDE = 2.5
"""All steps together, in radii: enough to cross the ball and turn."""


def pgd_attack(
    model: nn.Module,
    inputs: Float[Tensor, "batch *shape"],
    labels: Int[Tensor, " batch"],
    radius: float | Float[Tensor, " batch"],
    steps: int = 100,
    *,
    restarts: int = 2,
    generator: torch.Generator | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Float[Tensor, "batch *shape"]:
    """The inputs of smallest margin that projected gradient descent finds within `radius` of the given ones.

    Steps follow the gradient of the margin (the label's logit minus the largest other one), each 2.5 radius / steps
    long; a point that leaves the Euclidean ball is moved to its surface. The first descent starts at the inputs, the
    others at points drawn from the ball. Nothing is clipped: inputs may leave the range of the data.
    Source: Madry et al., "Towards deep learning models resistant to adversarial attacks" (ICLR 2018).

    Args:
        model: maps inputs to logits (batch, classes), one sample independently of another; in the mode it is used in.
        inputs: in the model's dtype.
        radius: one for all, or one each; in units of the inputs.
        restarts: descents, at least 1.
        generator: draws the starts.
        on_step: called after every step.

    Raises:
        ValueError: steps or restarts below 1, a radius that is negative or no number, or what `margin` refuses.
    """
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps and restarts must be at least 1, got {steps} and {restarts}")
    shape = (-1, *[1] * (inputs.ndim - 1))
    radii = torch.as_tensor(radius, dtype=inputs.dtype).expand(len(inputs)).reshape(shape)
    if not bool((radii >= 0).all()):
        raise ValueError(f"radius must be at least 0, got {float(radii.min())}")
    worst = _Worst(inputs)
    for restart in range(restarts):
        change = torch.zeros_like(inputs) if restart == 0 else _in_ball(inputs, radii, generator)
        for _ in range(steps):
            margins, gradient = _margins_and_gradient(model, inputs + change, labels)
            worst.update(inputs + change, margins)
            change = _into_ball(change - _STRIDE * radii / steps * _unit(gradient), radii)
            on_step()
        with torch.no_grad():
            worst.update(inputs + change, margin(model(inputs + change), labels))
    return worst.inputs


class _Worst:
    """For every sample, the input of smallest margin so far."""

    def __init__(self, inputs: Tensor) -> None:
        self.inputs = inputs.clone()
        self._margins = inputs.new_full((len(inputs),), torch.inf)

    def update(self, inputs: Tensor, margins: Tensor) -> None:
        smaller = margins < self._margins
        self.inputs[smaller] = inputs[smaller]
        self._margins = torch.where(smaller, margins, self._margins)


@torch.enable_grad()
def _margins_and_gradient(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    point = inputs.detach().requires_grad_()
    margins = margin(model(point), labels)
    (gradient,) = torch.autograd.grad(margins.sum(), point)
    return margins.detach(), gradient


def _lengths(x: Tensor) -> Tensor:
    """Euclidean length of every sample, with axes to broadcast over it."""
    lengths = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return lengths.reshape(-1, *[1] * (x.ndim - 1))


def _unit(x: Tensor) -> Tensor:
    lengths = _lengths(x)
    return x / lengths.masked_fill(lengths == 0, 1.0)


def _into_ball(change: Tensor, radii: Tensor) -> Tensor:
    return torch.where(_lengths(change) > radii, radii * _unit(change), change)


def _in_ball(inputs: Tensor, radii: Tensor, generator: torch.Generator | None) -> Tensor:
    """Points drawn evenly from the ball."""
    direction = torch.randn(inputs.shape, dtype=inputs.dtype, generator=generator).to(inputs.device)
    depth = torch.rand(radii.shape, dtype=inputs.dtype, generator=generator).to(inputs.device)
    return radii * depth ** (1 / inputs.shape[1:].numel()) * _unit(direction)

"""How much a network stretches its input at a point, and between two points: lower bounds on its Lipschitz constant."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_TINY = 1e-300
_NEAR = 1e-3
_RELU = (functional.relu, torch.relu, Tensor.relu)


@dataclass(frozen=True, eq=False)
class Stretch:
    """Of every point the largest singular value of the Jacobian, with its singular vectors.

    A small change to the input along `right` changes the output along `left`, `factor` times as much.
    """

    factor: Float[Tensor, " points"]
    right: Float[Tensor, "points inputs"]
    left: Float[Tensor, "points outputs"]


@torch.enable_grad()
def local_stretch(network: nn.Module, points: Float[Tensor, "points inputs"]) -> Stretch:
    """The spectral norm of the Jacobian at every point, which is exact within a linear piece of a ReLU network."""
    x = points.detach().requires_grad_()
    y = network(x)
    each = torch.eye(y.shape[1], dtype=y.dtype)[:, None].expand(-1, *y.shape)
    (rows,) = torch.autograd.grad(y, x, each, is_grads_batched=True)
    jacobian = rows.transpose(0, 1)
    # the square of a Jacobian of 1e-200 is 0, of one whose largest entry is 1 it is not
    size = jacobian.abs().amax(dim=(1, 2), keepdim=True)
    jacobian = jacobian / size.clamp(min=_TINY)
    _, left = torch.linalg.eigh(jacobian @ jacobian.mT)
    along = (jacobian.mT @ left[:, :, -1:])[:, :, 0]
    factor = torch.linalg.vector_norm(along, dim=1)
    return Stretch(size[:, 0, 0] * factor, along / factor.clamp(min=_TINY)[:, None], left[:, :, -1])


@torch.no_grad()
def secant_stretch(
    network: nn.Module, starts: Float[Tensor, "pairs inputs"], ends: Float[Tensor, "pairs inputs"]
) -> Float[Tensor, " pairs"]:
    """How far the outputs of two points are apart, over how far they are themselves.

    0 for points nearer than 1e-3 of their length: of those, the difference is too much a matter of rounding.
    """
    apart = torch.linalg.vector_norm(ends - starts, dim=1)
    length = torch.linalg.vector_norm(torch.stack([starts, ends]), dim=2).amax(0)
    outputs = torch.linalg.vector_norm(network(ends) - network(starts), dim=1)
    return torch.where(apart > _NEAR * length, outputs / apart.clamp(min=_TINY), 0.0)


class SmoothReLU(TorchFunctionMode):
    """Inside, ReLU is a softplus whose kink is `width` root mean squares of its input wide, sample by sample.

    The slope of a ReLU network hardly ever changes along a gradient; that of a smooth one does.
    """

    def __init__(self, width: float) -> None:
        super().__init__()
        self._width = width

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func not in _RELU:
            return func(*args, **(kwargs or {}))
        z: Tensor = args[0]
        scale = (self._width * z.detach().square().mean(dim=-1, keepdim=True).sqrt()).clamp(min=_TINY)
        return scale * functional.softplus(z / scale)


def smooth_log_stretch(
    network: nn.Module,
    points: Float[Tensor, "points inputs"],
    left: Float[Tensor, "points outputs"],
    width: float,
) -> Float[Tensor, " points"]:
    """log |J^T left| / |left| of the smoothed network's Jacobian J, differentiable in `points` and in `left`.

    Its maximum over `left` is the logarithm of the largest singular value.
    """
    with SmoothReLU(width):
        y = network(points)
    (along,) = torch.autograd.grad((y * left).sum(), points, create_graph=True)
    lengths = torch.linalg.vector_norm(along, dim=1).clamp(min=_TINY)
    return lengths.log() - torch.linalg.vector_norm(left, dim=1).log()

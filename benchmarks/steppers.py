"""Something that steps copies of given weights, again and again, along given gradients."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

Build = Callable[[list[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class Layout:
    """How a method wants its parameters.

    Args:
        single: every matrix of a batch as a parameter of its own.
        tall: wide matrices transposed.
    """

    single: bool = False
    tall: bool = False

    def pack(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors in this layout, contiguous; those already so are not copied."""
        if self.single:
            tensors = [matrix for x in tensors for matrix in x.reshape(-1, *x.shape[-2:]).unbind()]
        if self.tall:
            tensors = [x.mT if x.shape[-2] < x.shape[-1] else x for x in tensors]
        return [x.contiguous() for x in tensors]

    def unpack(self, packed: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
        """Back in the shapes of `like`."""
        rest, result = list(packed), []
        for x in like:
            count = x[..., 0, 0].numel() if self.single else 1
            taken, rest = rest[:count], rest[count:]
            turned = [y.mT if self.tall and x.shape[-2] < x.shape[-1] else y for y in taken]
            result.append(torch.stack(turned).reshape(x.shape) if self.single else turned[0])
        return result


class Stepper(ABC):
    """Weights of its own under a method."""

    @abstractmethod
    def step(self) -> None:
        """What a training loop would pay the method for, between a gradient and the next forward pass."""

    @abstractmethod
    def weights(self) -> list[Tensor]:
        """As they are now, in the shapes that were given."""

    @abstractmethod
    def state(self) -> list[Tensor]:
        """What is kept between steps besides weights and gradients."""


class OptimizerStepper(Stepper):
    """An optimizer's step."""

    def __init__(self, build: Build, layout: Layout, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        self._layout, self._like = layout, weights
        self._parameters = [nn.Parameter(w.clone()) for w in layout.pack(weights)]
        for p, g in zip(self._parameters, layout.pack(gradients), strict=True):
            p.grad = g
        self._optimizer = build(self._parameters)
        # an optimizer may put a parameter class of its own in place
        self._parameters = [p for group in self._optimizer.param_groups for p in group["params"]]

    def step(self) -> None:
        self._optimizer.step()

    def weights(self) -> list[Tensor]:
        return self._layout.unpack([p.detach() for p in self._parameters], self._like)

    def state(self) -> list[Tensor]:
        return [x for x in tree_leaves(list(self._optimizer.state.values())) if isinstance(x, Tensor)]


class OrthogonalStepper(Stepper):
    """torch's orthogonal parametrization of linear layers: forward of the weight, backward and a step of SGD."""

    def __init__(self, weights: Sequence[Tensor], gradients: Sequence[Tensor], lr: float) -> None:
        self._layout, self._like = Layout(single=True), weights
        self._gradients = self._layout.pack(gradients)
        self._layers = [_orthogonal(w) for w in self._layout.pack(weights)]
        self._optimizer = torch.optim.SGD([p for layer in self._layers for p in layer.parameters()], lr=lr)

    def step(self) -> None:
        self._optimizer.zero_grad()
        for layer, g in zip(self._layers, self._gradients, strict=True):
            layer.weight.backward(g)  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def weights(self) -> list[Tensor]:
        return self._layout.unpack([layer.weight.detach() for layer in self._layers], self._like)

    def state(self) -> list[Tensor]:
        return [buffer for layer in self._layers for buffer in layer.buffers()]


def _orthogonal(w: Tensor) -> nn.Linear:
    layer = nn.Linear(w.shape[1], w.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(w.clone())
    # the base that completes a non-square weight is drawn at random
    with torch.random.fork_rng(devices=[w.device] if w.device.type == "cuda" else []):
        torch.manual_seed(0)
        parametrizations.orthogonal(layer)
    return layer

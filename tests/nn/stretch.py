"""How far modules really stretch: the largest derivatives that an ascent finds, in float64, at inputs of size 1."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from modular_manifolds import Geometry, nn
from modular_manifolds.projection import as_matrix

Weights = dict[str, Tensor]


def formula() -> AbstractContextManager[Any]:
    """Attention as a formula, of which torch knows all derivatives."""
    return sdpa_kernel(SDPBackend.MATH)


def rms(x: Tensor, dim: int = -1, heads: int = 1) -> Tensor:
    """Root mean square over the features, or over those of each head, in the shape of x."""
    x = x.movedim(dim, -1).unflatten(-1, (heads, -1))
    return x.square().mean(-1, keepdim=True).sqrt().expand_as(x).flatten(-2).movedim(-1, dim)


def size(y: Tensor | tuple[Tensor, ...], dim: int = -1) -> Tensor:
    """Of every sample: the largest root mean square over features at any position; a tuple's members add up."""
    if isinstance(y, tuple):
        return sum(size(part, dim) for part in y)
    return rms(y, dim if y.ndim > 2 else -1).flatten(1).amax(1)


def unit(x: Tensor, dim: int = -1, heads: int = 1) -> Tensor:
    """x with a root mean square of 1 at every position, in every head."""
    return x / rms(x, dim, heads)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(module: nn.Module) -> Weights:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def geometries(module: nn.Module) -> dict[str, Geometry]:
    return {name: group["geometry"] for group in module.param_groups() for name, _ in group["params"]}


def unit_update(module: nn.Module, raw: Weights) -> Weights:
    """An update of modular norm 1, every leaf's as long as it may be."""
    known, budgets = geometries(module), module.budgets()
    lengths = {n: known[n].norm(as_matrix(u.detach(), known[n].kernel_axes)).max() for n, u in raw.items()}
    return {name: u * (budgets[name] / lengths[name]) for name, u in raw.items()}


def steepest(module: nn.Module, grads: Weights) -> Weights:
    """The update of modular norm 1 along which the gradients promise most."""
    known, budgets = geometries(module), module.budgets()
    result = {}
    for name, g in grads.items():
        axes = known[name].kernel_axes
        result[name] = torch.empty_like(g)
        as_matrix(result[name], axes).copy_(-budgets[name] * known[name].norm.lmo(as_matrix(g, axes)))
    return result


Objective = Callable[[list[Tensor], Weights], Tensor]


class Ascent:
    """Tensors, and a module's weights on their manifolds, that climb an objective with one value for each sample."""

    def __init__(self, module: nn.Module, tensors: list[Tensor]) -> None:
        self.geometries = geometries(module)
        self.w = weights(module)
        self.tensors = [x.clone().requires_grad_() for x in tensors]
        self.optimizer = torch.optim.Adam(self.tensors, 0.1) if tensors else None

    def step(self, objective: Objective) -> float:
        """Climb once; the largest value before that."""
        for p in self.w.values():
            p.requires_grad_()
        with formula():
            values = objective(self.tensors, self.w)
            if self.optimizer:
                self.optimizer.zero_grad()
            (-(10 * values / values.max().detach()).logsumexp(0)).backward()  # weights serve the best sample
        if self.optimizer:
            self.optimizer.step()
        self.w = {name: self._moved(name, p) for name, p in self.w.items()}
        return values.max().item()

    def _moved(self, name: str, p: Tensor) -> Tensor:
        p, g, axes = p.detach(), p.grad, self.geometries[name].kernel_axes
        if g is not None:
            as_matrix(p, axes).copy_(self.geometries[name].step(as_matrix(p, axes), as_matrix(g, axes), 0.1))
        return p


def input_stretch(
    module: nn.Module, shape: tuple[int, ...], *, dim: int = -1, steps: int = 40, inside: float = 1.0
) -> float:
    """The largest |D_x[u]| / |u| found, starting from random samples of `shape` (samples first) of size `inside`."""

    def objective(tensors: list[Tensor], w: Weights) -> Tensor:
        x, u = (unit(t, dim) for t in tensors)
        return size(jvp(lambda x: functional_call(module, w, (x,)), (inside * x,), (u,))[1], dim)

    ascent = Ascent(module, [draw(*shape), draw(*shape, seed=1)])
    return max(ascent.step(objective) for _ in range(steps))


def weight_stretch(module: nn.Module, x: Tensor, *, dim: int = -1, steps: int = 20) -> float:
    """The largest |D_w[u]| found over updates u of modular norm 1: x and the weights climb, and u is a power iteration.

    That is: the output's largest row is taken as a functional of u, which the leaves' LMOs maximise.
    """
    u = unit_update(module, {n: draw(*p.shape) for n, p in module.named_parameters()})
    ascent = Ascent(module, [x] if x.is_floating_point() else [])

    def move(tensors: list[Tensor], w: Weights) -> Tensor:
        point = unit(tensors[0], dim) if tensors else x
        return jvp(lambda w: functional_call(module, w, (point,)), (w,), (u,))[1]

    best = 0.0
    for _ in range(steps):
        with formula(), torch.no_grad():
            y = move(ascent.tensors, ascent.w)
            each = rms(y, dim if y.ndim > 2 else -1)
            point = unit(ascent.tensors[0], dim) if ascent.tensors else x
            pull = vjp(lambda w: functional_call(module, w, (point,)), ascent.w)[1]  # noqa: B023
            u = steepest(module, pull(torch.where(each == each.max(), y, 0.0))[0])
        best = max(best, ascent.step(lambda tensors, w: size(move(tensors, w), dim)))
    return best

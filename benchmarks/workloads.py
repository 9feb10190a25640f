"""What one step moves: a matrix, a batch of matrices, or every hidden matrix of a network."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from math import prod, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds import Geometry, Norm, Stiefel

Shape = tuple[int, ...]


class Gradients(StrEnum):
    """Spectra of gradients; the largest singular value is about 1, which is what published step sizes are made for."""

    GAUSSIAN = "gaussian"
    LOW_RANK = "low-rank"


@dataclass(frozen=True)
class Workload:
    """The shapes of the parameters that are stepped together."""

    name: str
    shapes: tuple[Shape, ...]

    @property
    def elements(self) -> int:
        """Of all parameters together."""
        return sum(prod(shape) for shape in self.shapes)

    @property
    def largest_group(self) -> int:
        """Elements of all matrices of one size together, of the size with the most."""
        sizes = {shape[-2:] for shape in self.shapes}
        return max(sum(prod(shape) for shape in self.shapes if shape[-2:] == size) for size in sizes)


_GPT2_BLOCK: tuple[Shape, ...] = ((768, 768),) * 4 + ((3072, 768), (768, 3072))
GPT2 = Workload("gpt2", _GPT2_BLOCK * 12)
"""The hidden matrices of GPT-2 124M: query, key, value, output, up and down of 12 blocks. Embeddings are left out."""

DEFAULT_SHAPES = "512x512,1024x1024,2048x512,768x3072,3072x128,64x64x512,gpt2"


def parse(name: str) -> Workload:
    """The workload called `name`: "gpt2", "MxN" or "KxMxN", which is one parameter of K matrices.

    Raises:
        ValueError: it is none of these.
    """
    if name == GPT2.name:
        return GPT2
    try:
        shape = tuple(int(size) for size in name.split("x"))
    except ValueError:
        shape = ()
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(f"{name!r} is neither of the form 512x512 or 64x64x512, nor gpt2")
    return Workload(name, (shape,))


class Problem:
    """Uniformly random weights on the Stiefel manifold and gradients there, drawn from seed 0.

    Both are shared by all methods: copy a weight before it is stepped, and leave the gradients as they are.
    """

    def __init__(self, workload: Workload, gradients: Gradients, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        self.workload = workload
        self.weights: list[Tensor] = []
        self.gradients: list[Tensor] = []
        for shape in workload.shapes:
            self.weights.append(Stiefel().random(shape, generator=generator).contiguous().to(device))
            self.gradients.append(_gradient(shape, gradients, generator).to(device))
        self.bounds = cache(self._bounds)

    def _bounds(self, norm: Norm) -> list[Float[Tensor, "*b"]]:
        """For each parameter, what no tangent direction with norm at most 1 surpasses; computed once a norm."""
        geometry = Geometry(Stiefel(), norm)
        pairs = zip(self.weights, self.gradients, strict=True)
        return [geometry.certificate(w, g, torch.zeros_like(w)).upper_bound for w, g in pairs]


def _gradient(shape: Shape, gradients: Gradients, generator: torch.Generator) -> Float[Tensor, "*b m n"]:
    """Gaussian with independent entries, or with singular values 1, 1/2, 1/3, ... between random bases."""
    *batch, m, n = shape
    if gradients is Gradients.GAUSSIAN:
        return torch.randn(shape, generator=generator) / (sqrt(m) + sqrt(n))
    k = min(m, n)
    left, right = (Stiefel().random((*batch, size, k), generator=generator) for size in (m, n))
    return (left / torch.arange(1, k + 1)) @ right.mT

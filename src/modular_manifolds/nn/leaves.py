"""Modules with weights. Each starts on its manifold and knows the norm of its updates."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from modular_manifolds.nn.module import Leaf
from modular_manifolds.nn.sharpness import LINEAR, Sharpness
from modular_manifolds.well_normed import VECTOR, convolution_geometry, embedding_geometry, linear_geometry


class Linear(Leaf, nn.Linear):
    """nn.Linear without a bias: the RMS of the output is at most that of the input.

    Args:
        in_features, out_features, device, dtype: as of nn.Linear.
        heads: cut the output into this many heads, each of them a Linear by itself; as for queries, keys and values.
        mass: see `Module`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        heads: int = 1,
        mass: float = 1.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.geometry = linear_geometry(out_features, in_features, heads)
        self.mass = mass
        nn.Linear.__init__(self, in_features, out_features, bias=False, device=device, dtype=dtype)


class Embedding(Leaf, nn.Embedding):
    """nn.Embedding whose vectors all have an RMS of 1. The sensitivity is that to a mixture of tokens."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, *, mass: float = 1.0, device: Any = None, dtype: Any = None
    ) -> None:
        self.geometry = embedding_geometry(embedding_dim)
        self.mass = mass
        nn.Embedding.__init__(self, num_embeddings, embedding_dim, device=device, dtype=dtype)


class Conv1d(Leaf, nn.Conv1d):
    """nn.Conv1d without a bias: the RMS over channels at any position is at most the largest one of the input."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | str = 0,
        *,
        mass: float = 1.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.geometry = convolution_geometry(out_channels, in_channels, nn.modules.utils._single(kernel_size))
        self.mass = mass
        nn.Conv1d.__init__(
            self, in_channels, out_channels, kernel_size, stride, padding, bias=False, device=device, dtype=dtype
        )


class Conv2d(Leaf, nn.Conv2d):
    """nn.Conv2d without a bias: the RMS over channels at any position is at most the largest one of the input."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        *,
        mass: float = 1.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.geometry = convolution_geometry(out_channels, in_channels, nn.modules.utils._pair(kernel_size))
        self.mass = mass
        nn.Conv2d.__init__(
            self, in_channels, out_channels, kernel_size, stride, padding, bias=False, device=device, dtype=dtype
        )


class Bias(Leaf):
    """x + weight, along the last axis, from zero. Free, and measured by its RMS. It lets activations grow past 1."""

    def __init__(self, features: int, *, mass: float = 1.0, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.geometry = VECTOR
        self.mass = mass
        self.weight = nn.Parameter(torch.empty(features, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Back to zero."""
        nn.init.zeros_(self.weight)

    @property
    def sharpness(self) -> Sharpness:
        return LINEAR

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        return x + self.weight

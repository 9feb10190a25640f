"""Modules without weights. Their sensitivities are proved, for the RMS over the last axis, at the worst position."""

from math import erf, exp, pi, sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from modular_manifolds.linalg import working_dtype
from modular_manifolds.nn.module import Bond, Uses
from modular_manifolds.nn.sensitivity import Sensitivity, plus, times
from modular_manifolds.nn.sharpness import KINKED

GELU_SLOPE = 0.5 * (1 + erf(1)) + exp(-1) / sqrt(pi)
"""The steepest slope of x Phi(x), 1.1289..., which it has at sqrt(2)."""


class ReLU(Bond):
    """max(x, 0); sensitivity 1. It has a kink, so that gamma is infinite."""

    curvature = KINKED

    def forward(self, x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return functional.relu(x)


class GELU(Bond):
    """x Phi(x) over its steepest slope, 1.1289; sensitivity 1.

    gamma is infinite: the second derivative is bounded entry by entry, but in root-mean-square only times sqrt(width).
    """

    curvature = KINKED

    def forward(self, x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return functional.gelu(x) / GELU_SLOPE

    def sweep(self, s: Sensitivity, into: Sensitivity, uses: Uses) -> Sensitivity:
        return plus(into, times(times(s, 1 / GELU_SLOPE), GELU_SLOPE))


class Tanh(Bond):
    """tanh(x); sensitivity 1. gamma is infinite, as for GELU."""

    curvature = KINKED

    def forward(self, x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return torch.tanh(x)


class RMSNorm(Bond):
    """x / max(RMS(x), floor), over the last axis; sensitivity 1 / floor.

    That is the projection onto the ball of radius `floor`, divided by the radius, so that the bound needs no lower
    bound on x. The sphere is a kink: gamma is infinite.

    Raises:
        ValueError: the floor is not positive and finite.
    """

    curvature = KINKED

    def __init__(self, floor: float = 1.0) -> None:
        super().__init__()
        if not 0 < floor < float("inf"):
            raise ValueError(f"floor must be positive and finite, got {floor}")
        self.floor = floor
        self.stretch = 1 / floor

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        rms = torch.linalg.vector_norm(x, dim=-1, keepdim=True) / sqrt(x.shape[-1])
        return x / rms.clamp(min=self.floor)

    def extra_repr(self) -> str:
        return f"floor={self.floor:g}"


class Flatten(Bond):
    """All axes but the first as one; sensitivity 1, as a mean of squares is at most the largest."""

    def forward(self, x: Float[Tensor, "b *d"]) -> Float[Tensor, "b n"]:
        return x.flatten(1)


class Mean(Bond):
    """The mean over positions, which by default are along the axis before the last; sensitivity 1."""

    def __init__(self, dim: int | tuple[int, ...] = -2) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Float[Tensor, "*b"]) -> Float[Tensor, "*c"]:
        return x.mean(self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class AvgPool2d(Bond):
    """The mean over patches of an image, kernel_size apart; sensitivity 1."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size

    def forward(self, x: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c i j"]:
        return functional.avg_pool2d(x, self.kernel_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}"


class Positions(Bond):
    """0, 1, 2, ... along the last axis, whatever the tokens there; sensitivity 0."""

    stretch = 0.0

    def forward(self, tokens: Int[Tensor, "*b t"]) -> Int[Tensor, "t"]:
        return torch.arange(tokens.shape[-1], device=tokens.device)


class Rope(Bond):
    """Rotary positions (Su et al., arXiv 2104.09864) for (*b, positions, even features); sensitivity 1.

    Feature i and feature i + half turn as one, by the position over base^(i / half). A rotation, of RMS unchanged.
    """

    def __init__(self, base: float = 10000.0) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: Float[Tensor, "*b t d"]) -> Float[Tensor, "*b t d"]:
        half = x.shape[-1] // 2
        if 2 * half != x.shape[-1]:
            raise ValueError(f"rotary positions turn pairs of features; x of shape {tuple(x.shape)} has an odd number")
        dtype = working_dtype(x.dtype)  # in bfloat16, positions past 256 would be rounded
        rates = self.base ** (-torch.arange(half, dtype=dtype, device=x.device) / half)
        angles = torch.arange(x.shape[-2], dtype=dtype, device=x.device)[:, None] * rates
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

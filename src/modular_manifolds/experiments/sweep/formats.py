"""Weights stored with few bits: what is simulated, in float32 arithmetic.

`bfloat16` and `fp8`: the network computes with rounded matrices, forwards and backwards, while optimizers keep and step
the float32 originals, of which the rounded ones are made anew at every step: training with master weights. The gradient
that reaches an original is the one at its rounded value.

`bfloat16-pure`: there is no original. What an optimizer made of a matrix is itself rounded to bfloat16 after every step
(and at the start), so that changes below half a unit in the last place are lost. Optimizers of this library, which
would keep a master copy of a parameter whose dtype is bfloat16, cannot here: parameters have float32's dtype, and hold
numbers that bfloat16 has.

Vectors (gains), activations, gradients and the state of optimizers are float32 throughout.
"""

from enum import StrEnum
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

_FP8 = torch.float8_e4m3fn
_LARGEST_FP8 = torch.finfo(_FP8).max


class WeightFormat(StrEnum):
    """How matrices are stored."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    BFLOAT16_PURE = "bfloat16-pure"
    FP8 = "fp8"


def rounded(weight: Float[Tensor, "m n"], format: WeightFormat) -> Float[Tensor, "m n"]:
    """The nearest number of the format, entry by entry, in the weight's own dtype.

    fp8 is float8_e4m3fn with one scale for the tensor, by which the largest entry becomes the format's largest, 448.
    """
    if format is WeightFormat.FLOAT32:
        return weight
    if format is WeightFormat.FP8:
        scale = (weight.abs().amax() / _LARGEST_FP8).clamp(min=torch.finfo(weight.dtype).tiny)
        return (weight / scale).to(_FP8).to(weight.dtype) * scale
    return weight.to(torch.bfloat16).to(weight.dtype)


class Stored(nn.Module):
    """A network that computes with its matrices as they are stored; the parameters are those of `model`."""

    def __init__(self, model: nn.Module, format: WeightFormat) -> None:
        super().__init__()
        self.model = model
        self.format = format
        self.stepped()

    @property
    def weights(self) -> dict[str, Tensor]:
        """What the network computes with, by name; gradients reach the parameters as if there were no rounding."""
        if self.format in (WeightFormat.FLOAT32, WeightFormat.BFLOAT16_PURE):
            return dict(self.model.named_parameters())
        return {
            name: _Through.apply(p, self.format) if p.ndim >= 2 else p  # type: ignore[no-untyped-call]
            for name, p in self.model.named_parameters()
        }

    def forward(self, *inputs: Tensor) -> Tensor:
        outputs: Tensor = functional_call(self.model, self.weights, inputs)
        return outputs

    @torch.no_grad()
    def stepped(self) -> None:
        """To be called after every step: rounds the parameters themselves where there is no other copy."""
        if self.format is WeightFormat.BFLOAT16_PURE:
            for p in self.model.parameters():
                if p.ndim >= 2:
                    # by .data: to a manifold's optimizer, a weight that has been written to is off its manifold
                    p.data.copy_(rounded(p, self.format))


class _Through(torch.autograd.Function):
    """Rounding whose derivative is taken to be 1."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, format: WeightFormat) -> Tensor:
        return rounded(weight, format)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None

"""The bias-free ReLU network of the blog's CIFAR-10 experiment."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def weight_shapes(inputs: int, widths: Sequence[int], classes: int) -> list[tuple[int, int]]:
    """(out, in) of every layer's weight."""
    return [(fan_out, fan_in) for fan_in, fan_out in pairwise([inputs, *widths, classes])]


class MLP(nn.Module):
    """Linear layers without biases, ReLU between them: every parameter is one matrix."""

    def __init__(self, inputs: int, widths: Sequence[int], classes: int, *, seed: int) -> None:
        """Weights are PyTorch's default for `nn.Linear`, drawn from `seed` alone."""
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(fan_in, fan_out, bias=False) for fan_out, fan_in in weight_shapes(inputs, widths, classes)
        )
        generator = torch.Generator().manual_seed(seed)
        for weight in self.parameters():
            nn.init.kaiming_uniform_(weight, a=5**0.5, generator=generator)

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch classes"]:
        """Logits."""
        *hidden, last = self.layers
        for layer in hidden:
            x = functional.relu(layer(x))
        logits: Tensor = last(x)
        return logits

"""torch.optim.Muon with float32 products, to separate what bfloat16 buys from what the algorithm costs."""

from collections.abc import Iterable
from math import sqrt

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic in Jordan et al. 2024, kellerjordan.github.io/posts/muon, which torch.optim.Muon also uses."""


class Float32Muon(Optimizer):
    """The step of `torch.optim.Muon` at its defaults, except that the five quintics keep the gradient's dtype."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of every parameter with a gradient."""
        assert closure is None, "the benchmark passes no closure"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                buffer = state.setdefault("momentum_buffer", torch.zeros_like(parameter))
                buffer.lerp_(parameter.grad, 1 - group["momentum"])
                update = orthogonalise(parameter.grad.lerp(buffer, group["momentum"]))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * sqrt(max(1, update.shape[0] / update.shape[1])))


def orthogonalise(g: Tensor) -> Tensor:
    """Five quintic steps that take singular values to between about 0.7 and 1.2."""
    if g.shape[0] > g.shape[1]:
        return orthogonalise(g.T).T
    a, b, c = COEFFICIENTS
    x: Tensor = g / torch.linalg.matrix_norm(g).clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x

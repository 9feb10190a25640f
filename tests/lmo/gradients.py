"""The kinds of gradient that tell solvers apart."""

import torch
from torch import Tensor

from modular_manifolds.linalg import msign, sym

KINDS = ["gaussian", "low rank", "power law", "ill-conditioned", "aligned", "nearly normal", "normal", "w", "zero"]


def gradient(kind: str, w: Tensor, seed: int = 100) -> Tensor:
    """A float64 gradient of the given kind at w; "normal" and its like are so on the Stiefel manifold."""
    if w.shape[-2] < w.shape[-1]:
        return gradient(kind, w.mT, seed).mT
    *batch, m, n = w.shape
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(*batch, m, n, dtype=torch.float64, generator=generator)
    square = torch.randn(*batch, n, n, dtype=torch.float64, generator=generator)
    index = torch.arange(n, dtype=torch.float64)
    rank = max(1, n // 8)
    return {
        "gaussian": lambda: noise,
        "low rank": lambda: noise[..., :rank] @ square[..., :rank, :],
        "power law": lambda: (msign(noise) / (1 + index)) @ msign(square),
        "ill-conditioned": lambda: (msign(noise) * 10 ** (-6 * index / max(n - 1, 1))) @ msign(square),
        "aligned": lambda: w @ square,
        "nearly normal": lambda: w @ sym(square) + 1e-2 * noise,
        "normal": lambda: w @ sym(square),
        "w": lambda: w.clone(),
        "zero": lambda: torch.zeros_like(w),
    }[kind]()

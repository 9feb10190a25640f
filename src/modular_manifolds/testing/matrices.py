"""Matrices to test with: of every spectrum, made from a seed."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Noise = Callable[[], Float[Tensor, "*b m n"]]


def gaussian(shape: tuple[int, ...], seed: int) -> Float[Tensor, "*b m n"]:
    """Standard normal entries, in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_spectrum(kind: str, shape: tuple[int, ...], seed: int) -> Float[Tensor, "*b m n"]:
    """A random float64 matrix whose singular values are as `kind`, one of SPECTRA, says.

    Raises:
        KeyError: there is no such kind.
    """
    make = SPECTRA[kind]
    return make(gaussian(shape, seed)) if min(shape) else torch.zeros(shape, dtype=torch.float64)


def _graded(decay: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Random singular vectors, with singular values decay(index / last index)."""

    def make(noise: Tensor) -> Tensor:
        u, _, vh = torch.linalg.svd(noise, full_matrices=False)
        return (u * decay(torch.linspace(0, 1, u.shape[-1], dtype=u.dtype))) @ vh

    return make


def _low_rank(noise: Tensor) -> Tensor:
    rank = max(1, min(noise.shape[-2:]) // 3)
    return noise[..., :rank] @ noise[..., -rank:, :]


def _sparse(noise: Tensor) -> Tensor:
    """Without its last row and column, unless these are the only ones."""
    sparse = noise.clone()
    for axis, size in ((-2, noise.shape[-2]), (-1, noise.shape[-1])):
        if size > 1:
            sparse.select(axis, -1).zero_()
    return sparse


SPECTRA: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian": lambda noise: noise,
    "low rank": _low_rank,
    "power law": _graded(lambda t: 1 / (1 + 20 * t)),
    "ill-conditioned": _graded(lambda t: 10 ** (-16 * t)),
    "orthogonal": _graded(torch.ones_like),
    "sparse": _sparse,
    "zero": torch.zeros_like,
}
"""Kinds of matrices; each is made from Gaussian ones."""

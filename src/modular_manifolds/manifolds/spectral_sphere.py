"""Matrices of one spectral norm."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import eigenpairs, largest_entry, lifted, normalise, spectral_norm, working_dtype
from modular_manifolds.manifolds.manifold import Manifold, check_radius
from modular_manifolds.manifolds.singular_values import map_singular_values


@dataclass(frozen=True)
class SpectralSphere(Manifold):
    """Matrices whose largest singular value equals `radius`.

    Where several singular values equal the radius the set has a corner, and no tangent space; there, the pair of
    singular vectors that is computed stands for them all.
    """

    radius: float = 1.0

    def __post_init__(self) -> None:
        check_radius(self.radius)

    def project(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Larger singular values become `radius`; if there are none, the largest does. Zero goes to radius e1 e1^T."""

        def onto_sphere(s: Float[Tensor, "*b k"]) -> Float[Tensor, "*b k"]:
            return torch.cat([s[..., :1] * 0 + self.radius, s[..., 1:].clamp(max=self.radius)], -1)

        return map_singular_values(x, onto_sphere)

    def leading(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """Theta = u1 v1^T, the gradient of the spectral norm at x: <Theta, x> = ||x||, ||Theta|| = 1.

        v1 is an eigenvector of the smaller Gram matrix in float64, and u1 = x v1 / ||x v1||, so that they belong
        together where several singular values are equal. Zero gives e1 e1^T, and a matrix that is not finite NaN.
        """
        if x.shape[-2] < x.shape[-1]:
            return self.leading(x.mT).mT
        if x.numel() == 0:
            return x.clone()
        unit = x.double() / largest_entry(x.double())
        unit[..., 0, 0] += (unit == 0).all(-1).all(-1)
        _, vectors = eigenpairs(unit.mT @ unit)
        v = vectors[..., -1:]
        return (normalise(unit @ v) @ v.mT).to(x.dtype)

    @lifted
    def to_tangent(self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """g - <Theta, g> Theta, with Theta = u1 v1^T."""
        normal = self.leading(x)
        return g - normal * (normal * g).sum((-2, -1), keepdim=True)

    @lifted
    def retract(self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius (x + u) / ||x + u||, of first order: it bends towards x, not along Theta as geodesics do."""
        return self._rescale(x + u)

    def from_gaussian(self, normal: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """radius G / ||G||: invariant under rotations from both sides."""
        return self._rescale(normal)

    def spectral_bound(self, m: int, n: int) -> float:
        return self.radius

    def matrix_dimension(self, m: int, n: int) -> int:
        return max(m * n - 1, 0)

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """| ||x|| / radius - 1 |."""
        return (spectral_norm(x.to(working_dtype(x.dtype))) / self.radius - 1).abs()

    def _rescale(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return self.radius * (x / spectral_norm(x)[..., None, None])
